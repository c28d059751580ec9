#include "orchestrator/health/drains.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tunorch {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class DrainsTest : public testing::Test {
 protected:
  std::vector<std::string> finish(unsigned buckets_left) {
    return drains.finish(now, [&](const std::string&) { return buckets_left; });
  }
  Drains drains;
  Drains::time_point now{seconds(100)};
};

TEST_F(DrainsTest, IsDoneWhenNoBucketIsLeft) {
  drains.begin("a", now + seconds(60));
  EXPECT_EQ(drains.state("a"), Drain::draining);
  EXPECT_THAT(finish(3), IsEmpty());
  EXPECT_THAT(finish(0), ElementsAre("a"));
  EXPECT_EQ(drains.state("a"), Drain::done);
  EXPECT_THAT(finish(0), IsEmpty()) << "told once";
}

TEST_F(DrainsTest, IsDoneAtItsDeadlineWhateverIsLeft) {
  drains.begin("a", now + seconds(60));
  now += seconds(60);
  EXPECT_THAT(finish(99), ElementsAre("a"));
}

TEST_F(DrainsTest, CanBeGivenMoreTimeAndTakenBack) {
  drains.begin("a", now + seconds(1));
  drains.begin("a", now + seconds(9));
  now += seconds(5);
  EXPECT_THAT(finish(1), IsEmpty());
  drains.end("a");
  EXPECT_EQ(drains.state("a"), Drain::none);
  EXPECT_EQ(drains.state("b"), Drain::none);
}

}  // namespace
}  // namespace tunorch
