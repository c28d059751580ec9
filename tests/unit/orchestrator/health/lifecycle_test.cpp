#include "orchestrator/health/lifecycle.hpp"

#include <gtest/gtest.h>

namespace tunorch {
namespace {

using enum WorkerEvent;
using std::chrono::seconds;

class LifecycleTest : public testing::Test {
 protected:
  WorkerState after(std::initializer_list<WorkerEvent> events) {
    for (const WorkerEvent event : events) life.on(event, now);
    return life.state();
  }
  void crash() { after({start, ready, exited}); }

  RestartOptions options{milliseconds(200), milliseconds(1000), 4};
  Lifecycle life{options};
  Lifecycle::time_point now{};
};

TEST_F(LifecycleTest, StartsRunsAndStopsOnRequest) {
  EXPECT_EQ(after({start}), WorkerState::starting);
  EXPECT_EQ(after({ready}), WorkerState::running);
  EXPECT_EQ(after({stop}), WorkerState::stopping);
  EXPECT_EQ(after({exited}), WorkerState::stopped);
  EXPECT_EQ(life.restarts(), 0);
}

TEST_F(LifecycleTest, PausesLongerAfterEachCrashUpToTheLimit) {
  std::vector<long> pauses_ms;
  for (int i = 0; i < 3; ++i) {
    crash();
    EXPECT_EQ(life.state(), WorkerState::backoff);
    pauses_ms.push_back((life.due_at() - now) / milliseconds(1));
    after({due});
  }
  EXPECT_EQ(pauses_ms, (std::vector<long>{200, 400, 800}));
}

TEST_F(LifecycleTest, JitterSpreadsThePauseByAQuarterEachWay) {
  life.on(start, now);
  life.on(exited, now, 0.0);
  EXPECT_EQ(life.due_at() - now, milliseconds(150));
  life.on(due, now);
  life.on(start, now);
  life.on(exited, now, 1.0);
  EXPECT_EQ(life.due_at() - now, milliseconds(500));
}

TEST_F(LifecycleTest, IsQuarantinedAfterSoManyCrashesInARow) {
  for (int i = 0; i < 3; ++i) {
    crash();
    after({due});
  }
  crash();
  EXPECT_EQ(life.state(), WorkerState::quarantined);
  EXPECT_EQ(after({due, start}), WorkerState::quarantined);
  EXPECT_EQ(after({reset}), WorkerState::stopped);
  crash();
  EXPECT_EQ(life.state(), WorkerState::backoff);
}

TEST_F(LifecycleTest, AStableTimeEndsTheCrashLoop) {
  for (int i = 0; i < 3; ++i) {
    crash();
    after({due});
  }
  after({start, ready});
  now += stable_after;
  EXPECT_EQ(after({exited}), WorkerState::backoff);
  EXPECT_EQ(life.due_at() - now, milliseconds(200));
  EXPECT_EQ(life.restarts(), 4);
}

TEST_F(LifecycleTest, AStopInBackoffNeedsNoExit) {
  crash();
  EXPECT_EQ(after({stop}), WorkerState::stopped);
}

TEST_F(LifecycleTest, IgnoresWhatMeansNothingInItsState) {
  EXPECT_EQ(after({ready, exited, stop, due, reset}), WorkerState::stopped);
  after({start, ready});
  EXPECT_EQ(after({start, ready, due, reset}), WorkerState::running);
}

}  // namespace
}  // namespace tunorch
