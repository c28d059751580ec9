#include "orchestrator/config/bundles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "orchestrator/config/engines.hpp"
#include "orchestrator/config/nodes.hpp"
#include "orchestrator/config/reserved.hpp"
#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

int to_int(std::optional<std::int64_t> value) {
  return static_cast<int>(value.value());
}

void check_node_exists(const std::string& name, const std::string& place, const Cluster& cluster,
                       Report& report) {
  if (name.empty() || cluster.find_node(name) != nullptr) return;
  std::vector<std::string> names;
  for (const Node& node : cluster.nodes) names.push_back(node.name);
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) hint = "; allowed: a name from nodes";
  report.add(place, fmt::format("there is no node {}{}", shown(name), hint));
}

void read_ends(const Section& section, Bundle& bundle, const Cluster& cluster, Report& report) {
  bundle.listen = section.text("listen");
  const std::string place = section.pointer_to("listen");
  check_node_exists(bundle.listen, place, cluster, report);
  const Node* listener = cluster.find_node(bundle.listen);
  if (listener != nullptr && listener->endpoints.empty())
    report.add(place, fmt::format("node '{}' listens but has no endpoint; add `endpoint:` with the "
                                  "IP address that is dialed",
                                  bundle.listen));
  std::set<std::string> seen;
  for (const Section::Item& item : section.list("dial")) {
    bundle.dial.push_back(item.text);
    check_node_exists(item.text, item.pointer, cluster, report);
    if (item.text == bundle.listen)
      report.add(item.pointer,
                 fmt::format("node '{}' would dial itself; allowed: nodes other than the listener",
                             item.text));
    if (!seen.insert(item.text).second)
      report.add(item.pointer, fmt::format("node {} is in dial twice", shown(item.text)));
  }
}

bool looks_like_address(const std::string& text) {
  return text.find(':') != text.npos || text.find_first_not_of("0123456789.") == text.npos;
}

/// A dialer cannot connect an IPv4 socket to an IPv6 address, nor the other way.
void check_bind(const Tunnel& tunnel, const std::string& place, const Node* listener,
                Report& report) {
  if (tunnel.bind.empty()) return;
  const std::optional<Prefix> address = Prefix::parse(tunnel.bind);
  constexpr std::size_t longest_device_name = 15;  // IFNAMSIZ - 1
  if (!address) {
    if (looks_like_address(tunnel.bind) || tunnel.bind.size() > longest_device_name)
      report.add(place, fmt::format("bind {} is neither an IP address nor a device name (1 to {} "
                                    "letters)",
                                    shown(tunnel.bind), longest_device_name));
    return;
  }
  if (listener == nullptr || listener->endpoints.empty() || tunnel.id < 0) return;
  const std::string& endpoint =
      listener->endpoints[static_cast<std::size_t>(tunnel.id) % listener->endpoints.size()];
  if (Prefix::parse(endpoint)->v6 != address->v6)
    report.add(place, fmt::format("bind {} cannot reach the endpoint {} of tunnel {}: one is IPv4, "
                                  "the other IPv6",
                                  tunnel.bind, endpoint, tunnel.id));
}

void read_tunnels(const Section& section, Bundle& bundle, const Cluster& cluster, Report& report) {
  const std::string transport = section.text("transport");
  if (!section.is_list("tunnels")) {
    const int count = to_int(section.integer("tunnels"));
    for (int id = 0; id < count; ++id) {
      Tunnel& tunnel = bundle.tunnels.emplace_back();
      tunnel.id = id;
      tunnel.engine = bundle.engine;
      tunnel.mtu = 0;
      tunnel.transport = transport;
    }
    return;
  }
  std::set<int> ids;
  for (const Section& item : section.sections("tunnels")) {
    Tunnel tunnel;
    const auto place_in_list = static_cast<std::int64_t>(bundle.tunnels.size());
    tunnel.id = static_cast<int>(item.integer("id").value_or(place_in_list));
    tunnel.weight = static_cast<unsigned>(item.integer("weight").value());
    tunnel.bind = item.text("bind");
    tunnel.priority = static_cast<unsigned>(item.integer("priority").value());
    tunnel.engine = item.has("engine") ? engine_of(item.text("engine")) : bundle.engine;
    tunnel.mtu = static_cast<unsigned>(item.integer("mtu").value_or(0));
    tunnel.transport = item.has("transport") ? item.text("transport") : transport;
    if (item.has("transport") && tunnel.engine != Engine::native)
      report.add(
          item.pointer_to("transport"),
          fmt::format("a transport is the native engine's, and this tunnel's is {}; remove it",
                      to_string(tunnel.engine)));
    if (!ids.insert(tunnel.id).second)
      report.add(item.pointer_to("id"),
                 fmt::format("tunnel id {} is taken twice in bundle '{}'; give another id, 0 to 63",
                             tunnel.id, bundle.name));
    check_bind(tunnel, item.pointer_to("bind"), cluster.find_node(bundle.listen), report);
    bundle.tunnels.push_back(std::move(tunnel));
  }
}

