// Routes, written and read back, in a namespace of the test's own (namespace.hpp).
#include <gmock/gmock.h>

#include "routing/sysctl.hpp"
#include "tests/unit/routing/namespace.hpp"

namespace tunorch::routing {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

class NetlinkRoute : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    netlink_ = std::make_unique<Netlink>(our_protocol);
    for (const char* dev : {"t0", "t1", "t2"}) make_tun(*netlink_, dev);
    netlink_->add_address({"lo", prefix("10.77.0.2/32")});
    netlink_->add_address({"lo", prefix("fd77::2/128")});
  }

  /// The routes to one prefix, whoever made them.
  std::vector<Route> to(const std::string& dst, std::uint32_t table = 254) {
    auto routes = netlink_->routes(table);
    std::erase_if(routes, [&](const Route& route) { return route.dst != prefix(dst); });
    return routes;
  }

  static Route v4(std::vector<Nexthop> nexthops, std::uint32_t metric = 0) {
    return {.dst = prefix("10.0.0.0/8"),
            .metric = metric,
            .src = prefix("10.77.0.2"),
            .nexthops = std::move(nexthops),
            .protocol = our_protocol};
  }

  static Route v6(std::vector<Nexthop> nexthops, std::uint32_t metric = 1024) {
    for (Nexthop& nexthop : nexthops) nexthop.gateway = prefix("fe80::1");
    return {.dst = prefix("fd00::/8"),
            .metric = metric,
            .src = prefix("fd77::2"),
            .nexthops = std::move(nexthops),
            .protocol = our_protocol};
  }

  static Route unreachable(const std::string& dst, std::uint32_t metric) {
    return {.dst = prefix(dst),
            .type = RouteType::unreachable,
            .metric = metric,
            .src = std::nullopt,
            .nexthops = {},
            .protocol = our_protocol};
  }

  std::unique_ptr<Netlink> netlink_;
};

std::vector<Nexthop> weighted() {
  return {{"t0", std::nullopt, 1}, {"t1", std::nullopt, 3}, {"t2", std::nullopt, 256}};
}

TEST_F(NetlinkRoute, ReadsBackAWeightedMultipathRouteAsWritten) {
  for (const Route& route : {v4(weighted()), v4(weighted(), 7), v6(weighted()), v6(weighted(), 7)})
    netlink_->add_route(route);
  EXPECT_EQ(to("10.0.0.0/8"), (std::vector{v4(weighted()), v4(weighted(), 7)}));
  EXPECT_EQ(to("fd00::/8"), (std::vector{v6(weighted(), 7), v6(weighted())}));
}

TEST_F(NetlinkRoute, SortsNexthopsByDevice) {
  std::vector<Nexthop> reversed = weighted();
  std::ranges::reverse(reversed);
  netlink_->add_route(v4(reversed));
  netlink_->add_route(v6(reversed));
  EXPECT_EQ(to("10.0.0.0/8"), std::vector{v4(weighted())});
  EXPECT_EQ(to("fd00::/8"), std::vector{v6(weighted())});
}

TEST_F(NetlinkRoute, ReadsBackASingleNexthop) {
  netlink_->add_route(v4({{"t1", std::nullopt, 1}}));
  netlink_->add_route(v6({{"t1", std::nullopt, 1}}));
  EXPECT_EQ(to("10.0.0.0/8"), std::vector{v4({{"t1", std::nullopt, 1}})});
  EXPECT_EQ(to("fd00::/8"), std::vector{v6({{"t1", std::nullopt, 1}})});
}

TEST_F(NetlinkRoute, ReadsBackAnIpv4Gateway) {
  netlink_->add_address({"t0", prefix("198.18.0.1/30")});
  const Route route = v4({{"t0", prefix("198.18.0.2"), 1}});
  netlink_->add_route(route);
  EXPECT_EQ(to("10.0.0.0/8"), std::vector{route});
}

