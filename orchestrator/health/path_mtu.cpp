#include "orchestrator/health/path_mtu.hpp"

#include <algorithm>

namespace tunorch {
namespace {

using std::chrono::seconds;

/// Every IPv4 host takes so much in one piece (RFC 791, section 3.2).
constexpr unsigned least = 576;
/// Sizes tried at once, and how near the answer is near enough.
constexpr unsigned steps = 8, resolution = 8;
/// Between two looks where nothing large is sent.
constexpr seconds check_interval{10};

}  // namespace

void PathMtu::configure(unsigned full) {
  if (full == full_) return;
  full_ = full;
  reset();
}

void PathMtu::reset() {
  known_.reset();
  doubted_ = false;
  search_above(0);
}

void PathMtu::search_above(unsigned passed) {
  searching_ = true;
  passed_ = passed;
  failed_ = 0;
}

std::vector<unsigned> PathMtu::next(time_point now, bool large_sent) {
  if (full_ == 0) return {};
  std::vector<unsigned> sizes;
  if (!searching_) {
    const bool due = now - checked_ >= check_interval;
    if (doubted_) {
      // Lost once, it is tried again among others: if it was no accident, they tell what passes.
      search_above(0);
    } else if (due && lowered() != 0) {
      sizes.push_back(*known_);
      search_above(*known_);
    } else if ((due || large_sent) && *known_ != 0) {
      if (due) checked_ = now;
      return {*known_};
    } else {
      return {};
    }
  }
  checked_ = now;
  const unsigned low = std::max(passed_, std::min(least, full_) - 1);
  const unsigned high = failed_ != 0 ? failed_ - 1 : full_;
  for (unsigned i = 1; i <= steps && high > low; ++i)
    if (const unsigned size = low + (high - low) * i / steps;
        size > low && (sizes.empty() || sizes.back() != size))
      sizes.push_back(size);
  return sizes;
}

void PathMtu::answered(const std::vector<std::pair<unsigned, bool>>& sizes, bool path_lives) {
  if (!path_lives || sizes.empty()) return;
  unsigned passed = 0, failed = 0;
  for (const auto& [size, answer] : sizes)
    if (answer) passed = std::max(passed, size);
  for (const auto& [size, answer] : sizes)
    if (!answer && size > passed && (failed == 0 || size < failed)) failed = size;

  if (passed == full_) {
    known_ = full_;
    searching_ = doubted_ = false;
  } else if (!searching_ || (sizes.front().first == passed_ && passed < passed_)) {
    doubted_ = passed < *known_;
    searching_ = false;
  } else {
    passed_ = std::max(passed_, passed);
    if (failed != 0) failed_ = failed;
    known_ = passed_;
    doubted_ = false;
    searching_ = passed_ == 0 || failed_ == 0 || failed_ - passed_ > resolution;
  }
}

}  // namespace tunorch
