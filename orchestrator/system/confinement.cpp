#include "orchestrator/system/confinement.hpp"

#include <cap-ng.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>
#include <system_error>
#include <vector>

#include "orchestrator/system/files.hpp"

namespace tunorch {
namespace {

/// As packaging/tunorch.service.in has them, and why.
constexpr std::array daemon_capabilities{
    CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_SETUID,       CAP_SETGID, CAP_SETPCAP,
    CAP_KILL,      CAP_CHOWN,   CAP_FOWNER,           CAP_DAC_OVERRIDE, CAP_BPF};

/// Where the kernel gives no files, a pipe to a collector is stopped by 1 alone (core(5)).
constexpr rlim_t no_core_dump = 1;

std::vector<std::string> names_of(std::uint64_t set) {
  std::vector<std::string> names;
  for (unsigned number = 0; number < 64; ++number)
    if (set >> number & 1) {
      const char* const name = capng_capability_to_name(number);
      names.push_back(name ? name : std::to_string(number));
    }
  return names;
}

}  // namespace

void confine_daemon() {
  const rlimit none{no_core_dump, no_core_dump};
  ::setrlimit(RLIMIT_CORE, &none);
  if (capng_get_caps_process() != 0)
    throw std::runtime_error("cannot read the daemon's own capabilities");
  for (unsigned number = 0; number <= static_cast<unsigned>(CAP_LAST_CAP); ++number)
    if (std::ranges::find(daemon_capabilities, static_cast<int>(number)) ==
        daemon_capabilities.end())
      capng_update(CAPNG_DROP,
                   static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE |
                                             CAPNG_BOUNDING_SET),
                   number);
  // Without SETPCAP, in some containers, the bounding set stays as it is.
  const bool bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
  if (capng_apply(bounds ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0)
    throw std::runtime_error("cannot give up capabilities the daemon does not need");
}

std::optional<Confinement> confinement_of(pid_t pid) {
  const auto text = pid == 0 ? std::nullopt : read_text(fmt::format("/proc/{}/status", pid));
  if (!text) return std::nullopt;
  Confinement found;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    if (key == "Uid:") found.uid = static_cast<std::uint32_t>(std::stoul(value));
    if (key == "CapEff:") found.capabilities = names_of(std::stoull(value, nullptr, 16));
    if (key == "NoNewPrivs:") found.no_new_privileges = value == "1";
    if (key == "Seccomp:") found.seccomp = value == "2";
  }
  return found;
}

std::string confinement_text(const std::optional<Confinement>& confinement) {
  if (!confinement) return "not running";
  const std::vector<std::string>& names = confinement->capabilities;
  std::string text = confinement->uid == 0 ? "root, " : "own user, ";
  text += names.empty() ? "no capabilities"
                        : fmt::format("{} capabilities (--json names them)", names.size());
  if (confinement->no_new_privileges.value_or(false)) text += ", no_new_privs";
  if (confinement->seccomp.value_or(false)) text += ", seccomp";
  return text;
}

}  // namespace tunorch
