#include "orchestrator/plan/multipath.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/members.hpp"
#include "orchestrator/plan/plan.hpp"

namespace tunorch {
namespace {

using routing::Address;
using routing::GroupMember;
using routing::Link;
using routing::Nexthop;
using routing::NexthopAbilities;
using routing::NexthopGroup;
using routing::NexthopObject;
using routing::Route;
using routing::RouteType;
using routing::Rule;

constexpr std::uint32_t ipv4_metric = 0;
constexpr std::uint32_t ipv6_metric = 1024;  // IP6_RT_PRIO_USER: IPv6 has no 0

/// From this many groups on, a dead member is deleted once instead of replaced in each: 9 ms for a
/// thousand groups against 112. For few, replacing is the faster way for connected sockets.
constexpr std::ptrdiff_t many_groups = 8;

using Place = std::tuple<std::uint32_t, Prefix, std::uint32_t>;  // table, dst, metric

Place place_of(const Route& route) {
  return {route.table, route.dst, route.metric};
}

/// The kernel keeps timers in ticks of its own (HZ), so they come back a little different.
bool same_timer(milliseconds a, milliseconds b) {
  return (a.count() == 0) == (b.count() == 0) && std::chrono::abs(a - b) <= milliseconds(20);
}

bool same_group(const NexthopGroup& a, const NexthopGroup& b) {
  return a.buckets == b.buckets && a.members == b.members &&
         same_timer(a.idle_timer, b.idle_timer) &&
         same_timer(a.unbalanced_timer, b.unbalanced_timer);
}

Route unicast(const DesiredRoute& wanted, std::uint8_t protocol) {
  Route route;
  route.dst = wanted.dst;
  route.src = wanted.src;
  route.table = wanted.table;
  route.metric = wanted.dst.v6 ? ipv6_metric : ipv4_metric;
  route.protocol = protocol;
  return route;
}

Route fallback(const DesiredRoute& wanted, std::uint8_t protocol) {
  Route route;
  route.dst = wanted.dst;
  route.type = RouteType::unreachable;
  route.table = wanted.table;
  route.metric = fallback_metric;
  route.protocol = protocol;
  return route;
}

// ---- what is wanted ----

class WantedMultipath {
 public:
  WantedMultipath(const Desired& desired, const Observed& observed, const HealthTable& health)
      : desired_(desired),
        observed_(observed),
        health_(health),
        carrying_(carrying(desired, observed.multipath)),
        groups_now_(by_key(observed.multipath.groups, &NexthopGroup::id)) {
    for (const DesiredTunnel& tunnel : desired.tunnels)
      nexthop_of_[tunnel.name] = tunnel.nexthop_id;
    for (const Link& link : observed.links)
      if (link.admin_up && is_our_alias(link.alias)) carrier_of_[link.name] = link.carrier;
  }

  Multipath take() {
    std::map<std::string, Carried> carried;
    for (const DesiredGroup& group : desired_.groups) carried[group.peer] = carry(group);
    for (const std::string& tunnel : used_)
      multipath_.nexthops.push_back({nexthop_of_.at(tunnel), tunnel});
    for (const DesiredRoute& route : desired_.routes) add_routes(route, carried[route.peer]);
    add_rules();
    return std::move(multipath_);
  }

 private:
  /// A peer's tunnels as its routes name them: by a group, or one by one.
  struct Carried {
    std::uint32_t group = 0;
    std::vector<Member> members;
    Prefix gateway6;
    unsigned mtu = 0;
  };

  Carried carry(const DesiredGroup& group) {
    const bool as_group = uses_nexthop_group(group, observed_.abilities);
    WeightLimits limits;
    if (as_group && observed_.abilities.wide_weights) limits.highest = 65535;
    if (as_group) limits.buckets = group.balance.buckets;
    Carried carried;
    carried.gateway6 = group.gateway6;
    carried.members = members(group, limits);
    carried.mtu = smallest_mtu(group, carried.members);
    if (!as_group || carried.members.empty()) return carried;
    carried.group = group_id(group);
    NexthopGroup wanted{carried.group,
                        group.balance.buckets,
                        group.balance.idle_timer,
                        group.balance.unbalanced_timer,
                        {}};
    for (const Member& member : carried.members) {
      wanted.members.push_back({nexthop_of_.at(member.tunnel), member.weight});
      used_.insert(member.tunnel);
    }
    multipath_.groups.push_back(std::move(wanted));
    return carried;
  }

  std::vector<Member> members(const DesiredGroup& group, const WeightLimits& limits) const {
    static const std::map<std::string, TunnelHealth> unheard;
    static const std::set<std::string> none;
    // A device that is down can have no route. Without carrier it can have no nexthop, and in a
    // multipath route it is dead.
    DesiredGroup there = group;
    std::erase_if(there.members, [&](const DesiredMember& member) {
      const auto device = carrier_of_.find(member.tunnel);
      return device == carrier_of_.end() || (limits.buckets != 0 && !device->second);
    });
    const auto health = health_.find(group.peer);
    const auto installed = carrying_.find(group.peer);
    return choose_members(there, health == health_.end() ? unheard : health->second,
                          installed == carrying_.end() ? none : installed->second, limits);
  }

