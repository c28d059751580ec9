// What carries traffic into the bundles: nexthops, groups, routes and rules. As it is in the kernel
// and as it should be, and the steps from the one to the other. Pure; a part of the plan.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/health/health.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/plan/diff.hpp"
#include "orchestrator/plan/observed.hpp"
#include "orchestrator/plan/step.hpp"

namespace tunorch {

/// Whether this group is a resilient nexthop group here, and in words why or why not.
bool uses_nexthop_group(const DesiredGroup& group, const routing::NexthopAbilities& abilities);
std::string mechanism_text(const DesiredGroup& group, const routing::NexthopAbilities& abilities);

Multipath wanted_multipath(const Desired& desired, const Observed& observed,
                           const HealthTable& health);

/// Prefix, table and metric of every route that may be wanted; nothing else of it is told.
std::vector<routing::Route> route_places(const Desired& desired);

/// By peer: the tunnels that carry to it now.
std::map<std::string, std::set<std::string>> carrying(const Desired& desired,
                                                      const Multipath& multipath);
/// The same with the weights that are in force.
std::map<std::string, std::map<std::string, unsigned>> weights(const Desired& desired,
                                                               const Multipath& multipath);

Steps plan_multipath(const Multipath& now, const Multipath& wanted);

/// What there will be after a step, as the kernel has it: a deleted nexthop leaves its groups, and
/// a group that is deleted or left empty takes its routes along.
void record(Multipath& multipath, const NexthopStep& step);
void record(Multipath& multipath, const GroupStep& step);
void record(Multipath& multipath, const RouteStep& step);
void record(Multipath& multipath, const RuleStep& step);

}  // namespace tunorch
