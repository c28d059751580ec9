#include "routing/route.hpp"

#include <gtest/gtest.h>

namespace tunorch::routing {
namespace {

Route route_to(const char* dst) {
  Route route;
  route.dst = Prefix::parse(dst).value();
  return route;
}

TEST(RouteText, ShowsOneNexthopBesideThePrefix) {
  Route route = route_to("10.0.0.0/8");
  route.nexthops = {{"a-0", std::nullopt, 1}};
  EXPECT_EQ(route.text(), "10.0.0.0/8 dev a-0");
  route.nexthops.front().gateway = Prefix::parse("192.0.2.1");
  EXPECT_EQ(route.text(), "10.0.0.0/8 via 192.0.2.1 dev a-0");
}

TEST(RouteText, ShowsSeveralNexthopsWithTheirWeights) {
  Route route = route_to("fd00::/8");
  route.src = Prefix::parse("fd77::2");
  route.metric = 5;
  route.nexthops = {{"a-0", Prefix::parse("fe80::1"), 3}, {"a-1", Prefix::parse("fe80::2"), 1}};
  EXPECT_EQ(route.text(),
            "fd00::/8 src fd77::2 metric 5 nexthop via fe80::1 dev a-0 weight 3 "
            "nexthop via fe80::2 dev a-1 weight 1");
}

TEST(RouteText, NamesTheTableUnlessItIsMain) {
  Route route = route_to("0.0.0.0/0");
  route.type = RouteType::unreachable;
  route.table = 116;
  route.metric = 4096;
  EXPECT_EQ(route.text(), "unreachable 0.0.0.0/0 table 116 metric 4096");
}

}  // namespace
}  // namespace tunorch::routing
