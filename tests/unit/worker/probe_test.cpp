#include "worker/probe.hpp"

#include <gtest/gtest.h>

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;
using Decisions = std::vector<bool>;

class ProbeTest : public testing::Test {
 protected:
  Probe::nanoseconds at(int ms) const { return start + milliseconds(ms); }

  const Probe::nanoseconds start{1'000'000'000};
  const milliseconds timeout{300};
  Probe probe{start};
};

TEST_F(ProbeTest, AnAnswerInTimeIsADecisionAndARoundTrip) {
  const Ping ping = probe.next(at(0), 0);
  probe.answered(ping, at(42));
  EXPECT_EQ(probe.take_decisions(), Decisions{true});
  EXPECT_EQ(probe.rtt_us(), 42'000u);
  EXPECT_EQ(probe.take_decisions(), Decisions{});
}

TEST_F(ProbeTest, APingIsLostAfterTheTimeoutAndNotBefore) {
  probe.next(at(0), 0);
  probe.expire(at(299), timeout, 0);
  EXPECT_EQ(probe.take_decisions(), Decisions{});
  probe.expire(at(300), timeout, 0);
  EXPECT_EQ(probe.take_decisions(), Decisions{false});
}

TEST_F(ProbeTest, APathThatDeliversIsGivenMoreTime) {
  probe.next(at(0), 7);
  probe.expire(at(300), timeout, 8);
  probe.expire(at(1199), timeout, 9);
  EXPECT_EQ(probe.take_decisions(), Decisions{});
  probe.expire(at(1200), timeout, 9);
  EXPECT_EQ(probe.take_decisions(), Decisions{false}) << "but its peer does not answer for ever";
  probe.next(at(1300), 9);
  probe.expire(at(1600), timeout, 9);
  EXPECT_EQ(probe.take_decisions(), Decisions{false}) << "nothing was delivered since";
}

TEST_F(ProbeTest, ALateAnswerTellsTheRoundTripAndChangesNoDecision) {
  const Ping ping = probe.next(at(0), 0);
  probe.expire(at(400), timeout, 0);
  probe.answered(ping, at(500));
  EXPECT_EQ(probe.take_decisions(), Decisions{false});
  EXPECT_EQ(probe.rtt_us(), 500'000u);
  EXPECT_EQ(probe.last_answer(), at(500));
}

TEST_F(ProbeTest, DecisionsKeepTheirOrder) {
  probe.next(at(0), 0);
  const Ping second = probe.next(at(200), 0);
  probe.expire(at(310), timeout, 0);
  probe.answered(second, at(320));
  EXPECT_EQ(probe.take_decisions(), (Decisions{false, true}));
}

TEST_F(ProbeTest, AnAnswerToNothingIsIgnored) {
  probe.answered({99, 0}, at(10));
  const Ping ping = probe.next(at(20), 0);
  probe.answered({ping.sequence, static_cast<std::uint64_t>(at(5000).count())}, at(30));
  EXPECT_EQ(probe.take_decisions(), Decisions{});
  EXPECT_EQ(probe.last_answer(), start);
}

TEST_F(ProbeTest, OneAnswerCountsOnce) {
  const Ping ping = probe.next(at(0), 0);
  probe.answered(ping, at(10));
  probe.answered(ping, at(20));
  EXPECT_EQ(probe.take_decisions(), Decisions{true});
}

}  // namespace
}  // namespace tunorch::worker
