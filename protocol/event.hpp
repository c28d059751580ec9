// What happened on a node, and the lines of its daemon's log: the answers to EventsRequest and
// LogsRequest, one per line.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "protocol/bad_message.hpp"

namespace tunorch {

/// Fields without a value are left out of the JSON.
struct Event {
  std::string event;         // tunnel_out, worker_ended, …: docs/events.md lists them
  std::string tunnel, peer;  // empty: it concerns none or several
  std::string cause;         // in words
  double duration_ms = -1;   // from its cause to its end; below 0: it took no time
  std::uint64_t id = 0;      // counts since the daemon started
  std::string time = {};     // RFC 3339, UTC
};
BOOST_DESCRIBE_STRUCT(Event, (), (event, tunnel, peer, cause, duration_ms, id, time))

struct LogLine {
  std::string time;   // RFC 3339, UTC
  std::string level;  // as spdlog calls it
  std::string text;
};
BOOST_DESCRIBE_STRUCT(LogLine, (), (time, level, text))

std::string to_line(const Event& event);
std::string to_line(const LogLine& line);
/// Fields that are missing have their defaults. Both throw BadMessage.
Event event_from(const nlohmann::json& json);
LogLine log_line_from(const nlohmann::json& json);

}  // namespace tunorch
