#include "worker/fair_queue.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

namespace tunorch::worker {
namespace {

using Packet = std::vector<std::uint8_t>;

constexpr std::size_t plenty = 1 << 20;

Packet packet(std::uint8_t flow, std::uint8_t number, std::size_t size) {
  Packet bytes(size, 0);
  bytes[0] = flow;
  bytes[1] = number;
  return bytes;
}

std::size_t push(FairQueue& queue, std::uint8_t flow, std::uint8_t number, std::size_t size) {
  return queue.push(flow, packet(flow, number, size), {});
}

TEST(FairQueue, GivesBackWhatItGot) {
  FairQueue queue(plenty);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(push(queue, 7, 1, 100), 0u);
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.pop().bytes, packet(7, 1, 100));
  EXPECT_TRUE(queue.empty());
}

TEST(FairQueue, AFewPacketsDoNotWaitForABulkFlow) {
  FairQueue queue(64 * plenty);
  for (int i = 0; i < 100; ++i) push(queue, 1, static_cast<std::uint8_t>(i), 60'000);
  queue.pop();
  push(queue, 2, 0, 100);
  EXPECT_EQ(queue.pop().bytes[0], 2);
}

TEST(FairQueue, FlowsGetTheSameBytesWhateverTheirPacketsSizes) {
  FairQueue queue(64 * plenty);
  const std::size_t sizes[] = {60'000, 1500, 200};
  for (std::uint8_t flow = 0; flow < 3; ++flow)
    for (std::size_t bytes = 0; bytes < 8 * plenty; bytes += sizes[flow])
      push(queue, flow, 0, sizes[flow]);
  std::map<int, std::size_t> got;
  for (std::size_t bytes = 0; bytes < 6 * plenty;) {
    const Packet one = queue.pop().bytes;
    got[one[0]] += one.size();
    bytes += one.size();
  }
  for (int flow = 0; flow < 3; ++flow)
    EXPECT_NEAR(static_cast<double>(got[flow]), 2.0 * plenty, 0.05 * plenty) << flow;
}

TEST(FairQueue, TheLongestFlowLosesItsOldest) {
  FairQueue queue(100'000);
  for (std::uint8_t i = 0; i < 9; ++i) EXPECT_EQ(push(queue, 1, i, 10'000), 0u);
  EXPECT_EQ(push(queue, 2, 0, 15'000), 1u);
  std::map<int, std::vector<int>> numbers;
  while (!queue.empty()) {
    const Packet one = queue.pop().bytes;
    numbers[one[0]].push_back(one[1]);
  }
  EXPECT_EQ(numbers[1], (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(numbers[2], (std::vector<int>{0}));
}

TEST(FairQueue, APacketThatIsTooLargeByItselfIsDropped) {
  FairQueue queue(1000);
  EXPECT_EQ(push(queue, 1, 0, 2000), 1u);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(push(queue, 1, 1, 100), 0u);
  EXPECT_EQ(queue.pop().bytes, packet(1, 1, 100));
}

TEST(FairQueue, KeepsTheOrderWithinAFlowWhateverHappens) {
  FairQueue queue(200'000);
  std::mt19937 random(1);
  std::map<int, int> sent, last;
  std::size_t in = 0, out = 0, dropped = 0;
  for (int step = 0; step < 50'000; ++step) {
    if (random() % 5 < 3) {
      const auto flow = static_cast<std::uint8_t>(random() % 12);
      Packet one = packet(flow, 0, 6 + random() % (flow < 3 ? 60'000 : 1400));
      const int number = ++sent[flow];
      std::memcpy(&one[1], &number, sizeof number);
      dropped += queue.push(flow, one, {});
      ++in;
    } else if (!queue.empty()) {
      const Packet one = queue.pop().bytes;
      int number = 0;
      std::memcpy(&number, &one[1], sizeof number);
      ASSERT_GT(number, last[one[0]]);
      last[one[0]] = number;
      ++out;
    }
  }
  for (; !queue.empty(); ++out) queue.pop();
  EXPECT_EQ(in, out + dropped);
  EXPECT_GT(dropped, 0u);
}

TEST(FairQueue, DropsWhatHasWaitedTooLong) {
  using std::chrono::milliseconds;
  FairQueue queue(plenty);
  const FairQueue::Clock::time_point start{};
  for (std::uint8_t flow = 1; flow <= 3; ++flow)
    for (std::uint8_t number = 0; number < 10; ++number)
      queue.push(flow, packet(flow, number, 100), start + milliseconds(100 * number));
  EXPECT_EQ(queue.drop_older(start + milliseconds(600)), 18u);
  for (int left = 0; left < 12; ++left) {
    const auto one = queue.pop();
    EXPECT_GE(one.bytes[1], 6);
    EXPECT_EQ(one.since, start + milliseconds(100 * one.bytes[1]));
  }
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.drop_older(start + milliseconds(5000)), 0u);
}

}  // namespace
}  // namespace tunorch::worker
