// The planner: what is desired, what is there, how healthy it is; out comes the list of steps that
// makes the one the other. Pure: no clock, no kernel, no process.
#pragma once

#include <string>
#include <vector>

#include "orchestrator/health/health.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/plan/observed.hpp"
#include "orchestrator/plan/step.hpp"

namespace tunorch {

struct Plan {
  std::vector<Step> steps;
  std::vector<std::string>
      conflicts;  // objects of other programs in the way; the parts they block have no steps
  std::vector<std::string> notes;  // wishes that cannot be had here, and why

  bool empty() const { return steps.empty() && conflicts.empty(); }
};

/// Settings → devices → addresses → nft table → workers → page → nexthops → groups → routes →
/// rules. Removals come after the additions, in the reverse order, so that no prefix is without a
/// route while its replacement is made.
Plan make_plan(const Desired& desired, const Observed& observed, const HealthTable& health);

/// Only the part of the plan that follows from health: what a failover needs, and no more.
std::vector<Step> make_multipath_plan(const Desired& desired, const Observed& observed,
                                      const HealthTable& health);

/// Every tunnel up towards every peer: shows what the routes will be.
HealthTable all_up(const Desired& desired);

/// 1 where an IPv6 address on lo would be refused; absent where the kernel has no IPv6.
inline constexpr const char* lo_ipv6_off = "net.ipv6.conf.lo.disable_ipv6";

/// The settings a plan for `desired` must know the values of.
std::vector<std::string> sysctl_keys(const Desired& desired,
                                     const std::vector<std::string>& ra_devices);

}  // namespace tunorch
