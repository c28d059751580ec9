// What happened on this node, newest last: kept in a bounded ring, written to the log, and told to
// whoever follows.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace tunorch {

struct Event {
  std::string kind;          // tunnel_out, worker_ended, …: docs/events.md lists them
  std::string tunnel, peer;  // empty: it concerns none or several
  std::string cause;         // in words
  double duration_ms = -1;   // from its cause to its end; below 0: it took no time
};

class EventLog {
 public:
  void add(Event event);

  /// The last events as JSON, oldest first: {id, time (RFC 3339, UTC), event, tunnel, peer, cause,
  /// duration_ms}; keys without a value are left out.
  std::vector<nlohmann::json> recent() const { return {events_.begin(), events_.end()}; }
  /// How many of each kind there were, kept or not.
  const std::map<std::string, std::uint64_t>& counts() const { return counts_; }
  /// Called with each new event until it returns false, or unfollow().
  std::uint64_t follow(std::function<bool(const nlohmann::json&)> follower);
  void unfollow(std::uint64_t number) { followers_.erase(number); }
  void unfollow_all() { followers_.clear(); }

 private:
  std::deque<nlohmann::json> events_;
  std::uint64_t next_id_ = 1;
  std::map<std::string, std::uint64_t> counts_;
  std::uint64_t last_follower_ = 0;
  std::map<std::uint64_t, std::function<bool(const nlohmann::json&)>> followers_;
};

/// As utc_milliseconds() has it.
std::string utc_now();

/// One line for a terminal.
std::string event_line(const nlohmann::json& event);

}  // namespace tunorch
