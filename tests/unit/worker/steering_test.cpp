// The kernel's steering program and the worker's own hash must agree, or a flow's packets would
// leave by one stream and be looked for on another.
#include "routing/steering.hpp"

#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <random>

#include "tests/unit/worker/packets.hpp"
#include "worker/flow_hash.hpp"

namespace tunorch::worker {
namespace {

/// BPF_PROG_TEST_RUN gives a socket filter a link header that it does not show to the program.
constexpr std::size_t link_header_bytes = 14;

class SteeringTest : public testing::Test {
 protected:
  std::uint32_t kernels(const std::vector<std::uint8_t>& packet) const {
    std::vector<std::uint8_t> frame(link_header_bytes);
    frame.insert(frame.end(), packet.begin(), packet.end());
    bpf_attr run{};
    run.test.prog_fd = static_cast<std::uint32_t>(program.get());
    run.test.data_in = reinterpret_cast<std::uintptr_t>(frame.data());
    run.test.data_size_in = static_cast<std::uint32_t>(frame.size());
    EXPECT_EQ(::syscall(SYS_bpf, BPF_PROG_TEST_RUN, &run, sizeof run), 0);
    return run.test.retval;
  }
  static std::uint32_t ours(const std::vector<std::uint8_t>& packet) {
    return flow_hash(packet.data(), packet.size());
  }

  const Fd program = routing::load_steering();
};

std::vector<std::uint8_t> random_packet(std::mt19937& random) {
  auto packet = random() % 2 ? tcp4(20 + random() % 200) : tcp6(20 + random() % 200);
  const bool v4 = packet[0] >> 4 == 4;
  for (std::size_t i = v4 ? 12 : 8; i < (v4 ? 24u : 44u); ++i)
    packet[i] = static_cast<std::uint8_t>(random());
  const std::uint8_t protocols[] = {6, 17, 1, 58, 47, static_cast<std::uint8_t>(random())};
  packet[v4 ? 9 : 6] = protocols[random() % 6];
  if (v4 && random() % 4 == 0) packet[6] = static_cast<std::uint8_t>(random());  // fragments
  if (v4 && random() % 8 == 0) packet[0] = 0x46;                                 // an option
  return packet;
}

TEST_F(SteeringTest, TheKernelAndTheWorkerAgree) {
  std::mt19937 random(1);
  for (int i = 0; i < 5000; ++i) {
    const auto packet = random_packet(random);
    ASSERT_EQ(kernels(packet), ours(packet)) << "packet " << i;
  }
}

TEST_F(SteeringTest, WhatIsCutShortOrNoIpIsZeroToBoth) {
  auto packet = tcp4(20);
  packet.resize(21);  // no ports
  EXPECT_EQ(ours(packet), 0u);
  EXPECT_EQ(kernels(packet), 0u);
  packet = tcp4(20);
  packet[0] = 0x25;
  EXPECT_EQ(ours(packet), 0u);
  EXPECT_EQ(kernels(packet), 0u);
}

TEST(FlowHash, BothDirectionsOfAFlowAreOne) {
  auto there = tcp4(20);
  there[20] = 0x12, there[21] = 0x34, there[23] = 80;
  auto back = there;
  std::swap_ranges(&back[12], &back[16], &back[16]);
  std::swap_ranges(&back[20], &back[22], &back[22]);
  EXPECT_EQ(flow_hash(there.data(), there.size()), flow_hash(back.data(), back.size()));
}

TEST(FlowHash, FlowsSpreadEvenlyWhateverDiffers) {
  const auto spread = [](auto change) {
    std::map<std::uint32_t, int> counts;
    for (int i = 0; i < 1000; ++i) {
      auto packet = tcp4(20);
      packet[23] = 80;
      change(packet, i);
      ++counts[flow_hash(packet.data(), packet.size()) % 4];
    }
    int least = 1000;
    for (std::uint32_t stream = 0; stream < 4; ++stream) least = std::min(least, counts[stream]);
    return least;
  };
  const auto put = [](std::vector<std::uint8_t>& packet, std::size_t at, int value) {
    packet[at] = static_cast<std::uint8_t>(value >> 8);
    packet[at + 1] = static_cast<std::uint8_t>(value);
  };
  EXPECT_GT(spread([&](auto& p, int i) { put(p, 20, 40000 + i); }), 150) << "source ports in turn";
  EXPECT_GT(spread([&](auto& p, int i) { put(p, 20, 40000 + 2 * i); }), 150) << "even ports only";
  EXPECT_GT(spread([&](auto& p, int i) { put(p, 14, i); }), 150) << "neighbours";
  EXPECT_GT(spread([&](auto& p, int i) { put(p, 14, i), put(p, 18, i); }), 150) << "pairs";
}

}  // namespace
}  // namespace tunorch::worker
