#include "worker/lateness.hpp"

#include <algorithm>
#include <utility>

namespace tunorch::worker {

Lateness::nanoseconds Lateness::patience(nanoseconds apart) {
  return apart > limit ? nanoseconds::max() : std::max<nanoseconds>(limit, 2 * apart);
}

void Lateness::fell_silent() {
  if (late_ || apart_ > limit) return;
  late_ = true;
  behind_ = standing_ = nanoseconds(0);
}

void Lateness::pinged(std::uint64_t clock_ns, nanoseconds now) {
  constexpr nanoseconds most = std::chrono::hours(1);
  const auto before = std::exchange(last_, Seen{clock_ns, now});
  const std::uint64_t sent_ns = before ? clock_ns - before->clock_ns : 0;
  if (!before || sent_ns > static_cast<std::uint64_t>(most.count())) {
    apart_ = nanoseconds::max();
    late_ = false;
    return;
  }
  const nanoseconds sent(sent_ns), came = now - before->came;
  apart_ = sent;
  if (!late_) return;
  behind_ += came - sent;
  if (came - sent > limit || sent - came >= sent / 2)
    standing_ = nanoseconds(0);
  else
    standing_ += came;
  // Who stays behind was paused, and its clock with it: nothing is held up.
  late_ = behind_ > limit && standing_ <= limit;
}

}  // namespace tunorch::worker
