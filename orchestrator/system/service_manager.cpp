#include "orchestrator/system/service_manager.hpp"

#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <stdexcept>

#include "orchestrator/system/process.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

/// Where units are looked for (systemd.unit(5)), as far as a package or an administrator uses it.
bool is_installed(const std::string& unit) {
  const std::string file =
      unit.substr(0, unit.find('@') + 1) + (unit.find('@') == unit.npos ? unit : ".service");
  for (const char* folder :
       {"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"})
    if (fs::exists(fs::path(folder) / file)) return true;
  return false;
}

/// The unit's daemon would be in PID 1's network namespace.
bool in_first_namespace() {
  struct stat ours {
  }, first{};
  return ::stat("/proc/self/ns/net", &ours) == 0 && ::stat("/proc/1/ns/net", &first) == 0 &&
         ours.st_ino == first.st_ino;
}

}  // namespace

ServiceManager::ServiceManager(boost::asio::io_context& io, const std::string& status)
    : timer_(io) {
  std::uint64_t limit_us = 0;
  if (sd_watchdog_enabled(0, &limit_us) > 0) interval_ = std::chrono::microseconds(limit_us / 3);
  sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
  if (interval_.count() > 0) feed();
}

void ServiceManager::feed() {
  sd_notify(0, "WATCHDOG=1");
  timer_.expires_after(interval_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) feed();
  });
}

void ServiceManager::stopping() {
  sd_notify(0, "STOPPING=1");
  timer_.cancel();
}

std::string unit_of(const Paths& paths) {
  if (sd_booted() <= 0 || !in_first_namespace() || paths.state != Paths{}.state) return "";
  std::string unit;
  if (paths.runtime == Paths{}.runtime && paths.node == default_node())
    unit = "tunorch.service";
  else if (paths.runtime == Paths{}.runtime.string() + "-" + paths.node)
    unit = "tunorch@" + paths.node + ".service";
  return !unit.empty() && is_installed(unit) ? unit : "";
}

void start_unit(const std::string& unit) {
  boost::asio::io_context io;
  const Process systemctl = launch_foreign(
      io.get_executor(), {{"systemctl", "start", unit}, {}, "/", 0, STDERR_FILENO, -1});
  if (!ended_within(systemctl, std::chrono::seconds(30)) ||
      exit_reason(systemctl) != "exited with status 0")
    throw std::runtime_error("cannot start " + unit + ": `journalctl -u " + unit + "` tells why");
}

}  // namespace tunorch
