#include "worker/poller.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace tunorch::worker {
namespace {

constexpr int max_events = 64;

}  // namespace

Poller::Poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_.valid()) throw std::system_error(errno, std::generic_category(), "cannot use epoll");
}

epoll_event Poller::event_for(int fd, std::uint32_t events) const {
  epoll_event event{};
  event.events = events;
  const auto& slot = slots_[static_cast<std::size_t>(fd)];
  event.data.u64 = std::uint64_t{slot.generation} << 32 | static_cast<std::uint32_t>(fd);
  return event;
}

void Poller::add(int fd, std::uint32_t events, EventHandler& handler) {
  const auto index = static_cast<std::size_t>(fd);
  if (slots_.size() <= index) slots_.resize(index + 1);
  slots_[index].handler = &handler;
  ++slots_[index].generation;
  epoll_event event = event_for(fd, events);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    slots_[index].handler = nullptr;
    throw std::system_error(errno, std::generic_category(), "cannot watch a socket");
  }
}

void Poller::modify(int fd, std::uint32_t events) {
  epoll_event event = event_for(fd, events);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::remove(int fd) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  slots_[static_cast<std::size_t>(fd)].handler = nullptr;
}

void Poller::wait(std::chrono::nanoseconds limit) {
  std::array<epoll_event, max_events> events;
  // Rounded up: rounding down would spin through the last part of a millisecond.
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  const int count = ::epoll_wait(epoll_.get(), events.data(), max_events,
                                 static_cast<int>(std::clamp<std::int64_t>(ms, 0, 60'000)));
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    const auto& slot = slots_[event.data.u64 & 0xffffffff];
    if (slot.handler && slot.generation == event.data.u64 >> 32)
      slot.handler->on_events(event.events);
  }
}

}  // namespace tunorch::worker