  /// A flow may be moved to any of them, so the smallest MTU counts for all.
  unsigned smallest_mtu(const DesiredGroup& group, const std::vector<Member>& members) const {
    unsigned mtu = group.mtu;
    const auto health = health_.find(group.peer);
    if (health == health_.end()) return mtu;
    for (const Member& member : members)
      if (const auto one = health->second.find(member.tunnel);
          one != health->second.end() && one->second.mtu != 0)
        mtu = mtu == 0 ? one->second.mtu : std::min(mtu, one->second.mtu);
    return mtu;
  }

  /// A group's buckets are fixed once it is made: other ones take another group, and the routes
  /// move over to it.
  std::uint32_t group_id(const DesiredGroup& group) const {
    for (const std::uint32_t id : {group.id, group.id + 1})
      if (const auto now = groups_now_.find(id);
          now != groups_now_.end() && now->second->buckets == group.balance.buckets)
        return id;
    return groups_now_.contains(group.id) ? group.id + 1 : group.id;
  }

  void add_routes(const DesiredRoute& wanted, const Carried& carried) {
    if (wanted.fallback) multipath_.routes.push_back(fallback(wanted, desired_.protocol));
    if (carried.members.empty()) return;
    Route route = unicast(wanted, desired_.protocol);
    route.nexthop_id = carried.group;
    route.mtu = carried.mtu != 0 && wanted.dst.v6 ? std::max(carried.mtu, routing::ipv6_least_mtu)
                                                  : carried.mtu;
    if (carried.group == 0)
      for (const Member& member : carried.members) {
        Nexthop nexthop{member.tunnel, std::nullopt, member.weight};
        if (wanted.dst.v6) nexthop.gateway = carried.gateway6;
        route.nexthops.push_back(std::move(nexthop));
      }
    // The kernel keeps no weight for a single one.
    if (route.nexthops.size() == 1) route.nexthops.front().weight = 1;
    multipath_.routes.push_back(std::move(route));
  }

  void add_rules() {
    multipath_.rules = desired_.rules;
    if (!desired_.full_tunnel()) return;
    // What comes in by a device with a default route is answered by it: a packet from one of its
    // addresses does not go into the bundle. That keeps ssh from outside alive.
    std::set<std::string> ways_in;
    for (const Route& route : observed_.foreign_routes)
      if (route.dst.length == 0)
        for (const Nexthop& nexthop : route.nexthops) ways_in.insert(nexthop.dev);
    for (const Address& address : observed_.foreign_addresses) {
      if (!ways_in.contains(address.dev)) continue;
      Rule rule;
      rule.preference = way_in_preference;
      rule.v6 = address.prefix.v6;
      rule.from = address.prefix;
      rule.from->length = rule.v6 ? 128 : 32;
      multipath_.rules.push_back(rule);
    }
    std::ranges::sort(multipath_.rules);
    multipath_.rules.erase(std::unique(multipath_.rules.begin(), multipath_.rules.end()),
                           multipath_.rules.end());
  }

