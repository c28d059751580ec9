#include "orchestrator/health/path_health.hpp"

#include <gtest/gtest.h>

namespace tunorch {
namespace {

using std::chrono::seconds;

class PathHealthTest : public testing::Test {
 protected:
  PathHealthTest() {
    options.slow_start = milliseconds(0);
    path.configure(options, failback);
  }
  void beat(std::vector<bool> pings, std::uint64_t received = 0) {
    now += options.interval;
    rx += received;
    path.heartbeat({std::move(pings), rx}, now);
  }
  void come_up() {
    rx = 0;
    path.session_up(Health::down, now);
    for (int i = 0; i < options.rise; ++i) beat({true});
  }
  void flap() {
    path.session_down(false, now);
    come_up();
  }
  Health state() const { return path.health().state; }

  HealthOptions options;
  FailbackOptions failback;
  PathHealth path;
  PathHealth::time_point now{seconds(1000)};
  std::uint64_t rx = 0;
};

TEST_F(PathHealthTest, RisesAndFallsByPings) {
  path.session_up(Health::down, now);
  beat({true, true});
  EXPECT_EQ(state(), Health::down);
  EXPECT_TRUE(path.undecided()) << "nothing to tell the peer";
  beat({true});
  EXPECT_EQ(state(), Health::up);
  beat({false, false});
  EXPECT_EQ(state(), Health::up);
  beat({false});
  EXPECT_EQ(state(), Health::down);
  EXPECT_TRUE(path.health().connected);
  EXPECT_EQ(path.reason(), "PINGs unanswered");
}

TEST_F(PathHealthTest, CallsItsProbesWhatTheyAre) {
  path.configure({}, {}, {"echoes unanswered", "its health command fails"});
  come_up();
  for (int i = 0; i < 3; ++i) path.targets(false, now);
  EXPECT_EQ(path.reason(), "its health command fails");
  beat({false, false, false});
  EXPECT_EQ(path.reason(), "echoes unanswered");
}

TEST_F(PathHealthTest, LostPingsDoNotCountWhilePacketsArrive) {
  come_up();
  for (int i = 0; i < 20; ++i) beat({false}, 9);
  EXPECT_EQ(state(), Health::up) << "congested";
  for (int i = 0; i < 3; ++i) beat({false});
  EXPECT_EQ(state(), Health::down) << "idle or dead: the PINGs decide alone";
}

TEST_F(PathHealthTest, TargetsAreAWitnessToo) {
  come_up();
  for (int i = 0; i < 3; ++i) path.targets(false, now);
  EXPECT_EQ(state(), Health::down);
  for (int i = 0; i < 3; ++i) path.targets(true, now);
  EXPECT_EQ(state(), Health::up);
  beat({true}, 9);
  for (int i = 0; i < 10; ++i) path.targets(false, now);
  EXPECT_EQ(state(), Health::up) << "packets arrive";
}

TEST_F(PathHealthTest, ThePeersWordTakesItDownButNotOurOwnVerdict) {
  come_up();
  path.told(false, Drain::none, now);
  EXPECT_EQ(state(), Health::down);
  EXPECT_TRUE(path.own_verdict()) << "or both would wait for each other";
  path.told(true, Drain::none, now);
  EXPECT_EQ(state(), Health::up);
  path.told(false, Drain::none, now);
  flap();
  EXPECT_EQ(state(), Health::up) << "a new session: the old word is void";
}

TEST_F(PathHealthTest, AFlappingPathIsHeldBackLongerEachTime) {
  come_up();
  flap();
  flap();
  EXPECT_EQ(state(), Health::up) << "two are free";
  std::vector<seconds> holds;
  for (int i = 0; i < 7; ++i) {
    flap();
    EXPECT_EQ(state(), Health::down);
    const auto from = now;
    while (state() != Health::up) {
      now += milliseconds(100);
      path.refresh(now);
    }
    holds.push_back(std::chrono::round<seconds>(now - from));
  }
  EXPECT_LE(holds[0], seconds(1));
  EXPECT_GE(holds[3], 3 * holds[1]);
  EXPECT_LE(holds.back(), seconds(30)) << "`damping` is the longest";
}

TEST_F(PathHealthTest, NoDampingIfNoneIsWantedAndNoneForWhatWasAsked) {
  come_up();
  for (int i = 0; i < 9; ++i) {
    path.session_down(true, now);
    come_up();
  }
  EXPECT_EQ(state(), Health::up);
  options.damping = milliseconds(0);
  path.configure(options, failback);
  for (int i = 0; i < 9; ++i) flap();
  EXPECT_EQ(state(), Health::up);
}

TEST_F(PathHealthTest, AReturningTunnelStartsSlowly) {
  options.slow_start = seconds(8);
  path.configure(options, failback);
  come_up();
  EXPECT_EQ(path.health().share, 100u) << "the first time";
  flap();
  EXPECT_EQ(path.health().share, 25u);
  now += seconds(5);
  path.refresh(now);
  EXPECT_EQ(path.health().share, 75u);
  now += seconds(3);
  path.refresh(now);
  EXPECT_EQ(path.health().share, 100u);
}

TEST_F(PathHealthTest, FailbackAtOnceAfterAHoldOrByHand) {
  come_up();
  EXPECT_TRUE(path.health().may_fail_back);
  failback = {FailbackPolicy::hold, seconds(30)};
  path.configure(options, failback);
  path.refresh(now);
  EXPECT_FALSE(path.health().may_fail_back);
  now += seconds(30);
  path.refresh(now);
  EXPECT_TRUE(path.health().may_fail_back);
  failback.policy = FailbackPolicy::manual;
  path.configure(options, failback);
  path.refresh(now);
  EXPECT_FALSE(path.health().may_fail_back);
  path.fail_back(now);
  EXPECT_TRUE(path.health().may_fail_back);
  flap();
  EXPECT_FALSE(path.health().may_fail_back) << "a failback is for once";
}

TEST_F(PathHealthTest, AnAdoptedOneIsUnknownUntilHeard) {
  path.forget();
  path.refresh(now);
  EXPECT_EQ(state(), Health::unknown);
  EXPECT_TRUE(path.undecided()) << "nothing to tell the peer";
  path.session_up(Health::unknown, now);
  EXPECT_EQ(state(), Health::unknown);
  for (int i = 0; i < 3; ++i) beat({true});
  EXPECT_EQ(state(), Health::up);
  EXPECT_EQ(path.health().share, 100u);
}

}  // namespace
}  // namespace tunorch
