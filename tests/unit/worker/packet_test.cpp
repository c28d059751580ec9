#include "worker/packet.hpp"

#include <gtest/gtest.h>

#include "tests/unit/worker/packets.hpp"
#include "worker/prefix_table.hpp"
#include "worker/vnet_header.hpp"

namespace tunorch::worker {
namespace {

TEST(ParsePacket, ReadsBothFamiliesAddresses) {
  const auto v4 = tcp4(100), v6 = tcp6(100);
  EXPECT_EQ(parse_packet(v4.data(), v4.size())->source, ip("10.77.0.2"));
  EXPECT_EQ(parse_packet(v4.data(), v4.size())->destination, ip("10.77.0.1"));
  EXPECT_EQ(parse_packet(v6.data(), v6.size())->source, ip("fd77::2"));
}

TEST(ParsePacket, RefusesWhatIsCutOrHasAnotherLength) {
  const auto v4 = tcp4(100), v6 = tcp6(100);
  for (std::size_t size = 0; size < v4.size(); ++size)
    EXPECT_FALSE(parse_packet(v4.data(), size)) << size;
  for (std::size_t size = 0; size < v6.size(); ++size)
    EXPECT_FALSE(parse_packet(v6.data(), size)) << size;
  auto short_header = v4;
  short_header[0] = 0x44;
  EXPECT_FALSE(parse_packet(short_header.data(), short_header.size()));
  auto version5 = v4;
  version5[0] = 0x55;
  EXPECT_FALSE(parse_packet(version5.data(), version5.size()));
}

TEST(IpAddress, KnowsWhatNoTunnelCarries) {
  for (const char* text : {"224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"})
    EXPECT_TRUE(ip(text).is_multicast()) << text;
  for (const char* text : {"10.0.0.1", "223.255.255.255", "240.0.0.1", "fe80::1"})
    EXPECT_FALSE(ip(text).is_multicast()) << text;
}

TEST(PrefixTable, TheLongestPrefixWins) {
  PrefixTable table;
  ASSERT_TRUE(table.add("10.0.0.0/8", 0));
  ASSERT_TRUE(table.add("10.77.0.0/20", 1));
  ASSERT_TRUE(table.add("10.77.0.2", 2));
  ASSERT_TRUE(table.add("fd77::/16", 3));
  EXPECT_EQ(table.find(ip("10.1.2.3")), 0);
  EXPECT_EQ(table.find(ip("10.77.15.255")), 1);
  EXPECT_EQ(table.find(ip("10.77.16.0")), 0);
  EXPECT_EQ(table.find(ip("10.77.0.2")), 2);
  EXPECT_EQ(table.find(ip("fd77:1::1")), 3);
  EXPECT_EQ(table.find(ip("fd78::1")), -1);
  EXPECT_EQ(table.find(ip("11.0.0.0")), -1);
}

TEST(PrefixTable, ADefaultRouteHoldsItsFamilyOnly) {
  PrefixTable table;
  ASSERT_TRUE(table.add("0.0.0.0/0", 5));
  EXPECT_EQ(table.find(ip("1.2.3.4")), 5);
  EXPECT_EQ(table.find(ip("::1.2.3.4")), -1);
}

TEST(PrefixTable, RefusesWhatIsNoPrefix) {
  PrefixTable table;
  for (const char* text : {"", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/8x", "a/8"})
    EXPECT_FALSE(table.add(text, 0)) << text;
}

VnetHeader gso4() {
  return {vnet::needs_csum, vnet::gso_tcpv4, 0, 1448, 20, 16};
}
VnetHeader gso6() {
  return {vnet::needs_csum, vnet::gso_tcpv6, 0, 1428, 40, 16};
}

bool accepts(VnetHeader header, const std::vector<std::uint8_t>& packet) {
  return check_vnet_header(header, packet.data(), packet.size());
}

TEST(VnetHeader, TakesPlainAndGsoPackets) {
  EXPECT_TRUE(accepts({}, tcp4(100)));
  EXPECT_TRUE(accepts({vnet::needs_csum, 0, 0, 0, 20, 16}, tcp4(100)));
  EXPECT_TRUE(accepts(gso4(), tcp4(9000)));
  EXPECT_TRUE(accepts(gso6(), tcp6(9000)));
}

TEST(VnetHeader, ComputesTheHeadersLengthItself) {
  VnetHeader header = gso4();
  header.hdr_len = 9999;
  const auto packet = tcp4(9000);
  ASSERT_TRUE(check_vnet_header(header, packet.data(), packet.size()));
  EXPECT_EQ(header.hdr_len, 40);
}

TEST(VnetHeader, DoesNotBelieveThatAChecksumIsRight) {
  VnetHeader header{vnet::data_valid, 0, 77, 77, 77, 77};
  const auto packet = tcp4(100);
  ASSERT_TRUE(check_vnet_header(header, packet.data(), packet.size()));
  EXPECT_EQ(header.flags, 0);
  EXPECT_EQ(header.csum_start + header.csum_offset + header.gso_size + header.hdr_len, 0);
}

TEST(VnetHeader, RefusesWhatIsNotTrueOfThePacket) {
  const auto packet = tcp4(9000);
  const auto refused = [&](auto change) {
    VnetHeader header = gso4();
    change(header);
    return !accepts(header, packet);
  };
  EXPECT_TRUE(refused([](VnetHeader& h) { h.flags = 0; })) << "GSO without a checksum to make";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.flags |= 4; })) << "an unknown flag";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.gso_type = vnet::gso_tcpv6; })) << "another family";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.gso_type = vnet::gso_udp_l4; })) << "it is TCP";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.gso_type = 3; })) << "UDP fragmentation";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.gso_type = vnet::gso_ecn; })) << "ECN of nothing";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.gso_size = 0; }));
  EXPECT_TRUE(refused([](VnetHeader& h) { h.csum_start = 24; })) << "not where TCP begins";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.csum_offset = 6; })) << "not TCP's checksum";
  EXPECT_TRUE(refused([](VnetHeader& h) { h.csum_start = 65535; }));
  auto udp = packet;
  udp[9] = 17;
  EXPECT_FALSE(accepts(gso4(), udp));
  auto long_tcp_header = tcp4(30);
  long_tcp_header[32] = 0xf0;
  EXPECT_FALSE(accepts(gso4(), long_tcp_header)) << "TCP's header reaches beyond the packet";
}

