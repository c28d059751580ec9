#include "orchestrator/telemetry/events.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "orchestrator/telemetry/utc.hpp"

namespace tunorch {
namespace {

constexpr std::size_t kept = 1000;

}  // namespace

namespace {

/// What an operator may have to do something about; not what was asked for.
bool is_trouble(const Event& event) {
  static const std::set<std::string> always{
      "worker_hangs", "worker_quarantined", "failed",         "conflict",           "web_failed",
      "mtu_lowered",  "database_lost",      "control_silent", "certificate_expires"};
  return always.contains(event.kind) || (event.kind == "tunnel_out" && event.cause != "drained") ||
         (event.kind == "worker_ended" && !event.cause.ends_with(": it was asked to"));
}

}  // namespace

std::string utc_now() {
  return utc_milliseconds(std::chrono::system_clock::now());
}

void EventLog::add(Event event) {
  nlohmann::json line{{"id", next_id_++}, {"time", utc_now()}, {"event", event.kind}};
  if (!event.tunnel.empty()) line["tunnel"] = event.tunnel;
  if (!event.peer.empty()) line["peer"] = event.peer;
  if (!event.cause.empty()) line["cause"] = event.cause;
  if (event.duration_ms >= 0) line["duration_ms"] = event.duration_ms;
  ++counts_[event.kind];
  const std::size_t time = line["time"].get_ref<const std::string&>().size() + 2;
  spdlog::log(is_trouble(event) ? spdlog::level::warn : spdlog::level::info, "{}",
              event_line(line).substr(time));
  events_.push_back(line);
  if (events_.size() > kept) events_.pop_front();
  std::erase_if(followers_, [&](const auto& follower) { return !follower.second(line); });
}

std::uint64_t EventLog::follow(std::function<bool(const nlohmann::json&)> follower) {
  followers_.emplace(++last_follower_, std::move(follower));
  return last_follower_;
}

std::string event_line(const nlohmann::json& event) {
  const std::string kind = event.value("event", "");
  const bool alone =
      !event.contains("tunnel") && !event.contains("peer") && !event.contains("duration_ms");
  std::string line = event.value("time", "") + "  " + (alone ? kind : fmt::format("{:<18}", kind));
  if (event.contains("tunnel")) line += " " + event["tunnel"].get<std::string>();
  if (event.contains("peer")) line += " peer " + event["peer"].get<std::string>();
  if (event.contains("duration_ms"))
    line += fmt::format(" in {:.2f} ms", event["duration_ms"].get<double>());
  if (event.contains("cause")) line += ": " + event["cause"].get<std::string>();
  return line;
}

}  // namespace tunorch
