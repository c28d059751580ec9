// When to look at the kernel again: soon after another program changed something, and every few
// seconds anyway. Does not look itself.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <optional>

#include "routing/netlink_monitor.hpp"

namespace tunorch {

class KernelWatch {
 public:
  using Clock = std::chrono::steady_clock;

  /// `look` is called from the loop.
  KernelWatch(boost::asio::io_context& io, std::function<void()> look);

  /// Begins to follow the kernel's messages. Throws std::system_error.
  void start();
  void stop();

  /// Has `look` called after this time, and not within 50 ms of the last look. One that is due
  /// sooner stays.
  void look_after(std::chrono::milliseconds delay);
  /// A look begins now.
  void looked() { last_look_ = Clock::now(); }
  /// Whether it is time to observe the kernel again for changes without a message:
  /// settings that are written over send none.
  bool is_due(Clock::time_point now) const;

 private:
  void follow();

  boost::asio::steady_timer timer_;
  boost::asio::io_context& io_;
  std::function<void()> look_;
  std::optional<routing::NetlinkMonitor> monitor_;
  std::optional<boost::asio::posix::stream_descriptor> messages_;
  Clock::time_point last_look_{};
};

}  // namespace tunorch
