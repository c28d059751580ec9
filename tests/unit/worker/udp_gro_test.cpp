#include "worker/udp_gro.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "worker/frame.hpp"
#include "worker/packet.hpp"

namespace tunorch::worker {
namespace {

using Bytes = std::vector<std::uint8_t>;

void write16(std::uint8_t* to, std::size_t value) {
  to[0] = static_cast<std::uint8_t>(value >> 8);
  to[1] = static_cast<std::uint8_t>(value);
}

std::size_t read16(const std::uint8_t* from) {
  return static_cast<std::size_t>(from[0]) << 8 | from[1];
}

std::size_t ones_sum(const std::uint8_t* from, std::size_t size, std::size_t sum = 0) {
  for (std::size_t i = 0; i + 1 < size; i += 2) sum += read16(from + i);
  if (size % 2) sum += static_cast<std::size_t>(from[size - 1]) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

std::size_t pseudo_sum(const std::uint8_t* packet, std::size_t udp_bytes) {
  const bool v4 = packet[0] >> 4 == 4;
  return ones_sum(packet + (v4 ? 12 : 8), v4 ? 8 : 32, 17 + udp_bytes);
}

/// As the kernel hands over what a local socket sent: the checksum is still to be made.
Bytes datagram(bool v6, std::size_t payload_bytes, char fill, std::uint16_t port = 5000) {
  const std::size_t ip_bytes = v6 ? 40 : 20;
  Bytes all(vnet_header_bytes + ip_bytes + 8 + payload_bytes, static_cast<std::uint8_t>(fill));
  std::uint8_t* packet = all.data() + vnet_header_bytes;
  std::memset(all.data(), 0, vnet_header_bytes + ip_bytes + 8);
  if (v6) {
    packet[0] = 0x60;
    write16(packet + 4, 8 + payload_bytes);
    packet[6] = 17;
    packet[7] = 64;
    packet[8] = packet[24] = 0xfd;
    packet[39] = 1;
  } else {
    packet[0] = 0x45;
    write16(packet + 2, 28 + payload_bytes);
    write16(packet + 4, static_cast<std::size_t>(fill));  // the identification differs
    packet[6] = 0x40;                                     // don't fragment
    packet[8] = 64;
    packet[9] = 17;
    packet[12] = packet[16] = 10;
    packet[19] = 1;
    write16(packet + 10, 0xffff - ones_sum(packet, 20));
  }
  std::uint8_t* udp = packet + ip_bytes;
  write16(udp, 4000);
  write16(udp + 2, port);
  write16(udp + 4, 8 + payload_bytes);
  write16(udp + 6, pseudo_sum(packet, 8 + payload_bytes));
  const VnetHeader header{
      vnet::needs_csum, vnet::gso_none, 0, 0, static_cast<std::uint16_t>(ip_bytes), 6};
  std::memcpy(all.data(), &header, sizeof header);
  return all;
}

bool add(UdpGro& run, Bytes& payload) {
  return run.add(payload.data(), payload.size());
}

Bytes written(UdpGro& run) {
  Bytes all;
  for (const iovec& part : run.finish()) {
    const auto* from = static_cast<const std::uint8_t*>(part.iov_base);
    all.insert(all.end(), from, from + part.iov_len);
  }
  return all;
}

class BothFamilies : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(UdpGro, BothFamilies, testing::Bool());

TEST_P(BothFamilies, OneGoesOutAsItCame) {
  UdpGro run;
  Bytes one = datagram(GetParam(), 100, 'a');
  const Bytes before = one;
  ASSERT_TRUE(add(run, one));
  EXPECT_EQ(run.count(), 1u);
  EXPECT_EQ(written(run), before);
  EXPECT_TRUE(run.empty());
}

TEST_P(BothFamilies, SeveralBecomeOneThatTheCheckTakes) {
  UdpGro run;
  Bytes a = datagram(GetParam(), 100, 'a'), b = datagram(GetParam(), 100, 'b'),
        c = datagram(GetParam(), 60, 'c');
  ASSERT_TRUE(add(run, a));
  ASSERT_TRUE(add(run, b));
  ASSERT_TRUE(add(run, c));
  EXPECT_EQ(run.count(), 3u);
  const Bytes whole = written(run);
  const std::uint8_t* packet = whole.data() + vnet_header_bytes;
  const std::size_t size = whole.size() - vnet_header_bytes, ip_bytes = GetParam() ? 40 : 20;
  ASSERT_EQ(size, ip_bytes + 8 + 260);
  ASSERT_TRUE(parse_packet(packet, size));
  VnetHeader header;
  std::memcpy(&header, whole.data(), sizeof header);
  EXPECT_EQ(header.gso_type, vnet::gso_udp_l4);
  EXPECT_EQ(header.gso_size, 100);
  EXPECT_EQ(header.hdr_len, ip_bytes + 8);
  EXPECT_TRUE(check_vnet_header(header, packet, size));
  if (!GetParam()) {
    EXPECT_EQ(ones_sum(packet, 20), 0xffffu);
  }
  EXPECT_EQ(read16(packet + ip_bytes + 4), 268u);
  EXPECT_EQ(read16(packet + ip_bytes + 6), pseudo_sum(packet, 268));
  const std::string payload(whole.end() - 260, whole.end());
  EXPECT_EQ(payload, std::string(100, 'a') + std::string(100, 'b') + std::string(60, 'c'));
}

TEST_P(BothFamilies, AShorterOneEndsItAndALongerOneDoesNotJoin) {
  UdpGro run;
  Bytes a = datagram(GetParam(), 100, 'a'), longer = datagram(GetParam(), 101, 'b'),
        shorter = datagram(GetParam(), 99, 'c'), again = datagram(GetParam(), 99, 'd');
  ASSERT_TRUE(add(run, a));
  EXPECT_FALSE(add(run, longer));
  EXPECT_TRUE(add(run, shorter));
  EXPECT_FALSE(add(run, again));
  EXPECT_EQ(run.count(), 2u);
}

TEST_P(BothFamilies, AnotherFlowDoesNotJoin) {
  const Bytes first = datagram(GetParam(), 100, 'a');
  Bytes port = datagram(GetParam(), 100, 'a', 5001), hops = first, class_ = first;
  hops[vnet_header_bytes + (GetParam() ? 7u : 8u)] = 63;
  class_[vnet_header_bytes + 1] ^= 3;  // congestion experienced
  for (Bytes* other : {&port, &hops, &class_}) {
    UdpGro run;
    Bytes one = first;
    ASSERT_TRUE(add(run, one));
    EXPECT_FALSE(add(run, *other));
  }
}

TEST_P(BothFamilies, WhatHidesSomethingIsNothingForARun) {
  const Bytes good = datagram(GetParam(), 100, 'a');
  const std::size_t udp_at = vnet_header_bytes + (GetParam() ? 40u : 20u);
  Bytes checked = good, other_protocol = good, other_length = good,
        empty = datagram(GetParam(), 0, 'a');
  checked[0] = 0;  // its checksum is made already, and may be wrong
  other_protocol[vnet_header_bytes + (GetParam() ? 6u : 9u)] = 6;
  other_length[udp_at + 5] ^= 1;
  for (Bytes* one : {&checked, &other_protocol, &other_length, &empty}) {
    UdpGro run;
    EXPECT_FALSE(add(run, *one));
    EXPECT_TRUE(run.empty());
  }
}

TEST(UdpGro, FragmentsAndOptionsAreNothingForARun) {
  Bytes fragment = datagram(false, 100, 'a'), may_be_one = fragment, options = fragment;
  fragment[vnet_header_bytes + 6] = 0x20;
  may_be_one[vnet_header_bytes + 6] = 0;
  options[vnet_header_bytes] = 0x46;
  for (Bytes* one : {&fragment, &may_be_one, &options}) {
    UdpGro run;
    EXPECT_FALSE(add(run, *one));
  }
}

TEST_P(BothFamilies, NeitherMoreThan128NorMoreThanAPacketHolds) {
  for (const std::size_t bytes : {std::size_t{10}, std::size_t{1400}}) {
    UdpGro run;
    std::vector<Bytes> all(200, datagram(GetParam(), bytes, 'a'));
    std::size_t joined = 0;
    while (joined < all.size() && add(run, all[joined])) ++joined;
    EXPECT_EQ(joined, bytes == 10 ? 128u : 46u);
    const Bytes whole = written(run);
    EXPECT_LE(whole.size(), max_data_bytes);
    EXPECT_TRUE(parse_packet(whole.data() + vnet_header_bytes, whole.size() - vnet_header_bytes));
  }
}

}  // namespace
}  // namespace tunorch::worker
