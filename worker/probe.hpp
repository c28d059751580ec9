// The PINGs of one session: which are under way, which were answered in time, and the round trip.
// Pure bookkeeping; time comes in as an argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "worker/frame.hpp"

namespace tunorch::worker {

class Probe {
 public:
  using nanoseconds = std::chrono::nanoseconds;  // of the monotonic clock

  /// The next PING to send. `delivered` counts what the path has carried so far
  /// (delivered_segments).
  Ping next(nanoseconds now, std::uint32_t delivered);
  /// A PONG came. Answers that come too late still tell the round trip.
  void answered(Ping pong, nanoseconds now);
  /// Decides PINGs older than `timeout` as lost; true where there was one. While segments sent
  /// since then were delivered, the path lives, and loses packets or has busy ends: then a PING
  /// waits `patience` times as long.
  bool expire(nanoseconds now, nanoseconds timeout, std::uint32_t delivered);
  static constexpr int patience = 4;

  /// Decisions since the last call, in order: answered or lost.
  std::vector<bool> take_decisions();
  std::uint32_t rtt_us() const { return rtt_us_; }
  /// When the last PONG came; at first, when the probe began.
  nanoseconds last_answer() const { return last_answer_; }
  explicit Probe(nanoseconds now) : last_answer_(now) {}

 private:
  struct Waiting {
    Ping ping;
    std::uint32_t delivered;  // when it was sent
  };

  std::deque<Waiting> waiting_;
  std::vector<bool> decisions_;
  std::uint32_t sequence_ = 0;
  std::uint32_t rtt_us_ = 0;
  nanoseconds last_answer_;
};

}  // namespace tunorch::worker
