// Packets that wait for a connection that does not take them now. Each flow has a queue of its own
// and the flows take turns, so that a bulk flow's many packets do not hold back another's few:
// deficit round robin, new flows first, as in RFC 8290 (fq_codel) but without CoDel. Bounded; for
// what does not fit the longest queue loses its oldest, which its sender learns soonest. Within a
// flow packets stay in order.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <span>
#include <vector>

namespace tunorch::worker {

class FairQueue {
 public:
  using Clock = std::chrono::steady_clock;
  struct Packet {
    std::vector<std::uint8_t> bytes;
    Clock::time_point since;
  };

  /// Bytes of memory at most, packets and their bookkeeping.
  explicit FairQueue(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  bool empty() const { return bytes_ == 0; }
  /// Of memory, as they count against the limit.
  std::size_t bytes() const { return bytes_; }
  /// Copies it. Returns how many packets were dropped to make room.
  std::size_t push(std::uint32_t flow, std::span<const std::uint8_t> packet, Clock::time_point now);
  /// The one whose turn it is, taken out; empty() must not hold.
  Packet pop();
  /// Drops those that have waited since before then. Returns how many.
  std::size_t drop_older(Clock::time_point than);

 private:
  struct Flow {
    std::list<Packet> packets;  // no memory while empty
    std::size_t bytes = 0;
    std::int64_t credit = 0;  // bytes it may still send in its turn
    bool listed = false;
  };

  Packet take_first(Flow& queue);

  std::size_t max_bytes_;
  std::size_t bytes_ = 0;
  std::array<Flow, 1024> flows_;                     // by hash, as many as fq_codel has
  std::deque<std::uint16_t> new_flows_, old_flows_;  // numbers
};

}  // namespace tunorch::worker
