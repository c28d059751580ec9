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

  /// The next PING to send.
  Ping next(nanoseconds now);
  /// A PONG came. Answers that come too late still tell the round trip.
  void answered(Ping pong, nanoseconds now);
  /// Decides PINGs older than `timeout` as lost; true where there was one.
  bool expire(nanoseconds now, nanoseconds timeout);

  /// Decisions since the last call, in order: answered or lost.
  std::vector<bool> take_decisions();
  std::uint32_t rtt_us() const { return rtt_us_; }
  /// When the last PONG came; at first, when the probe began.
  nanoseconds last_answer() const { return last_answer_; }
  explicit Probe(nanoseconds now) : last_answer_(now) {}

 private:
  std::deque<Ping> waiting_;
  std::vector<bool> decisions_;
  std::uint32_t sequence_ = 0;
  std::uint32_t rtt_us_ = 0;
  nanoseconds last_answer_;
};

}  // namespace tunorch::worker
