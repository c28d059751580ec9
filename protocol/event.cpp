#include "protocol/event.hpp"

#include "protocol/fields.hpp"

namespace tunorch {

using nlohmann::json;

std::string to_line(const Event& event) {
  json to = written(event);
  for (const char* key : {"tunnel", "peer", "cause"})
    if (to[key] == "") to.erase(key);
  if (event.duration_ms < 0) to.erase("duration_ms");
  return to.dump(-1, ' ', false, json::error_handler_t::replace);
}
std::string to_line(const LogLine& line) {
  return line_of(line);
}

Event event_from(const json& from) {
  Event event;
  read(from, event);
  return event;
}
LogLine log_line_from(const json& from) {
  LogLine line;
  read(from, line);
  return line;
}

}  // namespace tunorch
