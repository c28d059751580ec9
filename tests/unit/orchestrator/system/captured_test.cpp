// Programs that end, do not end, print too much and leave others behind.
#include "orchestrator/system/captured.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <thread>

namespace tunorch {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

Captured shell(const std::string& script, const CaptureLimits& limits = {}) {
  return run_captured({"sh", "-c", script}, limits);
}

TEST(Captured, KeepsWhatAProgramSaysAndItsStatus) {
  const Captured done = shell("echo out; echo err >&2; exit 3");
  EXPECT_EQ(done.output, "out\n");
  EXPECT_EQ(done.errors, "err\n");
  EXPECT_EQ(done.status, 3);
  EXPECT_EQ(done.problem, "");
  EXPECT_FALSE(done.cut);
}

TEST(Captured, HasNothingToReadAndAnEnvironmentOfItsOwn) {
  ::setenv("X_TOKEN", "hunter2", 1);
  EXPECT_EQ(shell("cat; env | grep -c TOKEN").output, "0\n");
}

TEST(Captured, SaysWhatIsNotThere) {
  const Captured done = run_captured({"there-is-no-such-program"}, {});
  EXPECT_THAT(done.problem, testing::HasSubstr("there is no such program"));
  EXPECT_EQ(done.status, -1);
}

TEST(Captured, EndsWhatTakesTooLongAndKeepsWhatItSaid) {
  const auto begin = steady_clock::now();
  const Captured done = shell("echo begun; sleep 600", {.time = 300ms});
  EXPECT_LT(steady_clock::now() - begin, 5s);
  EXPECT_EQ(done.output, "begun\n");
  EXPECT_THAT(done.problem, testing::HasSubstr("not done within 300 ms"));
  EXPECT_EQ(done.status, -1);
}

TEST(Captured, IsNotHeldUpByWhatTheProgramLeftBehind) {
  const auto begin = steady_clock::now();
  const Captured done = shell("sleep 600 & echo $!");
  EXPECT_LT(steady_clock::now() - begin, 5s);
  EXPECT_EQ(done.status, 0);
  const int left = std::atoi(done.output.c_str());
  ASSERT_GT(left, 1);
  for (int i = 0; i < 100 && ::kill(left, 0) == 0; ++i) std::this_thread::sleep_for(20ms);
  EXPECT_NE(::kill(left, 0), 0) << "it is killed with its session";
}

TEST(Captured, CutsWhatIsTooMuch) {
  const auto begin = steady_clock::now();
  const Captured done = run_captured({"yes"}, {.bytes = 100'000});
  EXPECT_LT(steady_clock::now() - begin, 5s);
  EXPECT_TRUE(done.cut);
  EXPECT_EQ(done.output.size(), 100'000U);
}

TEST(Captured, TakesMoreThanAPipeHolds) {
  const Captured done = shell("yes | head -c 1000000; yes | head -c 1000000 >&2");
  EXPECT_EQ(done.output.size(), 1'000'000U);
  EXPECT_EQ(done.errors.size(), 1'000'000U);
  EXPECT_EQ(done.status, 0);
}

TEST(Captured, SaysWhoWasKilled) {
  EXPECT_THAT(shell("kill -9 $$").problem, testing::HasSubstr("killed by signal 9"));
}

}  // namespace
}  // namespace tunorch
