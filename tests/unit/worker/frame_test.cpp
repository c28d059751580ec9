#include "worker/frame.hpp"

#include <gtest/gtest.h>

#include <array>

namespace tunorch::worker {
namespace {

std::optional<FrameHeader> round_trip(FrameType type, std::uint32_t length) {
  std::array<std::uint8_t, frame_header_bytes> bytes{};
  write_frame_header(bytes.data(), {type, length});
  return read_frame_header(bytes.data());
}

TEST(Frame, ItsHeaderIsTypeAndBigEndianLength) {
  std::array<std::uint8_t, frame_header_bytes> bytes{};
  write_frame_header(bytes.data(), {FrameType::data, 0x010203});
  EXPECT_EQ(bytes, (std::array<std::uint8_t, 4>{3, 1, 2, 3}));
}

TEST(Frame, AWholeGsoPacketFits) {
  const auto header = round_trip(FrameType::data, max_data_bytes);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->length, 65545u);
  EXPECT_FALSE(round_trip(FrameType::data, max_data_bytes + 1));
}

TEST(Frame, DataWithoutAPacketIsRefused) {
  EXPECT_FALSE(round_trip(FrameType::data, vnet_header_bytes));
  EXPECT_TRUE(round_trip(FrameType::data, vnet_header_bytes + 1));
}

TEST(Frame, TextsAndPingsAreBounded) {
  for (const FrameType type : {FrameType::hello, FrameType::config, FrameType::close}) {
    EXPECT_TRUE(round_trip(type, max_text_bytes));
    EXPECT_FALSE(round_trip(type, max_text_bytes + 1));
  }
  EXPECT_TRUE(round_trip(FrameType::ping, ping_bytes));
  EXPECT_FALSE(round_trip(FrameType::pong, ping_bytes + 1));
}

TEST(Frame, UnknownTypesAreRefused) {
  for (const int type : {0, 8, 255})
    EXPECT_FALSE(round_trip(static_cast<FrameType>(type), 12)) << type;
}

TEST(Frame, APingSurvivesTheWire) {
  std::array<std::uint8_t, ping_bytes> bytes{};
  write_ping(bytes.data(), {7, 0x0102030405060708});
  const Ping ping = read_ping(bytes.data());
  EXPECT_EQ(ping.sequence, 7u);
  EXPECT_EQ(ping.clock_ns, 0x0102030405060708u);
}

}  // namespace
}  // namespace tunorch::worker
