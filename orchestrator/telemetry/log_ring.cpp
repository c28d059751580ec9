#include "orchestrator/telemetry/log_ring.hpp"

#include <algorithm>

#include "orchestrator/telemetry/log_lines.hpp"

namespace tunorch {
namespace {

bool is_for(const std::string& tunnel, const LogLine& line) {
  return tunnel.empty() || concerns(line.text, tunnel);
}

}  // namespace

void LogRing::add(LogLine line) {
  std::erase_if(followers_, [&](const auto& entry) {
    return is_for(entry.second.tunnel, line) && !entry.second.tell(line);
  });
  bytes_ += line.text.size();
  lines_.push_back(std::move(line));
  while (lines_.size() > most_lines_ || (bytes_ > most_bytes_ && lines_.size() > 1)) {
    bytes_ -= lines_.front().text.size();
    lines_.pop_front();
  }
}

std::vector<LogLine> LogRing::last(const std::string& tunnel, std::size_t lines) const {
  std::vector<LogLine> found;
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
    if (lines != 0 && found.size() == lines) break;
    if (is_for(tunnel, *line)) found.push_back(*line);
  }
  std::ranges::reverse(found);
  return found;
}

std::uint64_t LogRing::follow(std::string tunnel, std::function<bool(const LogLine&)> follower) {
  followers_.emplace(++last_follower_, Follower{std::move(tunnel), std::move(follower)});
  return last_follower_;
}

}  // namespace tunorch
