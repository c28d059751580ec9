// Whether what a stream brings was held up on the way. TCP keeps what a path that went dark did not
// take, and delivers all of it when the path is back: packets whose senders have long sent them
// again, and whose round trip of seconds would have those senders wait for seconds at the next
// loss (RFC 6298: the timeout is the smoothed round trip and four times its variation). So it is
// better lost, as it would be without a tunnel.
//
// PINGs are in one order with the packets and carry their sender's clock. After a silence one that
// comes later than the time between it and the one before explains was held up, and so is all
// behind it, until PINGs have caught up. Clocks are compared with themselves alone. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace tunorch::worker {

class Lateness {
 public:
  using nanoseconds = std::chrono::nanoseconds;  // of the monotonic clock

  /// What is later than this is not worth its delivery. Where PINGs are rarer nothing is late: who
  /// waits for the next one would lose too much.
  static constexpr std::chrono::milliseconds limit{500};

  /// How long nothing at all has to come for a silence, where PINGs are so far apart.
  static nanoseconds patience(nanoseconds apart);
  nanoseconds patience() const { return patience(apart_); }
  /// There was one: what comes next is late, until a PING says otherwise.
  void fell_silent();
  /// A PING came; `clock_ns`: its sender's clock, which may say anything.
  void pinged(std::uint64_t clock_ns, nanoseconds now);
  bool late() const { return late_; }

 private:
  struct Seen {
    std::uint64_t clock_ns;
    nanoseconds came;
  };

  std::optional<Seen> last_;
  nanoseconds apart_ = nanoseconds::max();  // the last two, by their sender's clock
  bool late_ = false;
  // Since the silence:
  nanoseconds behind_{};    // the last PING
  nanoseconds standing_{};  // how long PINGs have not been catching up
};

}  // namespace tunorch::worker
