#include "orchestrator/daemon/watchdog.hpp"

#include <signal.h>

#include <cerrno>
#include <system_error>

namespace tunorch {

Watchdog::Watchdog(std::chrono::seconds limit) : limit_(limit) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer_) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot make the watchdog's timer");
  feed();
}

Watchdog::~Watchdog() {
  ::timer_delete(timer_);
}

void Watchdog::feed() {
  itimerspec when{};
  when.it_value.tv_sec = limit_.count();
  ::timer_settime(timer_, 0, &when, nullptr);
}

}  // namespace tunorch