TEST_F(NetlinkRoute, ReplacesTheWholeSetOfNexthops) {
  netlink_->add_route(v4(weighted()));
  netlink_->add_route(v6(weighted()));
  const std::vector<std::vector<Nexthop>> sets = {
      {{"t0", std::nullopt, 2}, {"t2", std::nullopt, 1}},
      {{"t1", std::nullopt, 1}},
      weighted(),
      {{"t2", std::nullopt, 1}}};
  for (const auto& set : sets) {
    netlink_->replace_route(v4(set));
    netlink_->replace_route(v6(set));
    EXPECT_EQ(to("10.0.0.0/8"), std::vector{v4(set)});
    EXPECT_EQ(to("fd00::/8"), std::vector{v6(set)});
  }
}

TEST_F(NetlinkRoute, ReplacesNexthopsByUnreachableAndBack) {
  for (const Route& route : {v4(weighted(), 5), v6(weighted(), 5)}) {
    netlink_->add_route(route);
    const Route closed = unreachable(route.dst.text(), 5);
    netlink_->replace_route(closed);
    EXPECT_EQ(to(route.dst.text()), std::vector{closed});
    netlink_->replace_route(route);
    EXPECT_EQ(to(route.dst.text()), std::vector{route});
  }
}

TEST_F(NetlinkRoute, MakesARouteThatTheKernelDroppedMeanwhile) {
  netlink_->replace_route(v4(weighted()));
  netlink_->replace_route(v6(weighted()));
  EXPECT_EQ(to("10.0.0.0/8"), std::vector{v4(weighted())});
  EXPECT_EQ(to("fd00::/8"), std::vector{v6(weighted())});
}

TEST_F(NetlinkRoute, ListsDeadMembersToo) {
  for (const char* dev : {"t0", "t1", "t2"})
    for (const char* family : {"ipv4", "ipv6"})
      write_sysctl(
          {std::string("net.") + family + ".conf." + dev + ".ignore_routes_with_linkdown", "1"});
  ASSERT_FALSE(link(*netlink_, "t0").carrier);
  netlink_->add_route(v4(weighted()));
  netlink_->add_route(v6(weighted()));
  EXPECT_EQ(to("10.0.0.0/8"), std::vector{v4(weighted())});
  EXPECT_EQ(to("fd00::/8"), std::vector{v6(weighted())});
}

TEST_F(NetlinkRoute, RefusesAForeignRouteAndNamesIt) {
  Netlink foreign(foreign_protocol);
  for (const bool is_v6 : {false, true}) {
    const std::vector<Nexthop> theirs = {{"t2", std::nullopt, 1}};
    foreign.add_route(is_v6 ? v6(theirs, 9) : v4(theirs, 9));
    const Route ours = is_v6 ? v6(weighted(), 9) : v4(weighted(), 9);
    const auto before = netlink_->routes();

    const auto error = error_of([&] { netlink_->add_route(ours); });
    EXPECT_EQ(error.code(), std::errc::file_exists);
    EXPECT_THAT(error.what(), HasSubstr("cannot add route " + ours.text()));
    EXPECT_THAT(error.what(), HasSubstr("dev t2 src"));
    EXPECT_THAT(error.what(), HasSubstr("metric 9 proto 4"));
    EXPECT_THAT(error.what(), HasSubstr("File exists"));
    EXPECT_EQ(netlink_->routes(), before);
  }
}

TEST_F(NetlinkRoute, StandsBesideAForeignRouteOfAnotherMetric) {
  Netlink(foreign_protocol).add_route(v4({{"t2", std::nullopt, 1}}, 9));
  netlink_->add_route(v4(weighted(), 8));
  ASSERT_EQ(to("10.0.0.0/8").size(), 2U);
  EXPECT_EQ(to("10.0.0.0/8")[0].protocol, our_protocol);
  EXPECT_EQ(to("10.0.0.0/8")[1].protocol, foreign_protocol);
}

TEST_F(NetlinkRoute, DeletesOnlyOurOwn) {
  for (const Route& route : {v4(weighted(), 9), v6(weighted(), 9), v4(weighted()),
                             unreachable("192.0.2.0/24", 9), unreachable("2001:db8::/32", 9)}) {
    Netlink(foreign_protocol).add_route(route);
    const auto before = netlink_->routes();
    EXPECT_EQ(error_of([&] { netlink_->delete_route(route); }).code(), std::errc::no_such_process);
    EXPECT_EQ(netlink_->routes(), before);

    Netlink(foreign_protocol).delete_route(route);
    netlink_->add_route(route);
    netlink_->delete_route(route);
    EXPECT_THAT(to(route.dst.text()), Not(Contains(route)));
  }
}

