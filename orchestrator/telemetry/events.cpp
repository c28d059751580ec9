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
  return always.contains(event.event) ||
         (event.event == "tunnel_out" && event.cause != "drained") ||
         (event.event == "worker_ended" && !event.cause.ends_with(": it was asked to"));
}

}  // namespace

std::string utc_now() {
  return utc_milliseconds(std::chrono::system_clock::now());
}

void EventLog::add(Event event) {
  event.id = next_id_++;
  event.time = utc_now();
  ++counts_[event.event];
  const std::size_t time = event.time.size() + 2;
  spdlog::log(is_trouble(event) ? spdlog::level::warn : spdlog::level::info, "{}",
              event_line(event).substr(time));
  events_.push_back(std::move(event));
  if (events_.size() > kept) events_.pop_front();
  const Event& added = events_.back();
  std::erase_if(followers_, [&](const auto& follower) { return !follower.second(added); });
}

std::uint64_t EventLog::follow(std::function<bool(const Event&)> follower) {
  followers_.emplace(++last_follower_, std::move(follower));
  return last_follower_;
}

std::string event_line(const Event& event) {
  const bool alone = event.tunnel.empty() && event.peer.empty() && event.duration_ms < 0;
  std::string line = event.time + "  " + (alone ? event.event : fmt::format("{:<18}", event.event));
  if (!event.tunnel.empty()) line += " " + event.tunnel;
  if (!event.peer.empty()) line += " peer " + event.peer;
  if (event.duration_ms >= 0) line += fmt::format(" in {:.2f} ms", event.duration_ms);
  if (!event.cause.empty()) line += ": " + event.cause;
  return line;
}

}  // namespace tunorch
