#include "orchestrator/plan/desired.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "base/fnv1a.hpp"
#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/settings.hpp"

namespace tunorch {
namespace {

constexpr int link_slot_bits = 6;
static_assert(link_slots == 1U << link_slot_bits);

std::uint8_t link_host_bits(const Prefix& link_net) {
  return static_cast<std::uint8_t>(32 - link_net.length - link_slot_bits);
}

/// The node's address in a tunnel's link subnet, with the subnet's length.
Prefix link_address(const Prefix& link_net, std::uint32_t slot, std::uint32_t host) {
  const std::uint8_t bits = link_host_bits(link_net);
  std::uint32_t base = 0;
  for (int i = 0; i < 4; ++i) base = base << 8 | link_net.bytes[static_cast<std::size_t>(i)];
  const std::uint32_t address = base | slot << bits | host;
  Prefix prefix;
  for (int i = 0; i < 4; ++i)
    prefix.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(address >> (24 - 8 * i));
  prefix.length = static_cast<std::uint8_t>(32 - bits);
  return prefix;
}

Prefix host_of(Prefix prefix) {
  prefix.length = prefix.v6 ? 128 : 32;
  return prefix;
}

/// IPv6 multipath refuses device-only nexthops, and a TUN resolves no neighbours (NOARP), so any
/// link-local address serves: the peer's host number makes it readable.
Prefix link_local_gateway(std::uint32_t host) {
  return *Prefix::parse(fmt::format("fe80::{:x}:{:x}", host >> 16, host & 0xffff));
}

std::vector<Prefix> prefixes_of(const Node& node) {
  std::vector<Prefix> all = node.inner;
  all.insert(all.end(), node.subnets.begin(), node.subnets.end());
  return all;
}

std::string joined(const std::vector<Prefix>& prefixes) {
  std::string text;
  for (const Prefix& prefix : prefixes) text += prefix.text() + ",";
  return text;
}

/// Both ends must have the same of these, or they would drop each other's packets in silence.
std::string wire_digest(const Cluster& cluster, const Bundle& bundle, const std::string& dialer) {
  const Node& listener = *cluster.find_node(bundle.listen);
  return fmt::format(
      "{:016x}",
      fnv1a(fmt::format("{}/{}/{}={}/{}={}/{}", cluster.name, bundle.name, listener.name,
                        joined(prefixes_of(listener)), dialer,
                        joined(prefixes_of(*cluster.find_node(dialer))), cluster.link_net.text())));
}

worker::PeerSpec peer_spec(const Cluster& cluster, const Bundle& bundle, const Tunnel& tunnel,
                           const Node& peer, const std::string& dialer) {
  worker::PeerSpec spec;
  spec.node = peer.name;
  for (const Prefix& prefix : prefixes_of(peer)) spec.prefixes.push_back(prefix.text());
  // Probes and ICMP errors of the peer's kernel come from its link address.
  spec.prefixes.push_back(
      host_of(link_address(cluster.link_net, tunnel.slot, peer.link_host)).text());
  spec.digest = wire_digest(cluster, bundle, dialer);
  return spec;
}

std::string tunnel_name(const Bundle& bundle, const Tunnel& tunnel) {
  return fmt::format("{}-{}", bundle.name, tunnel.id);
}

bool for_throughput(const Cluster& cluster) {
  return cluster.tuning.profile == "throughput";
}

/// With offloads a packet has up to 64 KiB, and 9000 of them would be 590 MB a queue.
unsigned queue_length(const Cluster& cluster, const LinkOptions& link, Engine engine) {
  const bool small_packets = link.offload == "none" || engine != Engine::native;
  return link.txqueuelen.value_or(for_throughput(cluster) && small_packets ? 9000 : 500);
}

std::uint32_t socket_bytes(const Cluster& cluster, std::uint32_t given) {
  return given == 0 && for_throughput(cluster) ? throughput_buffer_bytes : given;
}

/// Tunnels take a node's WAN addresses in turn.
std::string endpoint_of(const Node& node, const Tunnel& tunnel) {
  return node.endpoints[static_cast<std::size_t>(tunnel.id) % node.endpoints.size()];
}

worker::Spec make_spec(const Cluster& cluster, const Bundle& bundle, const Tunnel& tunnel,
                       const Node& node, const std::vector<const Node*>& peers) {
  worker::Spec spec;
  spec.cluster = cluster.name;
  spec.node = node.name;
  spec.bundle = bundle.name;
  spec.tunnel = tunnel_name(bundle, tunnel);
  spec.id = tunnel.id;
  spec.listener = node.name == bundle.listen;
  spec.cipher = bundle.cipher;
  spec.port = static_cast<std::uint16_t>(bundle.port + tunnel.id);
  if (!spec.listener) {
    spec.address = endpoint_of(*peers.front(), tunnel);
    spec.bind = tunnel.bind;
  }
  if (tunnel.engine == Engine::native && tunnel.transport == "postgres") {
    const PostgresOptions& postgres = bundle.postgres;
    spec.transport = tunnel.transport;
    spec.postgres.up = {postgres.up.url, postgres.up.schema};
    spec.postgres.down = {postgres.down.url, postgres.down.schema};
    spec.postgres.keep_s = static_cast<std::uint32_t>(postgres.keep.count());
    spec.postgres.sync = postgres.sync;
  }
  spec.streams = bundle.streams;
  spec.offload = bundle.link.offload;
  static_cast<worker::SocketOptions&>(spec) = bundle.sockets;
  spec.sndbuf_bytes = socket_bytes(cluster, spec.sndbuf_bytes);
  spec.rcvbuf_bytes = socket_bytes(cluster, spec.rcvbuf_bytes);
  spec.interval_ms = static_cast<std::uint32_t>(bundle.health.interval.count());
  spec.timeout_ms = static_cast<std::uint32_t>(bundle.health.timeout.count());
  spec.backoff_ms = static_cast<std::uint32_t>(bundle.restart.backoff.count());
  spec.max_backoff_ms = static_cast<std::uint32_t>(bundle.restart.max_backoff.count());
  spec.isolate = bundle.isolate;
  for (const Node* peer : peers)
    spec.peers.push_back(
        peer_spec(cluster, bundle, tunnel, *peer, spec.listener ? peer->name : node.name));
  return spec;
}

std::optional<Prefix> source_for(const Node& node, bool v6) {
  for (const Prefix& inner : node.inner)
    if (inner.v6 == v6) return inner;
  return std::nullopt;
}

void add_group(const Node& peer, const Bundle& bundle, Desired& desired) {
  DesiredGroup group;
  group.id = group_id_base + 2 * peer.link_host;
  group.bundle = bundle.name;
  group.peer = peer.name;
  group.gateway6 = link_local_gateway(peer.link_host);
  group.min_live = bundle.min_live;
  group.balance = bundle.balance;
  for (const Tunnel& tunnel : bundle.tunnels)
    group.members.push_back({tunnel_name(bundle, tunnel), tunnel.weight, tunnel.priority});
  const auto [least, most] = std::ranges::minmax(bundle.tunnels, {}, &Tunnel::mtu);
  if (least.mtu != most.mtu) group.mtu = least.mtu;
  std::ranges::sort(group.members, {}, &DesiredMember::tunnel);
  desired.groups.push_back(std::move(group));
}

void add_routes_to(const Node& peer, const Node& self, const Bundle& bundle, Desired& desired) {
  for (const Prefix& dst : prefixes_of(peer)) {
    DesiredRoute route;
    route.dst = dst;
    route.src = source_for(self, dst.v6);
    route.peer = peer.name;
    route.fallback = bundle.all_down == AllDown::unreachable;
    if (bundle.policy.table != 0)
      route.table = bundle.policy.table;
    else if (dst.length == 0)
      route.table = full_tunnel_table;
    desired.routes.push_back(std::move(route));
  }
}

void add_rule(Desired& desired, routing::Rule rule) {
  for (const bool v6 : {false, true}) {
    if (rule.from && rule.from->v6 != v6) continue;
    rule.v6 = v6;
    desired.rules.push_back(rule);
  }
}

/// Chosen packets into a bundle's own table.
void add_policy_rules(const PolicyOptions& policy, Desired& desired) {
  routing::Rule rule;
  rule.preference = policy_rule_preference;
  rule.table = policy.table;
  for (const Prefix& from : policy.from) {
    rule.from = from;
    add_rule(desired, rule);
  }
  rule.from.reset();
  rule.fwmark = policy.fwmark;
  if (policy.fwmark != 0) add_rule(desired, rule);
}

/// A /0 may swallow neither the tunnels' own connections nor what main knows better than a default
/// route. What keeps the way in from outside depends on the addresses there are: the plan adds it.
void add_full_tunnel_rules(Desired& desired) {
  routing::Rule own;
  own.preference = own_connections_preference;
  own.uid_first = worker_uid_base;
  static_assert(worker_uid_base + link_slots == web_uid);
  own.uid_last = worker_uid_base + link_slots - 1;
  add_rule(desired, own);
  routing::Rule accepted;  // the uid of an accepted connection is not the worker's
  accepted.preference = own_connections_preference;
  accepted.fwmark = own_connections_mark;
  add_rule(desired, accepted);
  routing::Rule specific;
  specific.preference = specific_routes_preference;
  specific.suppress_prefixlength = 0;
  add_rule(desired, specific);
  routing::Rule all;
  all.preference = full_tunnel_preference;
  all.table = full_tunnel_table;
  add_rule(desired, all);
}

void add_tunnel(const Cluster& cluster, const Bundle& bundle, const Tunnel& tunnel,
                const Node& node, const std::vector<const Node*>& peers, Desired& desired) {
  DesiredTunnel wanted;
  wanted.name = tunnel_name(bundle, tunnel);
  wanted.weight = tunnel.weight;
  wanted.nexthop_id = nexthop_id_base + tunnel.slot;
  wanted.tun.name = wanted.name;
  wanted.tun.alias = fmt::format("tunorch:{}/{}/{}", cluster.name, bundle.name, tunnel.id);
  wanted.tun.mtu = tunnel.mtu;
  wanted.tun.txqueuelen = queue_length(cluster, bundle.link, tunnel.engine);
  wanted.tun.multi_queue = tunnel.engine == Engine::native;
  wanted.tun.owner = worker_uid_base + tunnel.slot;
  wanted.engine = tunnel.engine;
  wanted.spec = make_spec(cluster, bundle, tunnel, node, peers);
  wanted.endpoint = endpoint_of(*cluster.find_node(bundle.listen), tunnel);
  const Node& first_dialer = *cluster.find_node(bundle.dial.front());
  if (bundle.dial.size() == 1 && !first_dialer.endpoints.empty())
    wanted.dialer = endpoint_of(first_dialer, tunnel);
  wanted.engines = bundle.engines;
  wanted.restart = bundle.restart;
  wanted.health = bundle.health;
  wanted.failback = bundle.failback;
  const Prefix link = link_address(cluster.link_net, tunnel.slot, node.link_host);
  wanted.link_address = host_of(link);
  wanted.link_length = link.length;
  for (const Node* peer : peers)
    wanted.link_peers[peer->name] =
        host_of(link_address(cluster.link_net, tunnel.slot, peer->link_host));
  wanted.inner4 = source_for(node, false);
  desired.addresses.push_back({wanted.name, link});
  const auto is_v6 = [](const Prefix& prefix) { return prefix.v6; };
  const bool v6 =
      std::ranges::any_of(node.inner, is_v6) || std::ranges::any_of(peers, [&](const Node* peer) {
        return std::ranges::any_of(prefixes_of(*peer), is_v6);
      });
  add_device_sysctls(wanted.name, v6, desired);
  wanted.carries_v6 = v6;
  desired.tunnels.push_back(std::move(wanted));
}

/// The node's peers in a bundle: all dialers for the listener, the listener for a dialer, none for
/// a node that has no part in it.
std::vector<const Node*> peers_in(const Cluster& cluster, const Bundle& bundle,
                                  const std::string& node) {
  std::vector<const Node*> peers;
  if (node == bundle.listen)
    for (const std::string& name : bundle.dial) peers.push_back(cluster.find_node(name));
  else if (std::ranges::find(bundle.dial, node) != bundle.dial.end())
    peers.push_back(cluster.find_node(bundle.listen));
  return peers;
}

/// Our own worker refuses such packets itself; what comes by another engine the kernel forwards.
bool kernel_isolates(const Bundle& bundle, const DesiredBundle& part) {
  const bool foreign = std::ranges::any_of(
      bundle.tunnels, [](const Tunnel& tunnel) { return tunnel.engine != Engine::native; });
  return bundle.isolate && foreign && part.listener && part.peers.size() > 1;
}

std::optional<routing::NftTable> nft_table_of(const Node& node, std::vector<Prefix> sources,
                                              std::vector<std::vector<std::string>> isolated) {
  routing::NftTable table;
  if (!node.masquerade.empty()) {
    std::ranges::sort(sources);
    sources.erase(std::unique(sources.begin(), sources.end()), sources.end());
    table.masquerade = routing::Masquerade{node.masquerade, sources};
  }
  for (auto& devices : isolated) std::ranges::sort(devices);
  std::ranges::sort(isolated);
  table.isolated = std::move(isolated);
  if (table == routing::NftTable{}) return std::nullopt;
  return table;
}

}  // namespace

const DesiredTunnel* Desired::find_tunnel(const std::string& name) const {
  const auto found = std::ranges::find(tunnels, name, &DesiredTunnel::name);
  return found == tunnels.end() ? nullptr : &*found;
}

const DesiredGroup* Desired::find_group(const std::string& peer) const {
  const auto found = std::ranges::find(groups, peer, &DesiredGroup::peer);
  return found == groups.end() ? nullptr : &*found;
}

bool Desired::needs_ipv6() const {
  return std::ranges::any_of(addresses, [](const auto& one) { return one.prefix.v6; }) ||
         std::ranges::any_of(routes, [](const auto& one) { return one.dst.v6; });
}

bool Desired::full_tunnel() const {
  return std::ranges::any_of(
      routes, [](const DesiredRoute& route) { return route.table == full_tunnel_table; });
}

Desired desired_for(const Cluster& cluster, const std::string& name) {
  const Node* node = cluster.find_node(name);
  if (!node) {
    std::string known;
    for (const Node& other : cluster.nodes) known += (known.empty() ? "" : ", ") + other.name;
    throw std::runtime_error(
        fmt::format("cluster '{}' has no node '{}' (it has {}): choose one with --node",
                    cluster.name, name, known));
  }
  Desired desired;
  desired.cluster = cluster.name;
  desired.node = name;
  desired.protocol = cluster.protocol;
  const Bundle* any_bundle = nullptr;
  std::vector<Prefix> sources;
  std::vector<std::vector<std::string>> isolated;
  for (const Bundle& bundle : cluster.bundles) {
    const std::vector<const Node*> peers = peers_in(cluster, bundle, name);
    if (peers.empty()) continue;
    any_bundle = &bundle;
    DesiredBundle part{bundle.name, name == bundle.listen, {}, {}};
    for (const Tunnel& tunnel : bundle.tunnels) {
      add_tunnel(cluster, bundle, tunnel, *node, peers, desired);
      part.tunnels.push_back(desired.tunnels.back().name);
    }
    for (const Node* peer : peers) {
      part.peers.push_back(peer->name);
      add_group(*peer, bundle, desired);
      add_routes_to(*peer, *node, bundle, desired);
      for (const Prefix& prefix : prefixes_of(*peer)) sources.push_back(prefix);
    }
    if (bundle.policy.table != 0) add_policy_rules(bundle.policy, desired);
    if (kernel_isolates(bundle, part)) isolated.push_back(part.tunnels);
    desired.bundles.push_back(std::move(part));
  }
  if (desired.full_tunnel()) add_full_tunnel_rules(desired);
  for (const Prefix& inner : node->inner) desired.addresses.push_back({"lo", inner});
  desired.metrics = node->metrics;
  desired.forwards_v6 = std::ranges::any_of(node->subnets, [](const Prefix& p) { return p.v6; });
  // Global settings come first: new devices inherit the defaults they change.
  auto sysctls = global_sysctls(cluster, *node, any_bundle);
  desired.sysctls.insert(desired.sysctls.begin(), sysctls.begin(), sysctls.end());
  desired.nft_table = nft_table_of(*node, std::move(sources), std::move(isolated));
  return desired;
}

}  // namespace tunorch
