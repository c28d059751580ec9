#include "orchestrator/health/health.hpp"

#include <gtest/gtest.h>

#include <string>

namespace tunorch {
namespace {

/// '+' an answer, '-' a loss; the state after each as 'u' up, 'd' down, '?' unknown.
std::string states(Dampener dampener, const std::string& probes) {
  std::string text;
  for (const char probe : probes) {
    const Health state = dampener.observe(probe == '+');
    text += state == Health::up ? 'u' : state == Health::down ? 'd' : '?';
  }
  return text;
}

TEST(Dampener, BecomesUpAfterRiseAnswersInARow) {
  EXPECT_EQ(states(Dampener(3, 3), "+++"), "??u");
  EXPECT_EQ(states(Dampener(3, 3), "++-+++"), "?????u");
}

TEST(Dampener, BecomesDownAfterFallLossesInARow) {
  EXPECT_EQ(states(Dampener(1, 3), "+---"), "uuud");
  EXPECT_EQ(states(Dampener(1, 3), "+--+--"), "uuuuuu");
}

TEST(Dampener, StaysDownWhileAnswersAreFewerThanRise) {
  EXPECT_EQ(states(Dampener(3, 1), "-++-++-+++"),
            "ddddddddd"
            "u");
}

TEST(Dampener, AlternatingResultsChangeNothing) {
  EXPECT_EQ(states(Dampener(2, 2, Health::up), "+-+-+-"), "uuuuuu");
  EXPECT_EQ(states(Dampener(2, 2, Health::down), "+-+-+-"), "dddddd");
}

}  // namespace
}  // namespace tunorch
