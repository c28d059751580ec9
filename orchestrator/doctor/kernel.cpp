// What the kernel can do, and the settings below /proc/sys.
#include <fmt/format.h>

#include <algorithm>

#include "orchestrator/doctor/judges.hpp"

namespace tunorch {
namespace {

using routing::Prefix;

bool wants_v6(const Examined& examined) {
  if (!examined.desired) return false;
  const auto is_v6 = [](const routing::Address& address) { return address.prefix.v6; };
  return std::ranges::any_of(examined.desired->addresses, is_v6) ||
         std::ranges::any_of(examined.desired->tunnels, &DesiredTunnel::carries_v6);
}

template <class Predicate>
bool any_tunnel(const Examined& examined, Predicate predicate) {
  return examined.desired && std::ranges::any_of(examined.desired->tunnels, predicate);
}

void judge_tun(const Examined& examined, Findings& findings) {
  const KernelFacts& kernel = examined.host.kernel;
  if (kernel.tun.works())
    return add_ok(findings, "kernel.tun", "TUN devices: many queues, virtio headers, offloads");
  if (!kernel.tun.fails() && kernel.tun_node) return;
  Finding finding{"kernel.tun", Severity::error, kernel.tun.problem};
  if (!kernel.tun_node) finding.found = "/dev/net/tun does not exist";
  finding.meaning = "every tunnel needs a TUN device";
  if (examined.host.container) {
    finding.meaning +=
        "; a container is given it by its host, e.g. with --device /dev/net/tun --cap-add "
        "NET_ADMIN";
  } else {
    finding.mend = "modprobe tun";
    finding.lasting = "echo tun > /etc/modules-load.d/tun.conf";
  }
  findings.push_back(finding);
}

void judge_nexthops(const Examined& examined, Findings& findings) {
  const Trial& trial = examined.host.kernel.nexthops;
  if (trial.works())
    return add_ok(findings, "kernel.nexthops", "resilient nexthop groups: no healthy flow moves");
  if (!trial.fails()) return;
  const bool asked_for =
      examined.desired && std::ranges::any_of(examined.desired->groups, [](const auto& group) {
        return group.balance.mode == BalanceMode::resilient;
      });
  Finding finding{"kernel.nexthops", asked_for ? Severity::error : Severity::warning,
                  "no resilient nexthop groups: " + trial.problem};
  finding.meaning =
      "when a tunnel dies some flows of the healthy ones move too, as with any "
      "multipath route; Linux 5.13 and newer has them";
  if (asked_for) finding.meaning = "balance.mode is resilient in the file; " + finding.meaning;
  if (!examined.host.container) {
    finding.mend = "apt-get install -y linux-image-$(dpkg --print-architecture)";
    finding.lasting = "reboot, to run it";
  }
  findings.push_back(finding);
}

void judge_multipath(const Examined& examined, Findings& findings) {
  const KernelFacts& kernel = examined.host.kernel;
  for (const auto& [trial, name, needed] :
       {std::tuple{&kernel.multipath4, "IPv4", true},
        std::tuple{&kernel.multipath6, "IPv6", wants_v6(examined)}}) {
    if (trial->works()) add_ok(findings, "kernel.multipath", std::string(name) + " multipath");
    if (!trial->fails()) continue;
    Finding finding{"kernel.multipath", needed ? Severity::error : Severity::note,
                    fmt::format("no {} multipath routes: {}", name, trial->problem)};
    finding.meaning =
        "a bundle is a multipath route; the kernel needs "
        "CONFIG_IP_ROUTE_MULTIPATH, which the distribution's has";
    findings.push_back(finding);
  }
}

void judge_ipv6(const Examined& examined, Findings& findings) {
  const KernelFacts& kernel = examined.host.kernel;
  const Severity severity = wants_v6(examined) ? Severity::error : Severity::note;
  if (!kernel.ipv6) {
    Finding finding{"kernel.ipv6", severity,
                    "the kernel has no IPv6 (booted with ipv6.disable=1?)"};
    finding.meaning = "no IPv6 address can be given, nor a route";
    finding.lasting =
        "remove ipv6.disable=1 from GRUB_CMDLINE_LINUX in /etc/default/grub, "
        "run update-grub, reboot";
    findings.push_back(finding);
    return;
  }
  // tunorch enables IPv6 on its own devices itself; inner addresses live on lo.
  std::vector<std::string> off;
  for (const char* device : {"all", "default", "lo"})
    if (const auto found = kernel.ipv6_disabled.find(device);
        found != kernel.ipv6_disabled.end() && found->second)
      off.emplace_back(device);
  if (off.empty()) return add_ok(findings, "kernel.ipv6", "IPv6 is on");
  Finding finding{"kernel.ipv6", severity, "IPv6 is switched off for: " + listed(off)};
  finding.meaning = "inner IPv6 addresses live on lo and cannot be given there";
  std::vector<std::string> words;
  for (const std::string& device : off)
    words.push_back("net.ipv6.conf." + device + ".disable_ipv6=0");
  finding.mend = "sysctl -w " + listed(words, " ");
  finding.lasting =
      fmt::format("printf '%s\\n' {} >> /etc/sysctl.d/90-tunorch.conf", listed(words, " "));
  findings.push_back(finding);
}

void judge_nftables(const Examined& examined, Findings& findings) {
  const Trial& trial = examined.host.kernel.nftables;
  if (trial.works()) return add_ok(findings, "kernel.nftables", "nftables: NAT and sets");
  if (!trial.fails()) return;
  const bool needed = examined.desired && examined.desired->nft_table;
  Finding finding{"kernel.nftables", needed ? Severity::error : Severity::note,
                  "nftables cannot be used: " + trial.problem};
  finding.meaning = needed ? "the file asks for masquerade or isolation, which are its rules"
                           : "masquerade and isolation of other engines' dialers need it";
  if (needed && !examined.host.container) {
    finding.mend = "modprobe -a nf_tables nft_chain_nat nft_masq";
    finding.lasting =
        "printf '%s\\n' nf_tables nft_chain_nat nft_masq > /etc/modules-load.d/nftables.conf";
  }
  findings.push_back(finding);
}

void judge_steering(const Examined& examined, Findings& findings) {
  const Trial& trial = examined.host.kernel.steering;
  if (trial.works()) return add_ok(findings, "kernel.steering", "eBPF steers queues");
  if (!trial.fails()) return;
  const bool needed =
      any_tunnel(examined, [](const DesiredTunnel& tunnel) { return tunnel.spec.streams > 1; });
  Finding finding{"kernel.steering", needed ? Severity::warning : Severity::note,
                  "no eBPF program for a TUN: " + trial.problem};
  finding.meaning = "without it packets of a flow overtake each other, so a tunnel gets one stream";
  // Kernels before 5.11 charge programs to RLIMIT_MEMLOCK.
  if (needed && examined.host.limits.memlock_bytes < 8U << 20U)
    finding.mend = "ulimit -l unlimited";
  findings.push_back(finding);
}

void judge_bbr(const Examined& examined, Findings& findings) {
  const KernelFacts& kernel = examined.host.kernel;
  if (kernel.congestion_available.empty()) return;
  const std::string qdisc =
      kernel.default_qdisc.empty()
          ? ""
          : fmt::format("; default qdisc {}: any will do, it paces itself", kernel.default_qdisc);
  if (kernel.congestion_allowed.contains("bbr"))
    return add_ok(findings, "kernel.bbr", "bbr for the tunnels' connections" + qdisc);
  if (kernel.bbr_module && !kernel.congestion_available.contains("bbr"))
    return add_ok(findings, "kernel.bbr", "bbr, a module that the daemon has loaded" + qdisc);
  Finding finding{"kernel.bbr", Severity::warning, ""};
  finding.meaning =
      "tunnels fall back to a loss-based congestion control, under which TCP inside "
      "TCP melts at the first percent of loss";
  if (kernel.congestion_available.contains("bbr")) {
    finding.found = "bbr is there, and only root may use it; workers are not root";
    mend_setting(finding, "net.ipv4.tcp_allowed_congestion_control",
                 listed(kernel.congestion_allowed, " ") + " bbr");
  } else {
    finding.found = "the kernel has no bbr, only " + listed(kernel.congestion_available);
    if (examined.host.container) finding.meaning += "; the host of the container decides";
  }
  findings.push_back(finding);
}

/// Settings that tunorch sets itself: a note, and a finding only if it cannot.
void judge_written(const Examined& examined, Findings& findings) {
  std::size_t theirs = 0;
  for (const DesiredSysctl& wanted : examined.desired->sysctls) {
    const auto now =
        std::ranges::find(examined.host.settings, wanted.setting.key, &SettingFacts::key);
    if (now == examined.host.settings.end() || !wanted.device.empty()) continue;
    if (now->value == wanted.setting.value || now->writable) {
      if (now->value != wanted.setting.value) ++theirs;
      continue;
    }
    Finding finding{
        wanted.required ? "settings.required" : "settings.tuning",
        wanted.required ? Severity::error : Severity::note,
        fmt::format("{} is {} and cannot be written here, {} is wanted", wanted.setting.key,
                    now->value.value_or("not there"), wanted.setting.value)};
    finding.meaning = wanted.required ? "tunnels cannot work without it, apply will refuse"
                                      : "apply goes on without it";
    if (now->value) {
      mend_setting(finding, wanted.setting.key, wanted.setting.value);
      finding.meaning += "; a container gets it from its host, or with --sysctl";
    }
    findings.push_back(finding);
  }
  add_ok(findings, "settings.written", fmt::format("{} settings will be set by apply", theirs));
}

void judge_buffers(const Examined& examined, Findings& findings) {
  const LimitFacts& limits = examined.host.limits;
  const auto most = [&](const char* key, std::uint64_t now) {
    const auto setting = std::ranges::find(examined.host.settings, key, &SettingFacts::key);
    if (setting == examined.host.settings.end() || !setting->writable) return now;
    for (const DesiredSysctl& wanted : examined.desired->sysctls)
      if (wanted.setting.key == key) return std::uint64_t{std::stoull(wanted.setting.value)};
    return now;
  };
  std::uint64_t sndbuf = 0, rcvbuf = 0;
  for (const DesiredTunnel& tunnel : examined.desired->tunnels) {
    sndbuf = std::max<std::uint64_t>(sndbuf, tunnel.spec.sndbuf_bytes);
    rcvbuf = std::max<std::uint64_t>(rcvbuf, tunnel.spec.rcvbuf_bytes);
  }
  for (const auto& [key, wanted, now] :
       {std::tuple{"net.core.wmem_max", sndbuf, limits.wmem_max_bytes},
        std::tuple{"net.core.rmem_max", rcvbuf, limits.rmem_max_bytes}}) {
    if (wanted == 0 || now == 0 || most(key, now) >= wanted) continue;
    Finding finding{
        "settings.buffers", Severity::warning,
        fmt::format("{} is {}, and the tunnels' sockets are to have {} bytes", key, now, wanted)};
    finding.meaning = "the kernel cuts their buffers to it in silence";
    mend_setting(finding, key, std::to_string(wanted));
    findings.push_back(finding);
  }
}

}  // namespace

void judge_kernel(const Examined& examined, Findings& findings) {
  judge_tun(examined, findings);
  judge_multipath(examined, findings);
  judge_nexthops(examined, findings);
  judge_ipv6(examined, findings);
  judge_nftables(examined, findings);
  judge_steering(examined, findings);
  judge_bbr(examined, findings);
}

void judge_settings(const Examined& examined, Findings& findings) {
  if (!examined.desired) return;
  if (examined.host.root) judge_written(examined, findings);
  judge_buffers(examined, findings);
}

}  // namespace tunorch
