// The planner: what is desired, what is there, how healthy it is; out comes the list of steps that
// makes the one the other. Pure: no clock, no kernel, no process.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/carriage.hpp"
#include "orchestrator/desired.hpp"
#include "orchestrator/health.hpp"
#include "orchestrator/lifecycle.hpp"
#include "orchestrator/step.hpp"

namespace tunorch {

struct ObservedSysctl {
  std::optional<std::string> value;  // nothing: the key does not exist here
  bool writable = false;
  std::vector<routing::Sysctl> fan_out;  // the other keys a write changes, with their values
};

struct ObservedWorker {
  WorkerState state = WorkerState::stopped;
  std::string digest;  // of the spec it serves; empty: not known
};

/// What is there and concerns us. `journal` is what settings were before our first write.
struct Observed {
  std::vector<routing::Link> links;  // all of the namespace: a name may be taken
  std::map<std::string, ObservedSysctl> sysctls;
  std::vector<SysctlSetting> journal;
  std::vector<routing::Address> addresses, foreign_addresses;
  Carriage carriage;
  /// To a wanted prefix; in a table of ours; and one of each table that may answer before ours.
  std::vector<routing::Route> foreign_routes;
  std::vector<routing::OtherRule> other_rules;
  routing::NexthopAbilities abilities;
  std::optional<routing::NftTable> nft_table;
  bool foreign_nft_table = false;       // of our table's name
  std::vector<std::string> ra_devices;  // not ours; with a default route from router advertisements
  std::map<std::string, ObservedWorker> workers;  // by tunnel
  std::optional<SocketAddress> page;              // where it is served, or is tried to be
};

struct Plan {
  std::vector<Step> steps;
  std::vector<std::string> conflicts;  // what is in the way; there are no steps for what it holds
  std::vector<std::string> notes;      // wishes that cannot be had here, and why

  bool empty() const { return steps.empty() && conflicts.empty(); }
};

/// Settings → devices → addresses → workers → nexthops → routes → rules; removals in the reverse
/// order, after the additions, so that no prefix is without a route while its replacement is being
/// made.
Plan make_plan(const Desired& desired, const Observed& observed, const HealthTable& health);

/// Only the part of the plan that follows from health: what a failover needs, and no more.
std::vector<Step> make_carriage_plan(const Desired& desired, const Observed& observed,
                                     const HealthTable& health);

/// What there will be when the step has been performed.
void record(Observed& observed, const Step& step);

/// Every tunnel up towards every peer: shows what the routes will be.
HealthTable all_up(const Desired& desired);

/// 1 where an IPv6 address on lo would be refused; absent where the kernel has no IPv6.
inline constexpr const char* lo_ipv6_off = "net.ipv6.conf.lo.disable_ipv6";

/// The settings a plan for `desired` must know the values of.
std::vector<std::string> sysctl_keys(const Desired& desired,
                                     const std::vector<std::string>& ra_devices);

bool is_our_alias(const std::string& alias);

}  // namespace tunorch
