#include "orchestrator/events.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace tunorch {
namespace {

constexpr std::size_t kept = 1000;

std::string utc_now() {
  const auto now =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto ms = now.time_since_epoch().count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms);
}

}  // namespace

void EventLog::add(Event event) {
  nlohmann::json line{{"id", next_id_++}, {"time", utc_now()}, {"event", event.kind}};
  if (!event.tunnel.empty()) line["tunnel"] = event.tunnel;
  if (!event.peer.empty()) line["peer"] = event.peer;
  if (!event.cause.empty()) line["cause"] = event.cause;
  if (event.duration_ms >= 0) line["duration_ms"] = event.duration_ms;
  spdlog::info("{}",
               event_line(line).substr(line["time"].get_ref<const std::string&>().size() + 2));
  events_.push_back(line);
  if (events_.size() > kept) events_.pop_front();
  std::erase_if(followers_, [&](const auto& follower) { return !follower(line); });
}

void EventLog::follow(std::function<bool(const nlohmann::json&)> follower) {
  followers_.push_back(std::move(follower));
}

std::string event_line(const nlohmann::json& event) {
  std::string line = fmt::format("{}  {:<18}", event.value("time", ""), event.value("event", ""));
  if (event.contains("tunnel")) line += " " + event["tunnel"].get<std::string>();
  if (event.contains("peer")) line += " peer " + event["peer"].get<std::string>();
  if (event.contains("duration_ms"))
    line += fmt::format(" in {:.2f} ms", event["duration_ms"].get<double>());
  if (event.contains("cause")) line += ": " + event["cause"].get<std::string>();
  return line;
}

}  // namespace tunorch
