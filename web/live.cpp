#include "web/live.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>
#include <vector>

namespace tunorch::web {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds interval{1000};
constexpr milliseconds after_event{50};  // events of one moment share a look
constexpr std::size_t kept_events = 1000;

/// RFC 3339.
std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

}  // namespace

std::string sse_message(const std::string& event, const json& data) {
  return "event: " + event +
         "\ndata: " + data.dump(-1, ' ', false, json::error_handler_t::replace) + "\n\n";
}

void Live::add(Viewer& viewer) {
  const bool first = viewers_.empty();
  viewers_.emplace(&viewer, true);
  std::string known;
  for (const std::string& event : events_) known += event;
  viewer.show(std::make_shared<const std::string>(known + status_));
  if (!first) return;
  following_ = daemon_.follow(*this);
  look();
}

void Live::remove(Viewer& viewer) {
  viewers_.erase(&viewer);
  if (!viewers_.empty()) return;
  following_.reset();
  timer_.cancel();
  status_.clear();
}

void Live::send(const std::string& text) {
  const auto chunk = std::make_shared<const std::string>(text);
  std::vector<Viewer*> all;  // showing may end one
  for (const auto& [viewer, yes] : viewers_) all.push_back(viewer);
  for (Viewer* viewer : all)
    if (viewers_.contains(viewer)) viewer->show(chunk);
}

void Live::on_event(const json& event) {
  events_.push_back(sse_message("event", event));
  if (events_.size() > kept_events) events_.pop_front();
  send(events_.back());
  look_after(after_event);
}

void Live::look_after(milliseconds pause) {
  timer_.expires_after(pause);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) look();
  });
}

void Live::look() {
  again_ = std::exchange(looking_, true);
  if (again_) return;
  daemon_.ask_status([this, began = Clock::now()](const json& status) {
    looking_ = false;
    if (viewers_.empty()) return;
    got(status);
    // A node with many peers takes long to tell of them all, and has better to do.
    const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - began);
    look_after(std::exchange(again_, false) ? after_event : std::max(interval, 4 * took));
  });
}

void Live::got(const json& status) {
  const bool was_up = std::exchange(up_, !status.is_null());
  if (was_up && !up_) down_since_ = utc_now();
  if (!was_up && up_) send(sse_message("daemon", {{"up", true}}));
  status_ = up_ ? sse_message("status", status)
                : sse_message("daemon", {{"up", false}, {"since", down_since_}});
  send(status_);
}

}  // namespace tunorch::web
