#include "orchestrator/support/parts.hpp"

namespace tunorch {
namespace {

constexpr const char* journal_lines = "2000";

}  // namespace

std::vector<SupportCommand> support_commands(const std::string& program, const Paths& paths,
                                             const std::string& file) {
  const auto ours = [&](std::vector<std::string> words) {
    words.insert(words.begin(), program);
    for (const std::string& word :
         {std::string("--node"), paths.node, std::string("--runtime-dir"), paths.runtime.string(),
          std::string("--state-dir"), paths.state.string()})
      words.push_back(word);
    return words;
  };
  std::vector<std::string> doctor{"doctor", "--json"};
  if (!file.empty()) doctor.push_back(file);
  std::vector<SupportCommand> commands{
      {"status.json", ours({"status", "--json"}), {0, 1}, true},
      {"events.json", ours({"events", "--json"}), {0}, true},
      {"doctor.json", ours(doctor), {0, 2, 3}, true},
  };
  if (!file.empty()) commands.push_back({"plan.txt", ours({"plan", file}), {0, 2}});
  const std::vector<SupportCommand> others{
      {"uname.txt", {"uname", "-a"}},
      {"links.txt", {"ip", "-d", "-s", "link"}},
      {"addresses.txt", {"ip", "addr"}},
      {"rules4.txt", {"ip", "-4", "rule"}},
      {"rules6.txt", {"ip", "-6", "rule"}},
      {"routes4.txt", {"ip", "-4", "route", "show", "table", "all"}},
      {"routes6.txt", {"ip", "-6", "route", "show", "table", "all"}},
      {"nexthops.txt", {"ip", "nexthop"}},
      {"buckets.txt", {"ip", "nexthop", "bucket"}},
      {"neighbours.txt", {"ip", "-s", "neigh"}},
      {"queues.txt", {"tc", "-s", "qdisc"}},
      {"nft.txt", {"nft", "list", "ruleset"}},
      {"sockets.txt", {"ss", "-tinmp"}},
      {"listening.txt", {"ss", "-tulnp"}},
      {"units.txt",
       {"systemctl", "status", "--no-pager", "--full", "tunorch*"},
       {0, 3, 4},
       false,
       true},
      {"journal.txt",
       {"journalctl", "--unit=tunorch*", "--lines", journal_lines, "--no-pager", "--output",
        "short-iso-precise"},
       {0},
       false,
       true},
  };
  commands.insert(commands.end(), others.begin(), others.end());
  return commands;
}

std::vector<std::string> support_settings() {
  return {"fs.file-max",
          "fs.nr_open",
          "kernel.pid_max",
          "kernel.threads-max",
          "net.core.default_qdisc",
          "net.core.netdev_budget",
          "net.core.netdev_max_backlog",
          "net.core.rmem_default",
          "net.core.rmem_max",
          "net.core.somaxconn",
          "net.core.wmem_default",
          "net.core.wmem_max",
          "net.ipv4.conf.all.ignore_routes_with_linkdown",
          "net.ipv4.conf.all.rp_filter",
          "net.ipv4.conf.default.rp_filter",
          "net.ipv4.fib_multipath_hash_policy",
          "net.ipv4.fib_multipath_use_neigh",
          "net.ipv4.ip_forward",
          "net.ipv4.ip_local_port_range",
          "net.ipv4.tcp_allowed_congestion_control",
          "net.ipv4.tcp_available_congestion_control",
          "net.ipv4.tcp_congestion_control",
          "net.ipv4.tcp_mem",
          "net.ipv4.tcp_mtu_probing",
          "net.ipv4.tcp_notsent_lowat",
          "net.ipv4.tcp_retries2",
          "net.ipv4.tcp_rmem",
          "net.ipv4.tcp_sack",
          "net.ipv4.tcp_slow_start_after_idle",
          "net.ipv4.tcp_timestamps",
          "net.ipv4.tcp_window_scaling",
          "net.ipv4.tcp_wmem",
          "net.ipv6.conf.all.disable_ipv6",
          "net.ipv6.conf.all.forwarding",
          "net.ipv6.conf.default.disable_ipv6",
          "net.ipv6.fib_multipath_hash_policy",
          "net.netfilter.nf_conntrack_count",
          "net.netfilter.nf_conntrack_max",
          "net.netfilter.nf_conntrack_udp_timeout"};
}

std::vector<std::string> support_setting_folders(const std::vector<std::string>& devices) {
  std::vector<std::string> folders;
  for (const std::string& device : devices)
    for (const char* family : {"ipv4", "ipv6"})
      folders.push_back(std::string("/proc/sys/net/") + family + "/conf/" + device);
  return folders;
}

}  // namespace tunorch
