// The search for a path's MTU against paths of known width, with and without loss.
#include "orchestrator/health/path_mtu.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace tunorch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class PathMtuTest : public testing::Test {
 protected:
  /// One round over a path that carries `width`; how many large echoes it took.
  std::size_t round(unsigned width, bool large_sent = false, bool lives = true) {
    now += milliseconds(300);
    std::vector<std::pair<unsigned, bool>> answers;
    for (const unsigned size : mtu.next(now, large_sent))
      answers.emplace_back(size, lives && size <= width && !lost.contains(size));
    mtu.answered(answers, lives);
    return answers.size();
  }

  PathMtu mtu;
  PathMtu::time_point now{seconds(1000)};
  std::set<unsigned> lost;
};

TEST_F(PathMtuTest, AWidePathIsKnownInOneRound) {
  mtu.configure(1420);
  EXPECT_FALSE(mtu.known());
  round(1420);
  EXPECT_EQ(mtu.known(), 1420U);
  EXPECT_EQ(mtu.lowered(), 0U);
}

TEST_F(PathMtuTest, ANarrowPathIsFoundFromBelow) {
  for (const unsigned width : {577U, 1000U, 1236U, 1419U}) {
    PathMtu fresh;
    mtu = fresh;
    mtu.configure(1420);
    for (int i = 0; i < 5; ++i) {
      round(width);
      EXPECT_LE(mtu.known().value_or(0), width);
    }
    EXPECT_GT(*mtu.known() + 8, width) << width;
    EXPECT_EQ(mtu.lowered(), *mtu.known());
  }
}

TEST_F(PathMtuTest, OneThatCarriesNothingLargeIsKnownAsThat) {
  mtu.configure(1420);
  round(100);
  EXPECT_EQ(mtu.known(), 0U);
}

TEST_F(PathMtuTest, WhatIsSentHastensTheLook) {
  mtu.configure(1420);
  round(1420);
  EXPECT_EQ(round(1420), 0U) << "nothing large was sent";
  EXPECT_EQ(round(1420, true), 1U);
  // It narrows: two rounds tell.
  round(1236, true);
  EXPECT_EQ(mtu.lowered(), 0U) << "one echo may be lost";
  round(1236);
  EXPECT_GT(mtu.lowered(), 1100U);
  EXPECT_LE(mtu.lowered(), 1236U);
}

TEST_F(PathMtuTest, OneLostEchoChangesNothing) {
  mtu.configure(1420);
  round(1420);
  lost = {1420};
  round(1420, true);
  lost = {};
  EXPECT_EQ(mtu.known(), 1420U);
  round(1420);
  EXPECT_EQ(mtu.known(), 1420U);
  EXPECT_EQ(mtu.lowered(), 0U);
}

TEST_F(PathMtuTest, WithoutTrafficItIsLookedAtNowAndThen) {
  mtu.configure(1420);
  round(1420);
  std::size_t echoes = 0;
  for (int i = 0; i < 100; ++i) echoes += round(1420);  // half a minute
  EXPECT_GE(echoes, 2U);
  EXPECT_LE(echoes, 4U);
}

TEST_F(PathMtuTest, ANarrowPathCanBecomeNarrower) {
  mtu.configure(1420);
  for (int i = 0; i < 5; ++i) round(1236);
  for (int i = 0; i < 4; ++i) round(1000, true);
  EXPECT_LE(mtu.lowered(), 1000U);
  for (int i = 0; i < 100; ++i) round(800);
  EXPECT_LE(mtu.lowered(), 800U);
  EXPECT_GT(mtu.lowered() + 9, 800U);
}

TEST_F(PathMtuTest, ItRecoversWhenThePathDoesWhateverTheTraffic) {
  for (const bool large_sent : {false, true}) {
    mtu = PathMtu();
    mtu.configure(1420);
    for (int i = 0; i < 5; ++i) round(1236);
    ASSERT_NE(mtu.lowered(), 0U);
    for (int i = 0; i < 40; ++i) round(1420, large_sent);
    EXPECT_EQ(mtu.lowered(), 0U) << "large packets sent: " << large_sent;
  }
}

TEST_F(PathMtuTest, ALossInTheSearchIsMadeGoodLater) {
  mtu.configure(1420);
  lost = {998, 1103, 1209};
  round(1300);
  lost = {};
  for (int i = 0; i < 100; ++i) round(1300);
  EXPECT_GT(mtu.lowered() + 8, 1300U);
}

TEST_F(PathMtuTest, ADeadPathSaysNothing) {
  mtu.configure(1420);
  round(1420);
  for (int i = 0; i < 50; ++i) round(1420, true, false);
  EXPECT_EQ(mtu.known(), 1420U);
}

TEST_F(PathMtuTest, ANewSessionBeginsAnew) {
  mtu.configure(1420);
  for (int i = 0; i < 5; ++i) round(1236);
  mtu.reset();
  EXPECT_FALSE(mtu.known());
  EXPECT_EQ(mtu.lowered(), 0U);
  mtu.configure(1400);
  round(1400);
  EXPECT_EQ(mtu.known(), 1400U);
}

}  // namespace
}  // namespace tunorch
