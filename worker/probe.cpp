#include "worker/probe.hpp"

#include <algorithm>
#include <utility>

namespace tunorch::worker {
namespace {

/// If nothing collects them, old decisions are dropped.
constexpr std::size_t max_decisions = 64;

}  // namespace

Ping Probe::next(nanoseconds now, std::uint32_t delivered) {
  const Ping ping{++sequence_, static_cast<std::uint64_t>(now.count())};
  waiting_.push_back({ping, delivered});
  return ping;
}

void Probe::answered(Ping pong, nanoseconds now) {
  const auto sent = nanoseconds(pong.clock_ns);
  if (pong.sequence == 0 || pong.sequence > sequence_ || sent > now)
    return;  // not an answer to one of ours
  last_answer_ = now;
  rtt_us_ = static_cast<std::uint32_t>(std::max<std::int64_t>(
      1, std::chrono::duration_cast<std::chrono::microseconds>(now - sent).count()));
  const auto found = std::ranges::find(waiting_, pong.sequence,
                                       [](const Waiting& one) { return one.ping.sequence; });
  if (found == waiting_.end()) return;
  waiting_.erase(found);
  decisions_.push_back(true);
}

bool Probe::expire(nanoseconds now, nanoseconds timeout, std::uint32_t delivered) {
  const std::size_t before = waiting_.size();
  while (!waiting_.empty()) {
    const Waiting& oldest = waiting_.front();
    const auto limit = delivered == oldest.delivered ? timeout : patience * timeout;
    if (now - nanoseconds(oldest.ping.clock_ns) < limit) break;
    waiting_.pop_front();
    decisions_.push_back(false);
  }
  return waiting_.size() < before;
}

std::vector<bool> Probe::take_decisions() {
  if (decisions_.size() > max_decisions)
    decisions_.erase(decisions_.begin(), decisions_.end() - max_decisions);
  return std::exchange(decisions_, {});
}

}  // namespace tunorch::worker
