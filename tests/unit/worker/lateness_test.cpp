#include "worker/lateness.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;

/// PINGs of a peer whose clock began at another time than ours.
class LatenessTest : public testing::Test {
 protected:
  static constexpr std::uint64_t other_clock = 77'000'000'000'000;

  void ping(milliseconds sent, milliseconds came) {
    lateness.pinged(other_clock + static_cast<std::uint64_t>(sent.count()) * 1'000'000,
                    std::chrono::hours(3) + came);
  }
  /// Every 250 ms, each after the same time on the way.
  void steady(int from, int to, int on_the_way) {
    for (int at = from; at < to; at += 250) {
      ping(milliseconds(at), milliseconds(at + on_the_way));
      EXPECT_FALSE(lateness.late()) << at;
    }
  }
  Lateness lateness;
};

TEST_F(LatenessTest, NothingIsLateOnAnOrdinaryPath) {
  steady(0, 10'000, 20);
}

TEST_F(LatenessTest, APathWhoseQueueGrowsHoldsNothingUp) {
  for (int at = 0; at < 10'000; at += 250) {
    ping(milliseconds(at), milliseconds(at + at / 2));
    EXPECT_FALSE(lateness.late()) << at;
  }
}

TEST_F(LatenessTest, AfterASilenceAllIsLateUntilPingsHaveCaughtUp) {
  steady(0, 1000, 20);
  lateness.fell_silent();
  EXPECT_TRUE(lateness.late());
  // What was sent from 1000 on comes at 3000, in one burst.
  for (int at = 1000; at < 3000; at += 250) {
    ping(milliseconds(at), milliseconds(3000 + at / 250));
    EXPECT_EQ(lateness.late(), at < 2500) << at;  // half a second late is not too late
  }
  steady(3000, 5000, 20);
}

TEST_F(LatenessTest, WithoutASilenceNothingIsLate) {
  steady(0, 1000, 20);
  ping(milliseconds(1000), milliseconds(3000));
  EXPECT_FALSE(lateness.late());
}

TEST_F(LatenessTest, ThePathComesBackInTurnsOfARoundTrip) {
  steady(0, 1000, 20);
  lateness.fell_silent();
  for (int turn = 0; turn < 5; ++turn) {
    ping(milliseconds(1000 + 500 * turn), milliseconds(3000 + 150 * turn));
    ping(milliseconds(1250 + 500 * turn), milliseconds(3000 + 150 * turn));
    EXPECT_EQ(lateness.late(), turn < 4) << turn;
  }
}

TEST_F(LatenessTest, ASecondOutageIsOneToo) {
  steady(0, 1000, 20);
  lateness.fell_silent();
  ping(milliseconds(1000), milliseconds(2000));
  EXPECT_TRUE(lateness.late());
  lateness.fell_silent();
  ping(milliseconds(1250), milliseconds(4000));
  EXPECT_TRUE(lateness.late());
  for (int at = 1500; at < 3750; at += 250) ping(milliseconds(at), milliseconds(4000));
  EXPECT_FALSE(lateness.late());
}

TEST_F(LatenessTest, WherePingsAreRareNothingIs) {
  ping(milliseconds(0), milliseconds(20));
  lateness.fell_silent();
  EXPECT_FALSE(lateness.late()) << "one PING tells nothing";
  ping(milliseconds(1000), milliseconds(1020));
  EXPECT_EQ(lateness.patience(), Lateness::nanoseconds::max());
  lateness.fell_silent();
  EXPECT_FALSE(lateness.late());
}

TEST_F(LatenessTest, ASilenceIsLongerThanTwoPings) {
  for (int at = 0; at < 2000; at += 400) ping(milliseconds(at), milliseconds(at + 20));
  EXPECT_EQ(lateness.patience(), milliseconds(800));
  for (int at = 2000; at < 2100; at += 10) ping(milliseconds(at), milliseconds(at + 20));
  EXPECT_EQ(lateness.patience(), milliseconds(500));
}

TEST_F(LatenessTest, APeerThatStoodStillWasNotHeldUp) {
  steady(0, 1000, 20);
  lateness.fell_silent();
  ping(milliseconds(4000), milliseconds(4020));
  EXPECT_FALSE(lateness.late());
}

/// Its clock stood still with it, so all it sends seems to be late for ever.
TEST_F(LatenessTest, AMachineThatWasPausedCostsHalfASecond) {
  steady(0, 1000, 20);
  lateness.fell_silent();
  for (int at = 1000; at < 1750; at += 250) {
    ping(milliseconds(at), milliseconds(at + 3000));
    EXPECT_TRUE(lateness.late()) << at;
  }
  ping(milliseconds(1750), milliseconds(4750));
  EXPECT_FALSE(lateness.late());
  steady(2000, 5000, 3000);
}

TEST_F(LatenessTest, AClockThatSaysAnythingDoesNoHarm) {
  for (const std::uint64_t clock :
       {std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max(), std::uint64_t{1} << 63,
        std::uint64_t{5}, std::uint64_t{4}, std::numeric_limits<std::uint64_t>::max() / 2}) {
    lateness.fell_silent();
    lateness.pinged(clock, milliseconds(100));
    EXPECT_FALSE(lateness.late()) << clock;
  }
  steady(0, 1000, 20);
}

}  // namespace
}  // namespace tunorch::worker
