// What others have on this host that stands in our way or is close to it, and how to say so. Pure;
// it changes nothing: theirs is theirs.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/plan/plan.hpp"

namespace tunorch {

/// Another program's device, or another cluster's, has the name of this tunnel.
bool name_taken(const Observed& observed, const DesiredTunnel& tunnel);
/// The same address is somewhere else already, or its device's name is taken.
bool address_taken(const Desired& desired, const Observed& observed,
                   const routing::Address& address);
/// Removes what the kernel would refuse: new routes whose place (prefix, table, metric) another
/// program's route holds, and all that is new of IPv6 where that is off.
std::vector<Step> feasible(std::vector<Step> steps, const Observed& observed);

/// What cannot be had because of others or of this kernel, each with what to do about it. The plan
/// has no steps for that, and an apply does nothing at all.
std::vector<std::string> find_conflicts(const Desired& desired, const Observed& observed);

/// What others have that works beside ours and may surprise: rules that are asked before ours, or
/// share their preference, and routes in our tables.
std::vector<std::string> neighbour_notes(const Desired& desired, const Observed& observed,
                                         const std::vector<routing::Rule>& our_rules);

/// Tables of ours other than main: full tunnels' and policies'.
std::set<std::uint32_t> own_tables(const Desired& desired);
/// Whether the rule lets other tables answer for some of what we route.
bool may_shadow(const Desired& desired, const routing::OtherRule& rule);
bool overlap(const routing::Prefix& a, const routing::Prefix& b);

}  // namespace tunorch
