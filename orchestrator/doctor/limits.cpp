// Limits, the clock, the CPU, and other engines' programs.
#include <fmt/format.h>

#include <algorithm>

#include "orchestrator/config/engines.hpp"
#include "orchestrator/doctor/judges.hpp"

namespace tunorch {
namespace {

std::uint64_t streams_of(const DesiredTunnel& tunnel) {
  return tunnel.engine == Engine::native ? static_cast<std::uint64_t>(tunnel.spec.streams) : 1;
}

/// Of one process: a connection a stream and peer, a queue a stream, and what every process has.
std::uint64_t files_needed(const Examined& examined) {
  constexpr std::uint64_t basis = 256, each_tunnel = 8;
  std::uint64_t worker = 0, daemon = 0;
  if (examined.desired)
    for (const DesiredTunnel& tunnel : examined.desired->tunnels) {
      worker = std::max(worker, streams_of(tunnel) * (tunnel.spec.peers.size() + 1));
      daemon += each_tunnel + streams_of(tunnel);
    }
  return basis + std::max(worker, daemon);
}

void judge_files(const Examined& examined, Findings& findings) {
  const std::uint64_t now = examined.host.limits.files, needed = files_needed(examined);
  if (now >= needed)
    return add_ok(findings, "limits.files", fmt::format("{} open files, {} needed", now, needed));
  Finding finding{"limits.files", Severity::warning,
                  fmt::format("a process may open {} files, and {} are needed", now, needed)};
  finding.meaning = "connections beyond it are refused; the systemd unit has a limit of its own";
  finding.mend = "ulimit -n 65536";
  finding.lasting = "echo 'root - nofile 65536' > /etc/security/limits.d/90-tunorch.conf";
  findings.push_back(finding);
}

void judge_processes(const Examined& examined, Findings& findings) {
  constexpr std::uint64_t basis = 64;
  std::uint64_t needed = basis;
  if (examined.desired)
    for (const DesiredTunnel& tunnel : examined.desired->tunnels) needed += streams_of(tunnel) + 1;
  const std::uint64_t now = examined.host.limits.processes;
  if (now >= needed)
    return add_ok(findings, "limits.processes",
                  fmt::format("{} processes and threads, {} needed", now, needed));
  Finding finding{"limits.processes", Severity::error,
                  fmt::format("{} processes and threads are allowed, {} are needed", now, needed)};
  finding.meaning = "workers cannot be started";
  mend_setting(finding, "kernel.pid_max", "4194304");
  finding.meaning +=
      "; the least of pid_max, threads-max, ulimit -u and the control group's "
      "pids.max counts";
  findings.push_back(finding);
}

void judge_memory(const Examined& examined, Findings& findings) {
  // A worker's basis, and what may wait in a stream and its socket (docs/tuning.md).
  constexpr std::uint64_t mib = 1U << 20U, worker = 16 * mib, stream = 8 * mib;
  std::uint64_t needed = 64 * mib;
  if (examined.desired)
    for (const DesiredTunnel& tunnel : examined.desired->tunnels)
      needed += worker + streams_of(tunnel) * stream;
  const LimitFacts& limits = examined.host.limits;
  if (limits.memory_bytes == 0) return;
  if (limits.memory_bytes >= needed) {
    add_ok(findings, "limits.memory",
           fmt::format("{} MiB are free, {} needed", limits.memory_bytes / mib, needed / mib));
  } else {
    Finding finding{"limits.memory", Severity::warning,
                    fmt::format("{} MiB are free, and busy tunnels may need {}",
                                limits.memory_bytes / mib, needed / mib)};
    finding.meaning =
        "the kernel kills processes when memory ends; have fewer tunnels or streams, "
        "or more memory";
    findings.push_back(finding);
  }
  if (limits.oom_kills == 0) return;
  Finding finding{
      "limits.oom", Severity::note,
      fmt::format("{} processes were killed for want of memory since boot", limits.oom_kills)};
  finding.meaning = "a worker may be next: who it was is in the kernel's log";
  finding.mend = "dmesg | grep -i 'killed process'";
  findings.push_back(finding);
}

void judge_memlock(const Examined& examined, Findings& findings) {
  constexpr std::uint64_t enough = 8U << 20U;
  const std::uint64_t now = examined.host.limits.memlock_bytes;
  if (now >= enough || examined.host.kernel.steering.works())
    return add_ok(findings, "limits.memlock", "locked memory suffices for eBPF");
  Finding finding{"limits.memlock", Severity::note,
                  fmt::format("{} KiB of memory may be locked", now >> 10U)};
  finding.meaning =
      "kernels before 5.11 count eBPF programs against it; the systemd unit has no "
      "such limit";
  finding.mend = "ulimit -l unlimited";
  finding.lasting = "echo 'root - memlock unlimited' > /etc/security/limits.d/91-tunorch.conf";
  findings.push_back(finding);
}

/// Debian's package of a program; empty: not known.
std::string package_of(const std::string& program) {
  static const std::map<std::string, std::string> packages{{"openvpn", "openvpn"},
                                                           {"wireguard-go", "wireguard-go"},
                                                           {"fastd", "fastd"},
                                                           {"tincd", "tinc"},
                                                           {"vtund", "vtun"}};
  const auto found = packages.find(program);
  return found == packages.end() ? "" : found->second;
}

}  // namespace

void judge_limits(const Examined& examined, Findings& findings) {
  judge_files(examined, findings);
  judge_processes(examined, findings);
  judge_memlock(examined, findings);
  judge_memory(examined, findings);
}

void judge_clock(const Examined& examined, Findings& findings) {
  const ClockFacts& clock = examined.host.clock;
  if (clock.synchronised.works())
    return add_ok(findings, "clock.synchronised", "the clock is synchronised");
  if (!clock.synchronised.fails()) return;
  Finding finding{"clock.synchronised", Severity::warning, clock.synchronised.problem};
  finding.meaning =
      "certificates are judged by the clock: an hour behind, new ones are not yet "
      "valid";
  if (examined.host.container)
    finding.meaning += "; a container has its host's clock";
  else if (clock.timesyncd)
    finding.mend = "timedatectl set-ntp true";
  else
    finding.mend = "apt-get install -y systemd-timesyncd && timedatectl set-ntp true";
  findings.push_back(finding);
}

void judge_cpu(const Examined& examined, Findings& findings) {
  const CpuFacts& cpu = examined.host.cpu;
  if (cpu.flags.contains("aes")) {  // x86 and ARMv8 have the same name for it
    const bool wide = cpu.flags.contains("vaes") && cpu.flags.contains("vpclmulqdq");
    add_ok(findings, "cpu.aes", wide ? "AES by wide vectors" : "AES instructions");
  } else if (!cpu.flags.empty()) {
    const bool forced =
        examined.desired && std::ranges::any_of(examined.desired->tunnels, [](const auto& tunnel) {
          return tunnel.spec.cipher.find("aes") != std::string::npos;
        });
    Finding finding{"cpu.aes", forced ? Severity::warning : Severity::note,
                    "the CPU has no AES instructions"};
    finding.meaning = forced ? "the file asks for AES, which is slow here: cipher: auto takes "
                               "ChaCha20-Poly1305"
                             : "tunnels use ChaCha20-Poly1305; a virtual machine may be given its "
                               "host's CPU (cpu: host)";
    findings.push_back(finding);
  }
  std::uint64_t most = 0;
  if (examined.desired)
    for (const DesiredTunnel& tunnel : examined.desired->tunnels)
      most = std::max(most, streams_of(tunnel));
  if (most <= cpu.cores) return add_ok(findings, "cpu.cores", fmt::format("{} cores", cpu.cores));
  Finding finding{"cpu.cores", Severity::note,
                  fmt::format("a tunnel has {} streams, and there are {} cores", most, cpu.cores)};
  finding.meaning = "a stream is a thread: more of them than cores bring nothing";
  findings.push_back(finding);
}

void judge_engines(const Examined& examined, Findings& findings) {
  if (!examined.desired) return;
  std::set<std::string> seen;
  for (const DesiredTunnel& tunnel : examined.desired->tunnels) {
    const std::string program = program_of(tunnel.engine, tunnel.engines, tunnel.spec.listener);
    if (program.empty() || !seen.insert(program).second) continue;
    if (examined.host.services.programs.contains(program)) {
      add_ok(findings, "engines.program", program + " is installed");
      continue;
    }
    Finding finding{"engines.program", Severity::error, "there is no program " + program};
    finding.meaning = fmt::format("tunnel {} is served by it", tunnel.name);
    if (const std::string package = package_of(program); !package.empty())
      finding.mend = "apt-get install -y " + package;
    findings.push_back(finding);
  }
}

}  // namespace tunorch
