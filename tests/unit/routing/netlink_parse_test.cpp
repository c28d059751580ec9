// Netlink messages that are not whole: they are nothing, not whatever lies behind them.
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <cstring>
#include <limits>

#include "routing/netlink_link.hpp"
#include "routing/netlink_nexthop.hpp"
#include "routing/netlink_route.hpp"
#include "routing/netlink_rule.hpp"

namespace tunorch::routing {
namespace {

constexpr std::uint8_t our_protocol = 116;

template <class Header>
Message message_with(int type, const Header& header, int attribute, const void* bytes, int size) {
  Message message = make_message(type, 0, header);
  nla_put(message.get(), attribute, size, bytes);
  return message;
}

TEST(NetlinkParse, ReadsAWholeLink) {
  const std::uint32_t mtu = 1400;
  const Message message = message_with(RTM_NEWLINK, ifinfomsg{}, IFLA_MTU, &mtu, sizeof mtu);
  EXPECT_EQ(parse_link(nlmsg_hdr(message.get()))->mtu, 1400u);
}

TEST(NetlinkParse, TakesNoNumberThatIsTooShort) {
  const std::uint16_t half = 7;
  for (const int attribute : {IFLA_MTU, IFLA_TXQLEN}) {
    const Message link = message_with(RTM_NEWLINK, ifinfomsg{}, attribute, &half, sizeof half);
    EXPECT_FALSE(parse_link(nlmsg_hdr(link.get())));
  }
  nhmsg nexthop{};
  nexthop.nh_protocol = our_protocol;
  const Message object = message_with(RTM_NEWNEXTHOP, nexthop, NHA_ID, &half, sizeof half);
  EXPECT_FALSE(parse_nexthop(nlmsg_hdr(object.get()), our_protocol));
  EXPECT_FALSE(parse_group(nlmsg_hdr(object.get()), our_protocol));
  const Message device = message_with(RTM_NEWROUTE, rtmsg{}, RTA_OIF, &half, sizeof half);
  EXPECT_FALSE(parse_device(nlmsg_hdr(device.get())));
}

TEST(NetlinkParse, TakesNoTextWithoutAnEnd) {
  const Message message = message_with(RTM_NEWLINK, ifinfomsg{}, IFLA_IFALIAS, "endless", 7);
  EXPECT_FALSE(parse_link(nlmsg_hdr(message.get())));
  const Message whole = message_with(RTM_NEWLINK, ifinfomsg{}, IFLA_IFALIAS, "alias", 6);
  EXPECT_EQ(parse_link(nlmsg_hdr(whole.get()))->alias, "alias");
}

TEST(NetlinkParse, TakesNoAddressOfAnotherLength) {
  ifaddrmsg info{};
  info.ifa_family = AF_INET6;
  info.ifa_prefixlen = 64;
  const std::uint8_t bytes[16]{};
  const Message shortened = message_with(RTM_NEWADDR, info, IFA_LOCAL, bytes, 4);
  EXPECT_FALSE(parse_address(nlmsg_hdr(shortened.get())));
  const Message whole = message_with(RTM_NEWADDR, info, IFA_LOCAL, bytes, 16);
  EXPECT_TRUE(parse_address(nlmsg_hdr(whole.get())));
  info.ifa_prefixlen = 129;
  const Message too_long = message_with(RTM_NEWADDR, info, IFA_LOCAL, bytes, 16);
  EXPECT_FALSE(parse_address(nlmsg_hdr(too_long.get())));
}

TEST(NetlinkParse, TakesNoRouteToAPrefixThatCannotBe) {
  rtmsg info{};
  info.rtm_type = RTN_UNICAST;
  info.rtm_table = RT_TABLE_MAIN;
  info.rtm_family = AF_INET;
  info.rtm_dst_len = 24;
  const std::uint8_t bytes[16]{10, 77};
  const auto route = [&](int size) {
    const Message message = message_with(RTM_NEWROUTE, info, RTA_DST, bytes, size);
    return parse_route(nlmsg_hdr(message.get()), RT_TABLE_MAIN);
  };
  EXPECT_EQ(route(4)->dst, *Prefix::parse("10.77.0.0/24"));
  EXPECT_FALSE(route(16)) << "an IPv4 address of 16 bytes";
  info.rtm_dst_len = 33;
  EXPECT_FALSE(route(4)) << "a prefix of 33 bits";
  info.rtm_dst_len = 24;
  info.rtm_family = AF_UNSPEC;
  EXPECT_FALSE(route(4)) << "of no family";
}

TEST(NetlinkParse, TakesNoNexthopOfNoLength) {
  rtmsg info{};
  info.rtm_type = RTN_UNICAST;
  info.rtm_table = RT_TABLE_MAIN;
  info.rtm_family = AF_INET;
  rtnexthop nexthop{};
  for (const unsigned length : {0u, 7u, 9u, 8u}) {
    nexthop.rtnh_len = static_cast<unsigned short>(length);
    const Message message =
        message_with(RTM_NEWROUTE, info, RTA_MULTIPATH, &nexthop, sizeof nexthop);
    EXPECT_EQ(parse_route(nlmsg_hdr(message.get()), RT_TABLE_MAIN).has_value(), length == 8)
        << length;
  }
}

TEST(NetlinkParse, TakesNoGatewayAndNoMetricWithoutRoomForOne) {
  rtmsg info{};
  info.rtm_type = RTN_UNICAST;
  info.rtm_table = RT_TABLE_MAIN;
  info.rtm_family = AF_INET;
  const std::uint8_t via[6]{AF_INET, 0, 10, 66, 0, 1};
  for (const int size : {1, 2, 5, 6}) {
    const Message message = message_with(RTM_NEWROUTE, info, RTA_VIA, via, size);
    EXPECT_EQ(parse_route(nlmsg_hdr(message.get()), RT_TABLE_MAIN).has_value(), size == 6) << size;
  }
  for (const int size : {0, 3, 4}) {
    const Message message = make_message(RTM_NEWROUTE, 0, info);
    nlattr* metrics = nla_nest_start(message.get(), RTA_METRICS);
    nla_put(message.get(), RTAX_MTU, size, via);
    nla_nest_end(message.get(), metrics);
    EXPECT_EQ(parse_route(nlmsg_hdr(message.get()), RT_TABLE_MAIN).has_value(), size == 4) << size;
  }
}

TEST(NetlinkParse, HasAnErrorForEveryVerdict) {
  nlmsgerr verdict{};
  verdict.error = std::numeric_limits<int>::min();
  const Message message = make_message(NLMSG_ERROR, 0, verdict);
  Answer answer;
  read_verdict(nlmsg_hdr(message.get()), answer);
  EXPECT_EQ(answer.error, EBADMSG);
}

}  // namespace
}  // namespace tunorch::routing
