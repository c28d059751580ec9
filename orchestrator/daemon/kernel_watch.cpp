#include "orchestrator/daemon/kernel_watch.hpp"

#include <unistd.h>

#include <algorithm>

namespace tunorch {
namespace {

using std::chrono::milliseconds;

/// So that many changes cost one look.
constexpr milliseconds look_interval{50};
constexpr std::chrono::seconds slow_look_interval{5};

}  // namespace

KernelWatch::KernelWatch(boost::asio::io_context& io, std::function<void()> look)
    : timer_(io), io_(io), look_(std::move(look)) {}

void KernelWatch::start() {
  monitor_.emplace();
  messages_.emplace(io_, ::dup(monitor_->fd()));
  follow();
}

void KernelWatch::stop() {
  timer_.cancel();
  messages_.reset();
  monitor_.reset();
}

void KernelWatch::follow() {
  messages_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                        [this](const boost::system::error_code& error) {
                          if (error || !messages_) return;
                          if (monitor_->drain()) look_after(look_interval);
                          follow();
                        });
}

void KernelWatch::look_after(milliseconds delay) {
  const auto when = std::max(Clock::now() + delay, last_look_ + look_interval);
  if (timer_.expiry() > Clock::now() && timer_.expiry() <= when) return;
  timer_.expires_at(when);
  timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (!cancelled && messages_) look_();
  });
}

bool KernelWatch::is_due(Clock::time_point now) const {
  return now - last_look_ > slow_look_interval;
}

}  // namespace tunorch
