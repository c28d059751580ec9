// Adjusts BBR parameters of one connection over time.
//
// Several BBR connections over one path each count the others' queue as bandwidth and hold it half
// full: every packet then waits, and a lost one twice. While the round trip shows a queue, the
// pacing rate is held below what the connection has had of the path.
//
// And each 10 s BBR sends next to nothing for 200 ms to see the path's least round trip
// (BBR_PROBE_RTT, kernel net/ipv4/tcp_bbr.c). A tunnel's flows would all stand still meanwhile.
// Where the queue is short anyway there is nothing to see: BBR is begun anew before, and takes the
// least round trip that TCP knows. Pure.
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
  std::chrono::microseconds min_rtt{};  // BBR's
  std::uint64_t bandwidth = 0;          // bytes a second, BBR's estimate
  std::uint32_t delivered = 0;          // segments the peer has; wraps
  std::uint32_t segment_bytes = 0;
  bool starting = false;  // BBR tries how fast it can go (BBR_STARTUP)
};

struct BbrOrders {
  /// Bytes a second, until the next orders; nothing: no limit.
  std::optional<std::uint64_t> max_rate;
  bool restart = false;
};

class BbrControl {
 public:
  using Clock = std::chrono::steady_clock;

  /// Others who fill the queue do not starve us by a limit: none holds longer than a while, and
  /// BBR's own least round trip rises with a queue that stays.
  BbrOrders next(Clock::time_point now, const PathSample& path);

 private:
  std::uint64_t measure(Clock::time_point now, const PathSample& path);
  std::optional<std::uint64_t> limit(Clock::time_point now, std::uint64_t rate,
                                     const PathSample& path);
  bool restart_is_due(Clock::time_point now, std::uint64_t rate, const PathSample& path) const;

  Clock::time_point measured_at_;
  std::uint32_t delivered_ = 0;
  std::array<std::uint64_t, 4> rates_{};  // bytes a second, the last ones
  std::size_t next_rate_ = 0;
  std::optional<Clock::time_point> queue_since_, begun_;
  std::uint64_t rate_known_ = 0;  // of the path, when BBR was restarted
};

}  // namespace tunorch::worker
