// What happened on this node, newest last: kept in a bounded ring, written to the log, and sent to
// followers.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "protocol/event.hpp"

namespace tunorch {

class EventLog {
 public:
  /// Gives it its number and its time.
  void add(Event event);

  /// The last events, oldest first.
  const std::deque<Event>& recent() const { return events_; }
  /// How many of each kind there were, kept or not.
  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }
  /// Called with each new event until it returns false, or unfollow().
  std::uint64_t follow(std::function<bool(const Event&)> follower);
  void unfollow(std::uint64_t number) { followers_.erase(number); }
  void unfollow_all() { followers_.clear(); }

 private:
  std::deque<Event> events_;
  std::uint64_t next_id_ = 1;
  std::map<std::string, std::uint64_t> counts_;
  std::uint64_t last_follower_ = 0;
  std::map<std::uint64_t, std::function<bool(const Event&)>> followers_;
};

/// As utc_milliseconds() has it.
std::string utc_now();

/// One line for a terminal.
std::string event_line(const Event& event);

}  // namespace tunorch