void read_port(const Section& section, Bundle& bundle, Report& report) {
  bundle.port = static_cast<std::uint16_t>(section.integer("port").value());
  int highest_id = 0;
  for (const Tunnel& tunnel : bundle.tunnels) highest_id = std::max(highest_id, tunnel.id);
  constexpr int last_port = 65535;
  if (bundle.port + highest_id > last_port)
    report.add(section.pointer_to("port"),
               fmt::format("port {} leaves no room for tunnel {}; allowed: at most {}", bundle.port,
                           highest_id, last_port - highest_id));
}

/// Sound or not, a target counts: that one is wrong says nothing against the quorum.
std::size_t read_targets(const Section& section, std::vector<std::string>& targets,
                         Report& report) {
  const std::vector<Section::Item> items = section.list("targets");
  for (const Section::Item& item : items) {
    const std::optional<Prefix> address = Prefix::parse(item.text);
    if (!address || !address->is_host() || address->v6)
      report.add(item.pointer, fmt::format("target {} is not an IPv4 address", shown(item.text)));
    else if (const std::string use = special_use(*address, false); !use.empty())
      report.add(item.pointer, fmt::format("target {} is {}; allowed: an address behind the peer",
                                           item.text, use));
    else if (std::ranges::find(targets, address->address_text()) != targets.end())
      report.add(item.pointer, fmt::format("target {} is listed twice", item.text));
    else
      targets.push_back(address->address_text());
  }
  return items.size();
}

HealthOptions read_health(const Section& section, Report& report) {
  HealthOptions health;
  health.interval = section.duration("interval").value();
  health.timeout = section.duration("timeout").value();
  health.rise = to_int(section.integer("rise"));
  health.fall = to_int(section.integer("fall"));
  const std::size_t targets = read_targets(section, health.targets, report);
  health.quorum = to_int(section.integer("quorum"));
  health.slow_start = section.duration("slow_start").value();
  health.damping = section.duration("damping").value();
  const std::size_t most = std::max<std::size_t>(targets, 1);
  if (static_cast<std::size_t>(health.quorum) > most &&
      !report.is_wrong(section.pointer_to("targets")))
    report.add(section.pointer_to("quorum"),
               fmt::format("quorum {} is more than there are targets; allowed: 1 to {}",
                           health.quorum, most));
  return health;
}

worker::SocketOptions read_sockets(const Section& section) {
  return {.sndbuf_bytes = section.size_bytes("sndbuf"),
          .rcvbuf_bytes = section.size_bytes("rcvbuf"),
          .congestion = section.text("congestion")};
}

BalanceOptions read_balance(const Section& section) {
  BalanceOptions balance;
  const std::string mode = section.text("mode");
  if (mode == "resilient") balance.mode = BalanceMode::resilient;
  if (mode == "hash") balance.mode = BalanceMode::hash;
  balance.hash = section.text("hash");
  balance.buckets = static_cast<std::uint16_t>(section.integer("buckets").value());
  // The kernel counts in 10 ms, and less than one of them must not become 0, which is never.
  static constexpr milliseconds tick{10};
  const auto whole = [](milliseconds time) {
    return time.count() == 0 ? time : std::max(time / tick * tick, tick);
  };
  balance.idle_timer = whole(section.duration("idle_timer").value());
  balance.unbalanced_timer = whole(section.duration("unbalanced_timer").value());
  return balance;
}

FailbackOptions read_failback(const Section& section) {
  FailbackOptions failback;
  const std::string policy = section.text("failback");
  if (policy == "hold") failback.policy = FailbackPolicy::hold;
  if (policy == "manual") failback.policy = FailbackPolicy::manual;
  failback.hold = section.duration("failback_hold").value();
  return failback;
}

PolicyOptions read_policy(const Section& section, Report& report) {
  PolicyOptions policy;
  policy.table = static_cast<std::uint32_t>(section.integer("table").value_or(0));
  policy.fwmark = static_cast<std::uint32_t>(section.integer("fwmark").value_or(0));
  const std::vector<Section::Item> sources = section.list("from");
  for (const Section::Item& item : sources) {
    const std::optional<Prefix> from = Prefix::parse(item.text);
    if (!from || from->has_host_bits())
      report.add(item.pointer, fmt::format("{} is not a network; allowed: as in 192.168.50.0/24",
                                           shown(item.text)));
    else if (std::ranges::find(policy.from, *from) != policy.from.end())
      report.add(item.pointer, fmt::format("{} is listed twice", from->text()));
    else
      policy.from.push_back(*from);
  }
  constexpr std::uint32_t kernels[] = {253, 254, 255};  // default, main, local
  if (policy.table == full_tunnel_table ||
      std::ranges::find(kernels, policy.table) != std::end(kernels))
    report.add(section.pointer_to("table"),
               fmt::format("table {} is taken; allowed: any but 253, 254, 255 (the kernel's) and "
                           "{} (a full tunnel's)",
                           policy.table, full_tunnel_table));
  if (policy.fwmark == own_connections_mark)
    report.add(
        section.pointer_to("fwmark"),
        fmt::format("fwmark {} is what tunorch marks its own connections with; choose another",
                    policy.fwmark));
  const bool chooses =
      !sources.empty() || section.has("fwmark") || report.is_wrong(section.pointer_to("from"));
  if (chooses != section.has("table") && !report.is_wrong(section.pointer()))
    report.add(section.pointer(), chooses ? "policy has no table for what it chooses; add `table:`"
                                          : "policy chooses nothing; add `from:` or `fwmark:`");
  return policy;
}