  const Desired& desired_;
  const Observed& observed_;
  const HealthTable& health_;
  std::map<std::string, std::set<std::string>> carrying_;  // by peer, now
  std::map<std::uint32_t, const NexthopGroup*> groups_now_;
  std::map<std::string, std::uint32_t> nexthop_of_;
  std::map<std::string, bool> carrier_of_;  // of devices that are up
  std::set<std::string> used_;
  Multipath multipath_;
};

// ---- from the one to the other ----

/// Calls each(peer, tunnel, weight) for what the kernel has.
template <class Each>
void for_each_carrier(const Desired& desired, const Multipath& multipath, const Each& each) {
  std::map<std::uint32_t, std::string> device_of;
  for (const NexthopObject& nexthop : multipath.nexthops) device_of[nexthop.id] = nexthop.dev;
  const auto groups = by_key(multipath.groups, &NexthopGroup::id);
  for (const DesiredGroup& group : desired.groups)
    for (const std::uint32_t id : {group.id, group.id + 1})
      if (const auto now = groups.find(id); now != groups.end())
        for (const GroupMember& member : now->second->members)
          if (const auto device = device_of.find(member.id); device != device_of.end())
            each(group.peer, device->second, member.weight);
  const auto routes = by_key(multipath.routes, place_of);
  for (const DesiredRoute& route : desired.routes)
    if (const auto now = routes.find(place_of(unicast(route, desired.protocol)));
        now != routes.end())
      for (const Nexthop& nexthop : now->second->nexthops)
        each(route.peer, nexthop.dev, nexthop.weight);
}

}  // namespace

std::vector<Route> route_places(const Desired& desired) {
  std::vector<Route> places;
  for (const DesiredRoute& wanted : desired.routes) {
    places.push_back(unicast(wanted, desired.protocol));
    if (wanted.fallback) places.push_back(fallback(wanted, desired.protocol));
  }
  return places;
}

bool uses_nexthop_group(const DesiredGroup& group, const NexthopAbilities& abilities) {
  return group.balance.mode != BalanceMode::hash && abilities.resilient;
}

std::string mechanism_text(const DesiredGroup& group, const NexthopAbilities& abilities) {
  if (uses_nexthop_group(group, abilities)) return "resilient nexthop group";
  if (group.balance.mode == BalanceMode::hash) return "multipath route: balance.mode is hash";
  return "multipath route: this kernel has no resilient nexthop groups, which came with Linux 5.13 "
         "(" +
         abilities.reason + ")";
}

std::map<std::string, std::set<std::string>> carrying(const Desired& desired,
                                                      const Multipath& multipath) {
  std::map<std::string, std::set<std::string>> tunnels;
  for_each_carrier(desired, multipath,
                   [&](const std::string& peer, const std::string& tunnel, unsigned) {
                     tunnels[peer].insert(tunnel);
                   });
  return tunnels;
}

std::map<std::string, std::map<std::string, unsigned>> weights(const Desired& desired,
                                                               const Multipath& multipath) {
  std::map<std::string, std::map<std::string, unsigned>> weights;
  for_each_carrier(desired, multipath,
                   [&](const std::string& peer, const std::string& tunnel, unsigned weight) {
                     weights[peer][tunnel] = weight;
                   });
  return weights;
}

Multipath wanted_multipath(const Desired& desired, const Observed& observed,
                           const HealthTable& health) {
  return WantedMultipath(desired, observed, health).take();
}

namespace {

/// Deletes the nexthops that many groups would have to leave one by one, and those whose number
/// another device takes. `now` is what is there then; its routes are filled in only if there is a
/// deletion.
std::vector<Step> delete_nexthops_first(const Multipath& before, const Multipath& wanted,
                                        Multipath& now) {
  std::vector<Step> deletions;
  now.nexthops = before.nexthops;
  now.groups = before.groups;
  for (const NexthopObject& nexthop : before.nexthops) {
    if (std::ranges::find(wanted.nexthops, nexthop) != wanted.nexthops.end()) continue;
    const auto uses = std::ranges::count_if(before.groups, [&](const NexthopGroup& group) {
      return std::ranges::find(group.members, nexthop.id, &GroupMember::id) != group.members.end();
    });
    const bool renamed =
        std::ranges::find(wanted.nexthops, nexthop.id, &NexthopObject::id) != wanted.nexthops.end();
    if (uses < many_groups && !renamed) continue;
    if (deletions.empty()) now.routes = before.routes;
    const NexthopStep deletion{nexthop, std::nullopt};
    deletions.push_back(deletion);
    record(now, deletion);
  }
  return deletions;
}

}  // namespace

Steps plan_multipath(const Multipath& before, const Multipath& wanted) {
  Multipath now;
  Steps steps{delete_nexthops_first(before, wanted, now), {}};
  const std::vector<Route>& routes_now = steps.additions.empty() ? before.routes : now.routes;
  steps.append(diff(now.nexthops, wanted.nexthops, &NexthopObject::id));
  steps.append(diff(now.groups, wanted.groups, &NexthopGroup::id, same_group));
  Diff<Route> routes = diff(routes_now, wanted.routes, place_of);
  // A unicast route goes before the fallback below it.
  std::ranges::stable_partition(
      routes.gone, [](const RouteStep& step) { return step.before->type == RouteType::unicast; });
  steps.append(std::move(routes));
  steps.append(diff(before.rules, wanted.rules));
  return steps;
}

// ---- what will be there after a step ----

namespace {

void drop_group(Multipath& multipath, std::uint32_t id) {
  std::erase_if(multipath.groups, [&](const NexthopGroup& group) { return group.id == id; });
  std::erase_if(multipath.routes, [&](const Route& route) { return route.nexthop_id == id; });
}

}  // namespace

void record(Multipath& multipath, const NexthopStep& step) {
  if (step.before) {
    const std::uint32_t id = step.before->id;
    std::erase_if(multipath.nexthops, [&](const NexthopObject& one) { return one.id == id; });
    std::vector<std::uint32_t> empty;
    for (NexthopGroup& group : multipath.groups) {
      std::erase_if(group.members, [&](const GroupMember& member) { return member.id == id; });
      if (group.members.empty()) empty.push_back(group.id);
    }
    for (const std::uint32_t group : empty) drop_group(multipath, group);
  }
  if (step.after) multipath.nexthops.push_back(*step.after);
}

void record(Multipath& multipath, const GroupStep& step) {
  if (!step.after) return drop_group(multipath, step.before->id);
  const auto found = std::ranges::find(multipath.groups, step.after->id, &NexthopGroup::id);
  if (found == multipath.groups.end())
    multipath.groups.push_back(*step.after);
  else
    *found = *step.after;
}

void record(Multipath& multipath, const RouteStep& step) {
  const Route& named = step.after ? *step.after : *step.before;
  std::erase_if(multipath.routes,
                [&](const Route& route) { return place_of(route) == place_of(named); });
  if (step.after) multipath.routes.push_back(*step.after);
}

void record(Multipath& multipath, const RuleStep& step) {
  if (step.before) std::erase(multipath.rules, *step.before);
  if (step.after) multipath.rules.push_back(*step.after);
}

}  // namespace tunorch
