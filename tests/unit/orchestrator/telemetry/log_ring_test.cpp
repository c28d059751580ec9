#include "orchestrator/telemetry/log_ring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tunorch {
namespace {

using testing::ElementsAre;

LogLine line(const std::string& text) {
  return {"2023-11-14T22:13:20.007Z", "info", text};
}

std::vector<std::string> texts(const std::vector<LogLine>& lines) {
  std::vector<std::string> all;
  for (const LogLine& one : lines) all.push_back(one.text);
  return all;
}

TEST(LogRingTest, KeepsTheLastLines) {
  LogRing ring(3, 1000);
  for (const char* text : {"a", "b", "c", "d"}) ring.add(line(text));
  EXPECT_THAT(texts(ring.last("", 0)), ElementsAre("b", "c", "d"));
  EXPECT_THAT(texts(ring.last("", 2)), ElementsAre("c", "d"));
  EXPECT_THAT(texts(ring.last("", 9)), ElementsAre("b", "c", "d"));
}

TEST(LogRingTest, KeepsNoMoreBytesThanAllowed) {
  LogRing ring(100, 10);
  for (const char* text : {"aaaa", "bbbb", "cccc"}) ring.add(line(text));
  EXPECT_THAT(texts(ring.last("", 0)), ElementsAre("bbbb", "cccc"));
  ring.add(line("longer than all of it"));
  EXPECT_THAT(texts(ring.last("", 0)), ElementsAre("longer than all of it"));
  ring.add(line("d"));
  EXPECT_THAT(texts(ring.last("", 0)), ElementsAre("d"));
}

TEST(LogRingTest, CountsOnlyLinesOfTheTunnelAskedFor) {
  LogRing ring;
  ring.add(line("output tunnel=a-0: one"));
  ring.add(line("worker_ended  a-0: why"));
  ring.add(line("output tunnel=a-1: a-0"));
  EXPECT_THAT(texts(ring.last("a-0", 1)), ElementsAre("worker_ended  a-0: why"));
  EXPECT_EQ(ring.last("a-0", 0).size(), 2U);
  EXPECT_TRUE(ring.last("a-2", 0).empty());
}

TEST(LogRingTest, TellsFollowersUntilTheyAreGone) {
  LogRing ring;
  std::vector<std::string> all, of_one;
  ring.follow("", [&](const LogLine& told) {
    all.push_back(told.text);
    return all.size() < 2;
  });
  ring.follow("a-0", [&](const LogLine& told) {
    of_one.push_back(told.text);
    return true;
  });
  for (const char* text : {"a-1", "a-0", "a-0 again"}) ring.add(line(text));
  EXPECT_THAT(all, ElementsAre("a-1", "a-0"));
  EXPECT_THAT(of_one, ElementsAre("a-0", "a-0 again"));
}

TEST(LogRingTest, AreWrittenWithTheirTime) {
  EXPECT_EQ(to_line(line("x")), R"({"level":"info","text":"x","time":"2023-11-14T22:13:20.007Z"})");
}

}  // namespace
}  // namespace tunorch
