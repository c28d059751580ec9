#include "worker/lateness.hpp"

#include <algorithm>
#include <utility>

namespace tunorch::worker {

void Lateness::pinged(std::uint64_t clock_ns, nanoseconds now) {
  constexpr std::int64_t limit_ns = nanoseconds(limit).count();
  constexpr std::uint64_t most = nanoseconds(std::chrono::hours(1)).count();
  const auto before = std::exchange(last_, Seen{clock_ns, now});
  const std::uint64_t apart = before ? clock_ns - before->clock_ns : 0;
  if (!before || apart > most) {
    behind_ns_ = 0;
  } else {
    const auto sent = static_cast<std::int64_t>(apart);
    const std::int64_t came = (now - before->came).count();
    if (behind_ns_ == 0)
      behind_ns_ = came - sent > limit_ns ? came - sent : 0;
    else if (came >= sent / 2)
      behind_ns_ = 0;  // nothing is catching up: a machine stood still, and with it its clock
    else
      behind_ns_ = std::max<std::int64_t>(0, behind_ns_ - (sent - came));
    if (behind_ns_ <= limit_ns) behind_ns_ = 0;
  }
  late_ = behind_ns_ > 0;
}

}  // namespace tunorch::worker
