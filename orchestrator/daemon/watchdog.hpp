// Ends this process when it hangs. While the daemon holds a dead worker's queues the kernel cannot
// see that nobody serves the device; a daemon that does nothing about it is worse than none.
#pragma once

#include <chrono>
#include <ctime>

namespace tunorch {

/// A timer of the kernel (timer_create(2)) that sends this process SIGKILL unless it is fed in
/// time. Not fed by the clock on the wall: a suspended machine does not count.
class Watchdog {
 public:
  explicit Watchdog(std::chrono::seconds limit);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void feed();

 private:
  timer_t timer_{};
  std::chrono::seconds limit_;
};

}  // namespace tunorch