RestartOptions read_restart(const Section& section, Report& report) {
  const RestartOptions restart = {.backoff = section.duration("backoff").value(),
                                  .max_backoff = section.duration("max_backoff").value(),
                                  .quarantine_after = to_int(section.integer("quarantine_after"))};
  if (restart.backoff > restart.max_backoff)
    report.add(section.pointer_to(section.has("backoff") ? "backoff" : "max_backoff"),
               fmt::format("backoff {} is longer than max_backoff {}",
                           duration_text(restart.backoff.count()),
                           duration_text(restart.max_backoff.count())));
  return restart;
}

LinkOptions read_link(const Section& section) {
  LinkOptions link;
  const auto txqueuelen = section.integer("txqueuelen");
  if (section.has("txqueuelen")) link.txqueuelen = static_cast<unsigned>(txqueuelen.value());
  link.offload = section.text("offload");
  return link;
}

Bundle read_bundle(const std::string& name, const Section& section, const Cluster& cluster,
                   Report& report) {
  Bundle bundle;
  bundle.name = name;
  read_ends(section, bundle, cluster, report);
  bundle.engine = engine_of(section.text("engine"));
  read_tunnels(section, bundle, cluster, report);
  read_port(section, bundle, report);
  read_engines(section, bundle, report);
  bundle.cipher = section.text("cipher");
  bundle.streams = to_int(section.integer("streams"));
  bundle.link = read_link(section.section("link"));
  bundle.sockets = read_sockets(section.section("sockets"));
  bundle.health = read_health(section.section("health"), report);
  bundle.balance = read_balance(section.section("balance"));
  bundle.failback = read_failback(section);
  bundle.policy = read_policy(section.section("policy"), report);
  bundle.min_live = to_int(section.integer("min_live"));
  if (bundle.min_live > static_cast<int>(bundle.tunnels.size()) &&
      !report.is_wrong(section.pointer_to("tunnels")))
    report.add(section.pointer_to("min_live"),
               fmt::format("min_live {} is more than there are tunnels; allowed: 1 to {}",
                           bundle.min_live, bundle.tunnels.size()));
  bundle.restart = read_restart(section.section("restart"), report);
  bundle.all_down =
      section.text("all_down") == "withdraw" ? AllDown::withdraw : AllDown::unreachable;
  bundle.isolate = section.boolean("isolate").value();
  return bundle;
}

/// Two bundles between the same two nodes would carry the same routes, and only one can have them.
void check_joined_once(const Cluster& cluster, Report& report) {
  std::map<std::pair<std::string, std::string>, std::string> joined;
  for (const Bundle& bundle : cluster.bundles)
    for (const std::string& dialer : std::set(bundle.dial.begin(), bundle.dial.end())) {
      const auto [found, fresh] =
          joined.try_emplace(std::minmax(bundle.listen, dialer), bundle.name);
      if (!fresh)
        report.add(fmt::format("bundles/{}/dial", bundle.name),
                   fmt::format("nodes '{}' and '{}' are joined by bundle '{}' already; give that "
                               "bundle more tunnels",
                               dialer, bundle.listen, found->second));
    }
}

/// Rules lead to a table, not to a bundle: two bundles with one table would get each other's
/// packets.
void check_own_tables(const Cluster& cluster, Report& report) {
  std::map<std::pair<std::string, std::uint32_t>, std::string> owners;
  for (const Bundle& bundle : cluster.bundles) {
    const std::string place = fmt::format("bundles/{}/policy/table", bundle.name);
    if (bundle.policy.table == 0 || report.is_wrong(place)) continue;
    std::set<std::string> nodes(bundle.dial.begin(), bundle.dial.end());
    nodes.insert(bundle.listen);
    for (const std::string& node : nodes) {
      const auto [found, fresh] = owners.try_emplace({node, bundle.policy.table}, bundle.name);
      if (!fresh && !node.empty() && !report.is_wrong(place))
        report.add(place, fmt::format("bundles '{}' and '{}' both use table {} on node '{}'; give "
                                      "one of them another",
                                      found->second, bundle.name, bundle.policy.table, node));
    }
  }
}

}  // namespace

void read_bundles(const Section& file, Cluster& cluster, Report& report) {
  for (const auto& [name, section] : file.named("bundles"))
    cluster.bundles.push_back(read_bundle(name, section, cluster, report));
  check_joined_once(cluster, report);
  check_own_tables(cluster, report);
}

}  // namespace tunorch
