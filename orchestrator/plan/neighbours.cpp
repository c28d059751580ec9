#include "orchestrator/plan/neighbours.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/multipath.hpp"

namespace tunorch {
namespace {

using routing::Address;
using routing::Link;
using routing::OtherRule;
using routing::Prefix;
using routing::Route;
using routing::Rule;

constexpr std::uint32_t main_table = 254, local_table = 255;
constexpr std::uint32_t main_preference = 32766;  // net/ipv4/fib_rules.c, fib_default_rules_init

const Link* find_link(const Observed& observed, const std::string& name) {
  const auto found = std::ranges::find_if(observed.links, [&](const Link& link) {
    return link.name == name || std::ranges::count(link.alt_names, name) != 0;
  });
  return found == observed.links.end() ? nullptr : &*found;
}

std::string name_conflict(const Link& link, const DesiredTunnel& tunnel) {
  if (link.name != tunnel.name)
    return fmt::format(
        "device {0} cannot be made: {1} has it as another name (altname): `ip link property del "
        "dev {1} altname {0}`, or rename the bundle",
        tunnel.name, link.name);
  return is_our_alias(link.alias)
             ? fmt::format(
                   "device {} belongs to another cluster here ({}): run `tunorch down` "
                   "first",
                   tunnel.name, link.alias)
             : fmt::format("device {} exists and is not ours: remove it, or rename the bundle",
                           tunnel.name);
}

const Address* same_address(const Observed& observed, const Address& address) {
  const auto found = std::ranges::find_if(observed.foreign_addresses, [&](const Address& other) {
    return other.prefix.address_text() == address.prefix.address_text();
  });
  return found == observed.foreign_addresses.end() ? nullptr : &*found;
}

bool same_place(const Route& a, const Route& b) {
  return a.dst == b.dst && a.metric == b.metric && a.table == b.table;
}

bool ipv6_off(const Observed& observed) {
  const auto found = observed.sysctls.find(lo_ipv6_off);
  return found != observed.sysctls.end() && found->second.value.value_or("1") != "0";
}

/// IPv6 addresses live on lo, and so do unreachable routes.
void find_ipv6_off(const Desired& desired, const Observed& observed,
                   std::vector<std::string>& conflicts) {
  if (!desired.needs_ipv6() || !ipv6_off(observed)) return;
  const auto& off = observed.sysctls.at(lo_ipv6_off).value;
  if (!off)
    conflicts.push_back(
        "this kernel has no IPv6 (ipv6.disable=1 on its command line, or CONFIG_IPV6 is not set), "
        "and the file has IPv6 prefixes for this node: turn it on, or take them out");
  else
    conflicts.push_back(
        fmt::format("IPv6 is turned off on lo ({} = {}), and the file has IPv6 prefixes for this "
                    "node: `sysctl -w {}=0`, or take them out",
                    lo_ipv6_off, *off, lo_ipv6_off));
}

/// Where our route is asked for, as far as rules decide.
std::uint32_t preference_of(std::uint32_t table, bool v6, const std::vector<Rule>& rules) {
  std::uint32_t first = table == main_table ? main_preference : 0;
  for (const Rule& rule : rules)
    if (rule.table == table && rule.v6 == v6 && table != main_table)
      first = std::max(first, rule.preference);
  return first;
}

}  // namespace

bool overlap(const Prefix& a, const Prefix& b) {
  return a.contains(b) || b.contains(a);
}

std::set<std::uint32_t> own_tables(const Desired& desired) {
  std::set<std::uint32_t> tables;
  for (const DesiredRoute& route : desired.routes)
    if (route.table != main_table) tables.insert(route.table);
  return tables;
}

bool may_shadow(const Desired& desired, const OtherRule& rule) {
  if (rule.narrow || rule.table == local_table || rule.preference >= main_preference) return false;
  return std::ranges::any_of(desired.routes, [&](const DesiredRoute& route) {
    return route.dst.v6 == rule.v6 && route.table != rule.table &&
           (!rule.to || overlap(*rule.to, route.dst)) &&
           (!rule.from || (route.src && rule.from->contains(*route.src)));
  });
}

bool name_taken(const Observed& observed, const DesiredTunnel& tunnel) {
  const Link* link = find_link(observed, tunnel.name);
  return link && (link->name != tunnel.name || link->alias != tunnel.tun.alias);
}

bool address_taken(const Desired& desired, const Observed& observed, const Address& address) {
  const DesiredTunnel* tunnel = desired.find_tunnel(address.dev);
  return (tunnel && name_taken(observed, *tunnel)) || same_address(observed, address);
}

std::vector<Step> feasible(std::vector<Step> steps, const Observed& observed) {
  const bool no_ipv6 = ipv6_off(observed);
  std::erase_if(steps, [&](const Step& step) {
    if (const auto* address = std::get_if<AddressStep>(&step))
      return no_ipv6 && address->after && address->after->prefix.v6;
    const auto* route = std::get_if<RouteStep>(&step);
    if (!route || !route->after) return false;
    if (no_ipv6 && route->after->dst.v6) return true;
    return !route->before &&
           std::ranges::any_of(observed.foreign_routes, [&](const Route& foreign) {
             return same_place(foreign, *route->after);
           });
  });
  return steps;
}

std::vector<std::string> find_conflicts(const Desired& desired, const Observed& observed) {
  std::vector<std::string> conflicts;
  const Link* lo = find_link(observed, "lo");
  if (!desired.cluster.empty() && lo && !lo->admin_up)
    conflicts.push_back(
        "lo is down in this network namespace, and inner addresses live on it: ip link set lo up");
  find_ipv6_off(desired, observed, conflicts);
  for (const DesiredTunnel& tunnel : desired.tunnels)
    if (name_taken(observed, tunnel))
      conflicts.push_back(name_conflict(*find_link(observed, tunnel.name), tunnel));
  for (const Address& address : desired.addresses)
    if (const Address* other = same_address(observed, address))
      conflicts.push_back(fmt::format(
          "address {} is already on {} and is not ours: remove it there, or choose another",
          other->prefix.text(), other->dev));
  if (desired.nft_table && observed.foreign_nft_table)
    conflicts.push_back(
        "nftables has a table `inet tunorch` that is not ours: nft delete table inet tunorch, or "
        "give it another name");
  if (observed.foreign_routes.empty()) return conflicts;
  const std::vector<Route> places = route_places(desired);
  for (const Route& foreign : observed.foreign_routes)
    for (const Route& route : places)
      if (same_place(route, foreign))
        conflicts.push_back(
            fmt::format("a route that is not ours holds {}: {} (protocol {}): remove it, or give "
                        "it another metric",
                        foreign.dst.text(), foreign.text(), foreign.protocol));
  return conflicts;
}

std::vector<std::string> neighbour_notes(const Desired& desired, const Observed& observed,
                                         const std::vector<Rule>& our_rules) {
  std::vector<std::string> notes;
  const std::set<std::uint32_t> tables = own_tables(desired);
  std::set<std::uint32_t> named;
  const auto places = route_places(desired);
  for (const Route& route : observed.foreign_routes)
    if (tables.contains(route.table) &&
        std::ranges::none_of(places, [&](const Route& one) { return same_place(one, route); }) &&
        named.insert(route.table).second)
      notes.push_back(
          fmt::format("table {} has routes that are not ours, as {} (protocol {}): they are left "
                      "alone, and what they match does not go into the bundle; give theirs a table "
                      "of its own",
                      route.table, route.text(), route.protocol));
  for (const OtherRule& rule : observed.other_rules) {
    const auto shares = [&](const Rule& ours) {
      return ours.v6 == rule.v6 && ours.preference == rule.preference;
    };
    if (std::ranges::any_of(our_rules, shares))
      notes.push_back(
          fmt::format("rule {} is not ours and has the preference of one of ours: both stay, and "
                      "the older one is asked first; give theirs another preference",
                      rule.text()));
    if (!may_shadow(desired, rule)) continue;
    // What it may answer: one route of its table is kept as an example.
    const auto answer = std::ranges::find_if(observed.foreign_routes, [&](const Route& route) {
      return route.table == rule.table && route.dst.v6 == rule.v6;
    });
    if (answer == observed.foreign_routes.end()) continue;
    const auto hidden = std::ranges::find_if(desired.routes, [&](const DesiredRoute& route) {
      return route.table != rule.table && overlap(route.dst, answer->dst) &&
             rule.preference < preference_of(route.table, rule.v6, our_rules);
    });
    if (hidden != desired.routes.end())
      notes.push_back(
          fmt::format("rule {} is not ours and is asked before our route to {}: what matches {} "
                      "goes there instead of into the bundle; remove it, or give it a preference "
                      "above {}",
                      rule.text(), hidden->dst.text(), answer->text(),
                      preference_of(hidden->table, rule.v6, our_rules)));
  }
  return notes;
}

}  // namespace tunorch
