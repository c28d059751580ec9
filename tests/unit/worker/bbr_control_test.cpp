#include "worker/bbr_control.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace tunorch::worker {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

/// A connection that gets 10 MB a second, asked every 100 ms.
class BbrTest : public testing::Test {
 protected:
  BbrOrders after(milliseconds while_, std::chrono::microseconds rtt,
                  std::chrono::microseconds min_rtt = 40ms, std::uint32_t rate = 10'000'000) {
    BbrOrders orders;
    for (const auto end = now + while_; now < end;) {
      now += 100ms;
      delivered += rate / 10 / 1000;
      orders = bbr.next(BbrControl::Clock::time_point(now),
                        {rtt, min_rtt, 10'000'000, delivered, 1000, starting});
      if (orders.restart) restarts.push_back(now);
    }
    return orders;
  }
  std::optional<std::uint64_t> limit_after(milliseconds while_, std::chrono::microseconds rtt,
                                           std::chrono::microseconds min_rtt = 40ms,
                                           std::uint32_t rate = 10'000'000) {
    return after(while_, rtt, min_rtt, rate).max_rate;
  }

  BbrControl bbr;
  milliseconds now = 1000s;
  std::vector<milliseconds> restarts;
  bool starting = false;
  std::uint32_t delivered = 0xffff'0000;  // wraps soon
};

using BbrLimit = BbrTest;
using BbrRestart = BbrTest;

TEST_F(BbrLimit, NoneWhileThereIsNoQueueToSpeakOf) {
  EXPECT_FALSE(limit_after(500ms, 40ms));
  EXPECT_FALSE(limit_after(500ms, 44ms));
  EXPECT_FALSE(limit_after(500ms, 220ms, 200ms)) << "on a long path more is harmless";
  EXPECT_FALSE(limit_after(500ms, 900us, 40us)) << "a busy machine is no queue";
  EXPECT_FALSE(limit_after(500ms, 39ms)) << "a smoothed round trip may be below the least";
}

TEST_F(BbrLimit, BelowWhatItHadWhileAQueueStands) {
  limit_after(1000ms, 40ms);
  const auto rate = limit_after(100ms, 70ms);
  ASSERT_TRUE(rate);
  EXPECT_LT(*rate, 10'000'000u);
  EXPECT_GT(*rate, 5'000'000u);
  EXPECT_FALSE(limit_after(100ms, 42ms)) << "it went";
}

TEST_F(BbrLimit, LetsGoNowAndThenWhereTheQueueStays) {
  limit_after(1000ms, 40ms);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(limit_after(1900ms, 70ms)) << i;
    EXPECT_FALSE(limit_after(2000ms, 70ms)) << i;
    limit_after(100ms, 70ms);
  }
}

TEST_F(BbrLimit, NoneWhereItHasLittleToDo) {
  EXPECT_FALSE(limit_after(1000ms, 70ms, 40ms, 1'000'000)) << "the queue is somebody else's";
}

TEST_F(BbrLimit, NoneForWhatIsTooSlowToMeasure) {
  EXPECT_FALSE(limit_after(1000ms, 900ms, 40ms, 10'000));
}

TEST_F(BbrRestart, BeforeItsLeastRoundTripIsTenSecondsOld) {
  after(30s, 41ms);
  ASSERT_EQ(restarts.size(), 3u);
  EXPECT_LT(restarts[0] - 1000s, 9s);
  for (std::size_t i = 1; i < restarts.size(); ++i)
    EXPECT_LT(restarts[i] - restarts[i - 1], 9s) << i;
}

TEST_F(BbrRestart, StartsNoFasterThanItWas) {
  starting = true;
  EXPECT_FALSE(limit_after(1s, 41ms)) << "at first nobody knows the path";
  std::optional<std::uint64_t> limit;
  while (restarts.empty()) limit = limit_after(100ms, 41ms);
  ASSERT_TRUE(limit);
  EXPECT_LT(*limit, 10'000'000u);
  EXPECT_GT(*limit, 5'000'000u);
  EXPECT_EQ(limit_after(800ms, 41ms), limit);
  EXPECT_FALSE(limit_after(300ms, 41ms)) << "it starts for too long: the path may be faster now";
}

TEST_F(BbrRestart, LetsGoAsSoonAsItHasStarted) {
  while (restarts.empty()) after(100ms, 41ms);
  EXPECT_FALSE(limit_after(100ms, 41ms));
}

TEST_F(BbrRestart, NotWhereTheRoundTripHasGrown) {
  after(30s, 60ms);
  EXPECT_TRUE(restarts.empty()) << "BBR is to see for itself";
  after(200ms, 41ms);
  EXPECT_EQ(restarts.size(), 1u);
}

TEST_F(BbrRestart, NotWhereTheRateChanges) {
  after(7900ms, 41ms, 40ms, 3'000'000);
  after(300ms, 41ms);
  EXPECT_TRUE(restarts.empty()) << "three times as fast for a moment: who knows where it ends";
  after(500ms, 41ms);
  EXPECT_EQ(restarts.size(), 1u);
}

TEST_F(BbrRestart, NotWhereItHasLittleToDo) {
  after(30s, 41ms, 40ms, 1'000'000);
  EXPECT_TRUE(restarts.empty());
}

}  // namespace
}  // namespace tunorch::worker