TEST(VnetHeader, TakesEcnAndUdpSegmentation) {
  VnetHeader ecn = gso4();
  ecn.gso_type |= vnet::gso_ecn;
  EXPECT_TRUE(accepts(ecn, tcp4(9000)));
  auto udp4 = tcp4(9000), udp6 = tcp6(9000);
  udp4[9] = udp6[6] = 17;
  VnetHeader header{vnet::needs_csum, vnet::gso_udp_l4, 9999, 1400, 20, 6};
  ASSERT_TRUE(check_vnet_header(header, udp4.data(), udp4.size()));
  EXPECT_EQ(header.hdr_len, 28);
  EXPECT_TRUE(accepts({vnet::needs_csum, vnet::gso_udp_l4, 0, 1400, 40, 6}, udp6));
  EXPECT_FALSE(accepts({vnet::needs_csum, vnet::gso_udp_l4, 0, 1400, 20, 16}, udp4))
      << "TCP's checksum";
  EXPECT_FALSE(accepts({vnet::needs_csum, vnet::gso_udp_l4, 0, 50, 20, 6}, udp4))
      << "more segments than the kernel makes";
  EXPECT_FALSE(accepts({vnet::needs_csum, vnet::gso_udp_l4, 0, 1400, 20, 6}, tcp4(9000)));
}

TEST(VnetHeader, APeerGetsOnlyWhatItCanTake) {
  const auto takes = [](std::uint8_t type, Offloads offloads) {
    const std::uint8_t header[10] = {vnet::needs_csum, type};
    return can_take(header, offloads);
  };
  const Offloads nothing, tcp{.tso = true, .ecn = false, .uso = false};
  EXPECT_TRUE(takes(vnet::gso_none, nothing));
  EXPECT_FALSE(takes(vnet::gso_tcpv4, nothing));
  EXPECT_TRUE(takes(vnet::gso_tcpv6, tcp));
  EXPECT_FALSE(takes(vnet::gso_tcpv6 | vnet::gso_ecn, tcp));
  EXPECT_FALSE(takes(vnet::gso_udp_l4, tcp));
}

TEST(VnetHeader, AChecksumFieldOutsideThePacketIsRefused) {
  EXPECT_FALSE(accepts({vnet::needs_csum, 0, 0, 0, 20, 99}, tcp4(100)));
  EXPECT_TRUE(accepts({vnet::needs_csum, 0, 0, 0, 20, 98}, tcp4(100)));
  EXPECT_FALSE(accepts({vnet::needs_csum, 0, 0, 0, 10, 16}, tcp4(100))) << "inside the IP header";
}

}  // namespace
}  // namespace tunorch::worker