TEST_F(NetlinkRoute, DoesNotTakeMetricZeroForAnyMetric) {
  for (const bool is_v6 : {false, true}) {
    const Route there = is_v6 ? v6(weighted(), 5) : v4(weighted(), 5);
    netlink_->add_route(there);
    Route other = there;
    other.metric = 0;
    EXPECT_EQ(error_of([&] { netlink_->delete_route(other); }).code(), std::errc::no_such_process);
    EXPECT_EQ(to(there.dst.text()), std::vector{there});
  }
}

TEST_F(NetlinkRoute, KeepsAnUnreachableFallbackUnderTheRoute) {
  for (const Route& route : {v4(weighted()), v6(weighted())}) {
    const Route fallback = unreachable(route.dst.text(), 4278198272);  // beyond all others
    netlink_->add_route(fallback);
    netlink_->add_route(route);
    EXPECT_EQ(to(route.dst.text()), (std::vector{route, fallback}));
    netlink_->delete_route(route);
    EXPECT_EQ(to(route.dst.text()), std::vector{fallback});
  }
}

TEST_F(NetlinkRoute, KeepsTablesApart) {
  Route route = v4(weighted());
  route.dst = prefix("0.0.0.0/0");
  route.table = 116;
  EXPECT_TRUE(netlink_->routes(116).empty());
  netlink_->add_route(route);
  EXPECT_EQ(netlink_->routes(116), std::vector{route});
  EXPECT_TRUE(to("0.0.0.0/0").empty());

  Route big = route;
  big.table = 100000;  // needs RTA_TABLE: rtm_table has eight bits
  netlink_->add_route(big);
  EXPECT_EQ(netlink_->routes(100000), std::vector{big});
}

TEST_F(NetlinkRoute, ReadsBackDefaultRoutes) {
  Route route = v6(weighted());
  route.dst = prefix("::/0");
  netlink_->add_route(route);
  EXPECT_EQ(to("::/0"), std::vector{route});
}

TEST_F(NetlinkRoute, SaysWhatTheKernelSays) {
  Route route = v6(weighted());
  for (Nexthop& nexthop : route.nexthops) nexthop.gateway.reset();
  EXPECT_THAT(error_of([&] { netlink_->add_route(route); }).what(),
              HasSubstr("Device only routes can not be added for IPv6 using the multipath API"));
  const auto error = error_of([&] { netlink_->add_route(v4({{"gone", std::nullopt, 1}})); });
  EXPECT_EQ(error.code(), std::errc::no_such_device);
  EXPECT_THAT(error.what(), HasSubstr("gone"));
}

TEST_F(NetlinkRoute, RefusesWeightsThatTheKernelCannotHold) {
  for (const unsigned weight : {0U, 257U})
    EXPECT_EQ(error_of([&] {
                netlink_->add_route(v4({{"t0", std::nullopt, weight}}));
              }).code(),
              std::errc::invalid_argument);
}

TEST_F(NetlinkRoute, FindsTheDeviceOfALearnedDefaultRoute) {
  EXPECT_TRUE(netlink_->ra_default_devices().empty());
  Route learned = v6({{"t1", std::nullopt, 1}});
  learned.dst = prefix("::/0");
  Netlink(9).add_route(learned);  // RTPROT_RA
  Route own = v6({{"t2", std::nullopt, 1}}, 2000);
  own.dst = prefix("::/0");
  netlink_->add_route(own);
  EXPECT_EQ(netlink_->ra_default_devices(), std::vector<std::string>{"t1"});
}

TEST_F(NetlinkRoute, ListsMoreRoutesThanOneMessageHolds) {
  Route route = v4(weighted());
  for (int i = 0; i < 1500; ++i) {
    route.dst = prefix("10." + std::to_string(i / 250) + '.' + std::to_string(i % 250) + ".0/24");
    netlink_->add_route(route);
  }
  const auto routes = netlink_->routes();
  EXPECT_EQ(std::ranges::count(routes, our_protocol, &Route::protocol), 1500);
  EXPECT_TRUE(std::ranges::is_sorted(routes, {}, &Route::dst));
}

}  // namespace
}  // namespace tunorch::routing
