// Keeps BBR from filling the path's queue. Several BBR connections over one path each count the
// others' queue as bandwidth and hold it half full: every packet then waits, and a lost one twice.
// While the round trip shows a queue, the pacing rate is held below what the connection has had of
// the path. Pure.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunorch::worker {

/// What the kernel knows of the path of a connection that BBR controls.
struct PathSample {
  std::chrono::microseconds rtt{};      // smoothed
  std::chrono::microseconds min_rtt{};  // of the last 10 s
  std::uint64_t bandwidth = 0;          // bytes a second, BBR's estimate
  std::uint32_t delivered = 0;          // segments the peer has; wraps
  std::uint32_t segment_bytes = 0;
};

class PacingLimit {
 public:
  using Clock = std::chrono::steady_clock;

  /// Bytes a second until the next call; nothing: as BBR likes. Others who fill the queue do not
  /// starve us by that: no limit holds longer than a while, and BBR's own least round trip rises
  /// with a queue that stays.
  std::optional<std::uint64_t> next(Clock::time_point now, const PathSample& path);

 private:
  std::uint64_t measure(Clock::time_point now, const PathSample& path);

  Clock::time_point measured_at_;
  std::uint32_t delivered_ = 0;
  std::array<std::uint64_t, 4> rates_{};  // bytes a second, the last ones
  std::size_t next_rate_ = 0;
  std::optional<Clock::time_point> queue_since_;
};

}  // namespace tunorch::worker
