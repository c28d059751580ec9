// epoll(7) with one handler an fd. Handlers may remove themselves or each other while events are
// being delivered.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/fd.hpp"

namespace tunorch::worker {

class EventHandler {
 public:
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~EventHandler() = default;
};

class Poller {
 public:
  Poller();

  /// Level-triggered. Throws std::system_error.
  void add(int fd, std::uint32_t events, EventHandler& handler);
  void modify(int fd, std::uint32_t events);
  void remove(int fd);

  /// Waits for at most `limit` and delivers what is there.
  void wait(std::chrono::nanoseconds limit);

 private:
  struct Slot {
    EventHandler* handler = nullptr;
    std::uint32_t generation = 0;  // an fd number is used again: old events must not reach the new
  };

  epoll_event event_for(int fd, std::uint32_t events) const;

  Fd epoll_;
  std::vector<Slot> slots_;  // by fd
};

}  // namespace tunorch::worker
