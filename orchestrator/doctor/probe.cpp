#include "orchestrator/doctor/probe.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>

#include "orchestrator/pki/files.hpp"
#include "orchestrator/pki/inspect.hpp"
#include "orchestrator/pki/pki.hpp"
#include "routing/sysctl.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

std::uint64_t number(const std::optional<std::string>& text, std::uint64_t otherwise) {
  if (!text || text->empty() || std::isdigit(static_cast<unsigned char>(text->front())) == 0)
    return otherwise;
  return std::strtoull(text->c_str(), nullptr, 10);
}

/// The number after a word at a line's beginning, as in /proc/meminfo.
std::uint64_t entry(const char* file, const std::string& word) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream stream(line);
    std::string first;
    std::uint64_t value = 0;
    if (stream >> first >> value && first == word) return value;
  }
  return 0;
}

std::uint64_t limit(__rlimit_resource which) {
  rlimit both{};
  ::getrlimit(which, &both);
  return both.rlim_cur == RLIM_INFINITY ? std::numeric_limits<std::uint64_t>::max() : both.rlim_cur;
}

/// Of this process's control group (cgroups(7), version 2).
std::uint64_t cgroup_pids() {
  constexpr auto no_limit = std::numeric_limits<std::uint64_t>::max();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);)
    if (line.starts_with("0::"))
      return number(read_text("/sys/fs/cgroup" + line.substr(3) + "/pids.max"), no_limit);
  return no_limit;
}

bool in_container() {
  std::error_code none;
  return fs::exists("/run/systemd/container", none) || fs::exists("/.dockerenv", none) ||
         fs::exists("/run/.containerenv", none);
}

void probe_clock(HostFacts& host) {
  ClockFacts& clock = host.clock;
  clock.now = std::chrono::duration_cast<std::chrono::seconds>(
                  std::chrono::system_clock::now().time_since_epoch())
                  .count();
  timex state{};
  const int kept = ::adjtimex(&state);
  if (kept < 0)
    host.unseen.push_back("whether the clock is synchronised: " +
                          std::generic_category().message(errno));
  else
    clock.synchronised = {true, (state.status & STA_UNSYNC) != 0 || kept == TIME_ERROR
                                    ? "nothing synchronises the clock"
                                    : ""};
  std::error_code none;
  clock.timesyncd = fs::exists("/lib/systemd/system/systemd-timesyncd.service", none);
  char byte = 0;
  clock.random_ready = ::getrandom(&byte, 1, GRND_NONBLOCK) == 1 || errno != EAGAIN;
}

void probe_cpu(HostFacts& host) {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(std::min(line.find(':') + 1, line.size())));
    for (std::string word; words >> word;) host.cpu.flags.insert(word);
    break;
  }
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof cores, &cores) == 0)
    host.cpu.cores = static_cast<unsigned>(CPU_COUNT(&cores));
}

void probe_settings(const Desired& desired, HostFacts& host) {
  for (const DesiredSysctl& wanted : desired.sysctls) {
    if (!wanted.device.empty()) continue;
    const std::string& key = wanted.setting.key;
    try {
      const auto value = routing::read_sysctl(key);
      host.settings.push_back({key, value, value && routing::sysctl_writable(key)});
    } catch (const std::system_error& error) {
      host.unseen.push_back(fmt::format("sysctl {}: {}", key, error.code().message()));
    }
  }
}

KeyFile look_at(const fs::path& path, const std::string& node, bool secret, HostFacts& host) {
  KeyFile file;
  file.path = path;
  file.node = node;
  file.secret = secret;
  struct stat status {};
  file.exists = ::stat(path.c_str(), &status) == 0;
  if (!file.exists) return file;
  file.mode = status.st_mode & 07777U;
  file.owner = status.st_uid;
  try {
    const std::string text = read_pki_file(path, Secret::no);  // its mode is judged, not refused
    const PemFacts facts = secret ? inspect_key(text) : inspect_certificate(text);
    file.algorithm = facts.algorithm;
    file.bits = facts.bits;
    file.fingerprint = facts.fingerprint;
    file.not_before = facts.not_before;
    file.not_after = facts.not_after;
  } catch (const std::exception& error) {
    // What is no PEM, as WireGuard's, is only judged by its mode; load_keys() says the rest.
    if (::access(path.c_str(), R_OK) != 0) host.unseen.emplace_back(error.what());
  }
  return file;
}

}  // namespace

void probe_limits(HostFacts& host) {
  LimitFacts& limits = host.limits;
  limits.files = limit(RLIMIT_NOFILE);
  limits.memlock_bytes = limit(RLIMIT_MEMLOCK);
  constexpr auto no_limit = std::numeric_limits<std::uint64_t>::max();
  limits.processes = std::min({limit(RLIMIT_NPROC), cgroup_pids(),
                               number(routing::read_sysctl("kernel.pid_max"), no_limit),
                               number(routing::read_sysctl("kernel.threads-max"), no_limit)});
  limits.memory_bytes = entry("/proc/meminfo", "MemAvailable:") * 1024;
  limits.oom_kills = entry("/proc/vmstat", "oom_kill");
  limits.rmem_max_bytes = number(routing::read_sysctl("net.core.rmem_max"), 0);
  limits.wmem_max_bytes = number(routing::read_sysctl("net.core.wmem_max"), 0);
}

void probe_keys(const ProbeRequest& request, HostFacts& host) {
  if (!request.cluster) return;
  const fs::path dir = request.cluster->pki_dir;
  std::error_code error;
  const bool hidden = !fs::exists(dir, error) && error == std::errc::permission_denied;
  if (hidden || (fs::exists(dir, error) && ::access(dir.c_str(), R_OK | X_OK) != 0)) {
    host.unseen.push_back(fmt::format("keys in {}: Permission denied", dir.string()));
    return;
  }
  std::vector<KeyFile>& files = host.keys.files;
  files.push_back(look_at(PkiFiles::ca_certificate(dir), "", false, host));
  files.push_back(look_at(PkiFiles::ca_key(dir), "", true, host));
  for (const Node& node : request.cluster->nodes) {
    files.push_back(look_at(PkiFiles::certificate(dir, node.name), node.name, false, host));
    files.push_back(look_at(PkiFiles::key(dir, node.name), node.name, true, host));
    files.push_back(look_at(dir / (node.name + ".wg.key"), node.name, true, host));
  }
  const std::string& own = request.desired->node;
  if (::access(PkiFiles::key(dir, own).c_str(), F_OK) == 0 &&
      ::access(PkiFiles::key(dir, own).c_str(), R_OK) != 0)
    return;  // named in `unseen`
  try {
    load_keys(dir, own);
  } catch (const std::exception& problem) {
    host.keys.problem = problem.what();
  }
}

HostFacts probe_host(const ProbeRequest& request) {
  HostFacts host;
  host.root = ::geteuid() == 0;
  host.container = in_container();
  probe_kernel(host);
  if (request.desired) probe_settings(*request.desired, host);
  probe_limits(host);
  probe_clock(host);
  probe_cpu(host);
  probe_network(request, host);
  probe_keys(request, host);
  probe_services(request, host);
  probe_listeners(request, host);
  return host;
}

}  // namespace tunorch
