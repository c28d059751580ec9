#include "orchestrator/plan/settings.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace tunorch {
namespace {

/// Explicit keys beat the profile, and both yield to what the tunnels cannot work without.
std::map<std::string, std::string> tuning_of(const Tuning& tuning) {
  std::map<std::string, std::string> settings;
  if (tuning.profile == "throughput") {
    const std::string most = std::to_string(throughput_buffer_bytes);
    settings["net.core.rmem_max"] = settings["net.core.wmem_max"] = most;
    settings["net.ipv4.tcp_rmem"] = "4096 131072 " + most;
    settings["net.ipv4.tcp_wmem"] = "4096 131072 " + most;
    settings["net.core.netdev_max_backlog"] = "16384";
    // Forwarded flows come and go: their entries are not to fill the table.
    settings["net.netfilter.nf_conntrack_udp_timeout"] = "10";
    settings["net.netfilter.nf_conntrack_tcp_timeout_time_wait"] = "10";
  }
  if (tuning.profile != "none") {
    // An outer connection that was idle must not start slow again: it carries many flows.
    settings["net.ipv4.tcp_slow_start_after_idle"] = "0";
    // Finds a path MTU by itself where ICMP is filtered (RFC 4821).
    settings["net.ipv4.tcp_mtu_probing"] = "1";
  }
  if (tuning.conntrack_udp_timeout)
    settings["net.netfilter.nf_conntrack_udp_timeout"] =
        std::to_string(tuning.conntrack_udp_timeout->count());
  if (tuning.conntrack_tcp_time_wait)
    settings["net.netfilter.nf_conntrack_tcp_timeout_time_wait"] =
        std::to_string(tuning.conntrack_tcp_time_wait->count());
  for (const auto& [key, value] : tuning.sysctl) settings[key] = value;
  return settings;
}

std::map<std::string, std::string> required_of(const Node& node, const Bundle* bundle) {
  std::map<std::string, std::string> settings;
  if (!bundle) return settings;
  // Layer 4 spreads the flows between two addresses; layer 3 keeps them on one tunnel.
  const std::string policy = bundle->balance.hash == "l4" ? "1" : "0";
  settings["net.ipv4.fib_multipath_hash_policy"] = policy;
  settings["net.ipv6.fib_multipath_hash_policy"] = policy;
  for (const Prefix& subnet : node.subnets)
    settings[subnet.v6 ? "net.ipv6.conf.all.forwarding" : "net.ipv4.ip_forward"] = "1";
  return settings;
}

}  // namespace

std::vector<DesiredSysctl> global_sysctls(const Cluster& cluster, const Node& node,
                                          const Bundle* bundle) {
  const auto required = required_of(node, bundle);
  std::vector<DesiredSysctl> all;
  for (const auto& [key, value] : required) all.push_back({{key, value}, true});
  for (const auto& [key, value] : tuning_of(cluster.tuning))
    if (!required.contains(key)) all.push_back({{key, value}, false});
  return all;
}

void add_device_sysctls(const std::string& dev, bool v6, Desired& desired) {
  auto add = [&](std::string key, std::string value, bool required) {
    desired.sysctls.push_back({{std::move(key), std::move(value)}, required, dev});
  };
  // Replies may come back by another tunnel than the request took: strict would drop them.
  add("net.ipv4.conf." + dev + ".rp_filter", "2", true);
  // So that the kernel alone leaves a tunnel whose worker died, even with the daemon dead. It must
  // be set before carrier can be lost.
  add("net.ipv4.conf." + dev + ".ignore_routes_with_linkdown", "1", true);
  if (!v6) return;
  add("net.ipv6.conf." + dev + ".disable_ipv6", "0", false);
  add("net.ipv6.conf." + dev + ".ignore_routes_with_linkdown", "1", false);
}

}  // namespace tunorch
