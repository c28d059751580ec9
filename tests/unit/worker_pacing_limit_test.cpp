#include <gtest/gtest.h>

#include "worker/pacing_limit.hpp"

namespace tunorch::worker {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// A connection that gets 10 MB a second, asked every 100 ms.
class Limit : public testing::Test {
 protected:
  std::optional<std::uint64_t> after(milliseconds while_, std::chrono::microseconds rtt,
                                     std::chrono::microseconds min_rtt = 40ms,
                                     std::uint32_t rate = 10'000'000) {
    std::optional<std::uint64_t> limit;
    for (const auto end = now + while_; now < end;) {
      now += 100ms;
      delivered += rate / 10 / 1000;
      limit = pacing.next(PacingLimit::Clock::time_point(now), {rtt, min_rtt, 0, delivered, 1000});
    }
    return limit;
  }

  PacingLimit pacing;
  milliseconds now = 1000s;
  std::uint32_t delivered = 0xffff'0000;  // wraps soon
};

TEST_F(Limit, NoneWhileThereIsNoQueueToSpeakOf) {
  EXPECT_FALSE(after(500ms, 40ms));
  EXPECT_FALSE(after(500ms, 44ms));
  EXPECT_FALSE(after(500ms, 220ms, 200ms)) << "on a long path more is harmless";
  EXPECT_FALSE(after(500ms, 900us, 40us)) << "a busy machine is no queue";
  EXPECT_FALSE(after(500ms, 39ms)) << "a smoothed round trip may be below the least";
}

TEST_F(Limit, BelowWhatItHadWhileAQueueStands) {
  after(1000ms, 40ms);
  const auto rate = after(100ms, 70ms);
  ASSERT_TRUE(rate);
  EXPECT_LT(*rate, 10'000'000u);
  EXPECT_GT(*rate, 5'000'000u);
  EXPECT_FALSE(after(100ms, 42ms)) << "it went";
}

TEST_F(Limit, LetsGoNowAndThenWhereTheQueueStays) {
  after(1000ms, 40ms);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(after(1900ms, 70ms)) << i;
    EXPECT_FALSE(after(2000ms, 70ms)) << i;
    after(100ms, 70ms);
  }
}

TEST_F(Limit, NoneForWhatIsTooSlowToMeasure) {
  EXPECT_FALSE(after(1000ms, 900ms, 40ms, 10'000));
}

}  // namespace
}  // namespace tunorch::worker
