#include "orchestrator/config/link_slots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fnv1a.hpp"

namespace tunorch {
namespace {

/// A bundle as far as others can get in its way.
struct Occupied {
  const Bundle* bundle = nullptr;
  std::vector<std::string> nodes;  // sorted
  std::uint64_t ids = 0;           // a bit a tunnel
  int highest_id = 0;

  std::uint64_t slots(unsigned port) const {
    return std::rotl(ids, static_cast<int>(port % link_slots));
  }
  std::uint64_t slots() const { return slots(bundle->port); }
};

Occupied occupied_by(const Bundle& bundle) {
  Occupied occupied{.bundle = &bundle, .nodes = bundle.dial};
  if (!bundle.listen.empty()) occupied.nodes.push_back(bundle.listen);
  std::sort(occupied.nodes.begin(), occupied.nodes.end());
  for (const Tunnel& tunnel : bundle.tunnels) {
    occupied.ids |= 1ULL << (static_cast<unsigned>(tunnel.id) % link_slots);
    occupied.highest_id = std::max(occupied.highest_id, tunnel.id);
  }
  return occupied;
}

std::optional<std::string> shared_node(const Occupied& a, const Occupied& b) {
  std::vector<std::string> both;
  std::set_intersection(a.nodes.begin(), a.nodes.end(), b.nodes.begin(), b.nodes.end(),
                        std::back_inserter(both));
  return both.empty() ? std::nullopt : std::optional(both.front());
}

/// The lowest port that tunnels of both bundles would listen on.
std::optional<int> shared_port(const Bundle& a, const Bundle& b) {
  if (a.listen != b.listen) return std::nullopt;
  std::optional<int> lowest;
  for (const Tunnel& one : a.tunnels)
    for (const Tunnel& other : b.tunnels)
      if (const int port = a.port + one.id; port == b.port + other.id)
        lowest = std::min(port, lowest.value_or(port));
  return lowest;
}

/// "choose port 4434": a port for `bundle` that is free on all its nodes.
std::string remedy(const Occupied& bundle, const std::vector<Occupied>& all) {
  std::uint64_t taken = 0;
  for (const Occupied& other : all)
    if (other.bundle != bundle.bundle && shared_node(bundle, other)) taken |= other.slots();
  for (unsigned step = 1; step < link_slots; ++step) {
    unsigned port = bundle.bundle->port + step;
    if (port + static_cast<unsigned>(bundle.highest_id) > 65535) port -= 2 * link_slots;
    if ((bundle.slots(port) & taken) == 0) return fmt::format("choose port {}", port);
  }
  return fmt::format("no port is free, for a node has {} link subnets: use fewer tunnels",
                     link_slots);
}

/// The first bundle before `all[at]` that is in its way, in words; "" where there is none.
std::string clash(const std::vector<Occupied>& all, std::size_t at) {
  const Occupied& bundle = all[at];
  for (std::size_t before = 0; before < at; ++before) {
    const Occupied& other = all[before];
    const std::uint64_t both = bundle.slots() & other.slots();
    if (both == 0) continue;  // equal ports are equal slots, too
    const std::optional<std::string> node = shared_node(bundle, other);
    if (!node) continue;
    if (const std::optional<int> port = shared_port(*other.bundle, *bundle.bundle))
      return fmt::format("bundles '{}' and '{}' both listen on port {} of node '{}'",
                         other.bundle->name, bundle.bundle->name, *port, bundle.bundle->listen);
    return fmt::format(
        "bundles '{}' and '{}' both use link subnet {} (port + id modulo {}) on node '{}'",
        other.bundle->name, bundle.bundle->name, std::countr_zero(both), link_slots, *node);
  }
  return "";
}

/// The last host number of a link subnet; all-ones is its broadcast address.
std::uint32_t last_host(const Prefix& link_net) {
  const int slot_bits = std::countr_zero(link_slots);
  return (1U << (32 - link_net.length - slot_bits)) - 2;
}

}  // namespace

void assign_slots(Cluster& cluster, Report& report) {
  std::vector<Occupied> all;
  for (Bundle& bundle : cluster.bundles) {
    for (Tunnel& tunnel : bundle.tunnels)
      tunnel.slot = (bundle.port + static_cast<unsigned>(tunnel.id)) % link_slots;
    const std::string pointer = "bundles/" + bundle.name;
    if (!report.is_wrong(pointer + "/port") && !report.is_wrong(pointer + "/tunnels"))
      all.push_back(occupied_by(bundle));
  }
  for (std::size_t at = 0; at < all.size() && !report.full(); ++at)
    if (const std::string found = clash(all, at); !found.empty())
      report.add(fmt::format("bundles/{}/port", all[at].bundle->name),
                 fmt::format("{}; {}", found, remedy(all[at], all)));
}

void assign_link_hosts(Cluster& cluster, Report& report) {
  const std::uint32_t last = last_host(cluster.link_net);
  std::map<std::uint32_t, std::vector<const Node*>> owners;
  for (Node& node : cluster.nodes) {
    if (node.link_host > last)
      report.add(fmt::format("nodes/{}/link_host", node.name),
                 fmt::format("link_host {} is out of bounds; allowed with link_net {}: 1 to {}",
                             node.link_host, cluster.link_net.text(), last));
    if (node.link_host == 0)
      node.link_host = 1 + static_cast<std::uint32_t>(fnv1a(node.name) % last);
    owners[node.link_host].push_back(&node);
  }
  std::uint32_t next_free = 1;
  for (const Node& node : cluster.nodes) {
    const Node& first = *owners[node.link_host].front();
    if (&first == &node || report.full()) continue;
    while (next_free <= last && owners.contains(next_free)) ++next_free;
    const std::string fix = next_free <= last
                                ? fmt::format("write `link_host: {}` for one of them", next_free++)
                                : "give link_net a shorter prefix length";
    report.add(fmt::format("nodes/{}/link_host", node.name),
               fmt::format("nodes '{}' and '{}' both have host number {} in the link subnets; {}",
                           first.name, node.name, node.link_host, fix));
  }
}

}  // namespace tunorch
