// systemd, which starts the daemon: notifications (sd_notify(3)), and the unit that serves a node.
// The only file pair that knows libsystemd. Without systemd nothing here does anything.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <string>

#include "orchestrator/system/files.hpp"

namespace tunorch {

/// Says that the daemon is up, and from then on that its loop lives (WatchdogSec,
/// systemd.service(5)).
class ServiceManager {
 public:
  ServiceManager(boost::asio::io_context& io, const std::string& status);
  /// Says that it ends, and lets the loop run out.
  void stopping();

 private:
  void feed();

  boost::asio::steady_timer timer_;
  std::chrono::microseconds interval_{0};  // 0: no watchdog
};

/// "tunorch.service", or "tunorch@NODE.service" where the runtime folder is that one's; empty where
/// none would serve this node in our network namespace with these folders.
std::string unit_of(const Paths& paths);

/// Throws std::runtime_error: "cannot start UNIT: …".
void start_unit(const std::string& unit);

}  // namespace tunorch
