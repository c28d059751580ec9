#include "worker/bbr_control.hpp"

#include <algorithm>
#include <utility>

namespace tunorch::worker {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

/// A queue shorter than this, or than an eighth of the path's round trip, does no harm.
constexpr microseconds harmless_queue{5000};
/// Of what it has had. Over 40 ms with 1 % loss, 70 cost a tenth of the goodput and won little
/// more.
constexpr std::uint64_t limit_percent = 80;
/// Below this, measurements are unreliable.
constexpr std::uint64_t min_bandwidth = 125'000;
/// Longest time the limit holds, and how long BBR is left alone after it.
constexpr seconds phase{2};
/// BBR probes when its least round trip is 10 s old; a heartbeat or two before that.
constexpr seconds restart_interval{8};
/// So long at most it is kept from trying.
constexpr seconds starting_limit{1};

/// Else it has little to do: what it has had says nothing of the path, and no queue is its own.
bool is_busy(std::uint64_t rate, const PathSample& path) {
  return rate >= min_bandwidth && rate >= path.bandwidth / 4;
}

}  // namespace

BbrOrders BbrControl::next(Clock::time_point now, const PathSample& path) {
  const std::uint64_t rate = measure(now, path);
  if (!begun_) begun_ = now;
  if (restart_is_due(now, rate, path)) {
    begun_ = now;
    rate_known_ = rate / 100 * limit_percent;
    return {rate_known_, true};
  }
  // It need not try how fast the path is.
  if (path.starting && rate_known_ > 0 && now - *begun_ < starting_limit) return {rate_known_};
  return {limit(now, rate, path)};
}

/// Its highest recent bandwidth, in bytes per second.
std::uint64_t BbrControl::measure(Clock::time_point now, const PathSample& path) {
  const double seconds = std::chrono::duration<double>(now - measured_at_).count();
  const std::uint32_t segments = path.delivered - std::exchange(delivered_, path.delivered);
  const std::uint64_t bytes = std::uint64_t{segments} * path.segment_bytes;
  measured_at_ = now;
  rates_[next_rate_++ % rates_.size()] =
      static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds);
  return *std::ranges::max_element(rates_);
}

std::optional<std::uint64_t> BbrControl::limit(Clock::time_point now, std::uint64_t rate,
                                               const PathSample& path) {
  const microseconds queue = path.rtt - path.min_rtt;
  if (queue <= std::max(harmless_queue, path.min_rtt / 8) || !is_busy(rate, path)) {
    queue_since_.reset();
    return std::nullopt;
  }
  if (!queue_since_) queue_since_ = now;
  if ((now - *queue_since_) / phase % 2 == 1) return std::nullopt;
  return rate / 100 * limit_percent;
}

/// Not where it has little to do or its rate changes, for BBR would take the rate of the moment for
/// the path's; nor where the round trip has grown: there is something to see.
bool BbrControl::restart_is_due(Clock::time_point now, std::uint64_t rate,
                                const PathSample& path) const {
  const bool busy = is_busy(rate, path) && *std::ranges::min_element(rates_) >= rate / 2;
  const bool short_queue = path.rtt - path.min_rtt <= std::max(harmless_queue, path.min_rtt / 4);
  return now - *begun_ >= restart_interval && busy && short_queue;
}

}  // namespace tunorch::worker
