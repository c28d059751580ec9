// Nexthops, groups, rules, lookups and the monitor, in a namespace of the test's own.
#include <gmock/gmock.h>
#include <poll.h>

#include <cstdlib>
#include <set>

#include "routing/netlink_monitor.hpp"
#include "tests/unit/routing/namespace.hpp"

namespace tunorch::routing {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint32_t group_id = 700;

class NexthopTest : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    netlink_ = std::make_unique<Netlink>(our_protocol);
    for (std::uint32_t k = 0; k < 3; ++k) {
      const std::string dev = "t" + std::to_string(k);
      make_tun(*netlink_, dev);
      queues_.push_back(open_tun_queue(dev));
      set_carrier(queues_.back(), true);
      netlink_->carrier(dev);
    }
    netlink_->add_address({"lo", prefix("10.77.0.2/32")});
  }

  void add_members() {
    for (std::uint32_t k = 0; k < 3; ++k) netlink_->add_nexthop({600 + k, "t" + std::to_string(k)});
  }
  static NexthopGroup group(std::vector<GroupMember> members) {
    NexthopGroup group;
    group.id = group_id;
    group.buckets = 64;
    group.members = std::move(members);
    return group;
  }
  Route route(const std::string& dst) {
    Route route;
    route.dst = prefix(dst);
    route.metric = route.dst.v6 ? 1024 : 0;
    route.protocol = our_protocol;
    route.nexthop_id = group_id;
    return route;
  }

  std::unique_ptr<Netlink> netlink_;
  std::vector<Fd> queues_;
};

TEST_F(NexthopTest, ProbesAndLeavesNothing) {
  netlink_->add_nexthop({500, "lo"});  // left by a probe that was killed half way
  const NexthopAbilities abilities = netlink_->probe_nexthops(500);
  EXPECT_TRUE(abilities.resilient) << abilities.reason;
  EXPECT_THAT(netlink_->nexthops(), IsEmpty());
  EXPECT_THAT(netlink_->nexthop_groups(), IsEmpty());
}

TEST_F(NexthopTest, WhatWasWrittenIsReadBack) {
  add_members();
  NexthopGroup wanted = group({{602, 1}, {600, 200}});
  wanted.idle_timer = milliseconds(2000);
  wanted.unbalanced_timer = milliseconds(60000);
  netlink_->add_nexthop_group(wanted);
  EXPECT_THAT(netlink_->nexthops(), ElementsAre(NexthopObject{600, "t0"}, NexthopObject{601, "t1"},
                                                NexthopObject{602, "t2"}));
  EXPECT_THAT(netlink_->nexthop_groups(), ElementsAre(wanted)) << "members in the order given";
}

TEST_F(NexthopTest, WideWeightsWhereTheKernelHasThem) {
  if (!netlink_->probe_nexthops(500).wide_weights) return;
  add_members();
  netlink_->add_nexthop_group(group({{600, 65535}, {601, 257}}));
  EXPECT_THAT(netlink_->nexthop_groups().at(0).members,
              ElementsAre(GroupMember{600, 65535}, GroupMember{601, 257}));
}

TEST_F(NexthopTest, OneGroupServesBothFamilies) {
  add_members();
  netlink_->add_nexthop_group(group({{600, 1}, {601, 1}}));
  for (const char* dst : {"10.0.0.0/8", "fd00::/8"}) {
    netlink_->add_route(route(dst));
    const auto routes = netlink_->routes();
    const auto found = std::ranges::find(routes, prefix(dst), &Route::dst);
    ASSERT_NE(found, routes.end());
    EXPECT_EQ(*found, route(dst));
  }
}

TEST_F(NexthopTest, ARouteMovesFromNexthopsToAGroupAndBack) {
  add_members();
  netlink_->add_nexthop_group(group({{600, 1}, {601, 1}}));
  Route plain = route("10.0.0.0/8");
  plain.nexthop_id = 0;
  plain.nexthops = {{"t0", std::nullopt, 1}, {"t1", std::nullopt, 2}};
  netlink_->add_route(plain);
  netlink_->replace_route(route("10.0.0.0/8"));
  EXPECT_THAT(netlink_->routes(), testing::Contains(route("10.0.0.0/8")));
  netlink_->replace_route(plain);
  EXPECT_THAT(netlink_->routes(), testing::Contains(plain));
}

TEST_F(NexthopTest, ARoutesMtuComesAndGoes) {
  add_members();
  netlink_->add_nexthop_group(group({{600, 1}, {601, 1}}));
  for (const char* dst : {"10.77.0.1/32", "fd77::1/128"}) {
    Route wide = route(dst), narrow = wide;
    narrow.mtu = 1300;
    netlink_->add_route(wide);
    for (const Route& next : {narrow, wide, narrow, wide}) {
      netlink_->replace_route(next);
      std::vector<Route> there = netlink_->routes(254);
      std::erase_if(there, [&](const Route& one) { return one.dst != next.dst; });
      EXPECT_THAT(there, ElementsAre(next)) << dst;
    }
  }
}

TEST_F(NexthopTest, TheLastMemberTakesItsGroupAndTheRoutesAlong) {
  add_members();
  netlink_->add_nexthop_group(group({{600, 1}, {601, 1}}));
  netlink_->add_route(route("10.0.0.0/8"));
  netlink_->delete_nexthop(600);
  EXPECT_THAT(netlink_->nexthop_groups().at(0).members, SizeIs(1));
  netlink_->delete_nexthop(601);
  EXPECT_THAT(netlink_->nexthop_groups(), IsEmpty());
  EXPECT_THAT(netlink_->routes(), testing::Not(testing::Contains(route("10.0.0.0/8"))));
}

TEST_F(NexthopTest, AReplaceKeepsTheBuckets) {
  add_members();
  netlink_->add_nexthop_group(group({{600, 1}, {601, 1}}));
  NexthopGroup changed = group({{600, 1}, {601, 1}, {602, 2}});
  netlink_->replace_nexthop_group(changed);
  EXPECT_THAT(netlink_->nexthop_groups(), ElementsAre(changed));
}

TEST_F(NexthopTest, TellsWhoHasHowManyBuckets) {
  add_members();
  netlink_->add_nexthop_group(group({{600, 3}, {601, 1}}));
  const auto shares = netlink_->bucket_shares(group_id);
  ASSERT_THAT(shares, SizeIs(2));
  EXPECT_EQ(shares[0].id, 600u);
  EXPECT_EQ(shares[0].buckets, 48u);
  EXPECT_EQ(shares[1].buckets, 16u);
}

TEST_F(NexthopTest, RefusalsAreWords) {
  netlink_->add_nexthop({600, "t0"});
  const auto twice = error_of([&] { netlink_->add_nexthop({600, "t1"}); });
  EXPECT_EQ(twice.code().value(), EEXIST);
  EXPECT_THAT(twice.what(), HasSubstr("cannot add nexthop 600 dev t1"));
  EXPECT_EQ(error_of([&] { netlink_->delete_nexthop(999); }).code().value(), ENOENT);
  set_carrier(queues_[1], false);
  netlink_->carrier("t1");
  EXPECT_EQ(error_of([&] { netlink_->add_nexthop({601, "t1"}); }).code().value(), ENETDOWN);
}

TEST_F(NexthopTest, OthersAreNotOurs) {
  Netlink foreign(foreign_protocol);
  foreign.add_nexthop({600, "t0"});
  foreign.add_rule({.preference = 300, .table = 77, .from = prefix("10.1.0.0/16")});
  EXPECT_THAT(netlink_->nexthops(), IsEmpty());
  EXPECT_THAT(netlink_->rules(), IsEmpty());
}

TEST_F(NexthopTest, RulesOfEveryKindAreReadBack) {
  std::vector<Rule> rules{
      {.preference = 200, .table = 116, .from = prefix("10.1.0.0/16")},
      {.preference = 201, .fwmark = 0x74756e6f},
      {.preference = 202, .uid_first = 1000, .uid_last = 2000},
      {.preference = 203, .suppress_prefixlength = 0},
      {.v6 = true, .preference = 204, .table = 4'000'000'000, .from = prefix("fd01::/16")},
  };
  for (const Rule& rule : rules) netlink_->add_rule(rule);
  EXPECT_EQ(netlink_->rules(), rules);
  EXPECT_EQ(error_of([&] { netlink_->add_rule(rules[0]); }).code().value(), EEXIST);
  for (const Rule& rule : rules) netlink_->delete_rule(rule);
  EXPECT_THAT(netlink_->rules(), IsEmpty());
  EXPECT_EQ(error_of([&] { netlink_->delete_rule(rules[0]); }).code().value(), ENOENT);
}

TEST_F(NexthopTest, DecidesAsTheKernelDoesForEachFlow) {
  netlink_->add_address({"t0", prefix("198.18.0.1/21")});
  add_members();
  netlink_->add_nexthop_group(group({{600, 1}, {601, 1}, {602, 1}}));
  netlink_->add_route(route("10.0.0.0/8"));
  std::set<std::string> devices;
  FlowKey flow{prefix("10.77.0.2"), prefix("10.20.0.1"), 17, 0, 53, 0, ""};
  ASSERT_EQ(std::system("echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy"), 0);
  for (std::uint16_t port = 1000; port < 1100; ++port) {
    flow.source_port = port;
    const Decision decision = netlink_->decide(flow);
    ASSERT_EQ(decision.error, 0);
    ASSERT_TRUE(decision.route);
    EXPECT_EQ(decision.route->dst, prefix("10.0.0.0/8"));
    devices.insert(decision.dev);
    EXPECT_EQ(netlink_->decide(flow).dev, decision.dev);
  }
  EXPECT_THAT(devices, SizeIs(3));
  flow.destination = prefix("192.0.2.1");
  EXPECT_EQ(netlink_->decide(flow).error, ENETUNREACH);
}

TEST_F(NexthopTest, TheMonitorHearsOfWhatOthersChange) {
  NetlinkMonitor monitor;
  EXPECT_FALSE(monitor.drain());
  Netlink(foreign_protocol).add_address({"lo", prefix("192.0.2.7/32")});
  pollfd wait{monitor.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&wait, 1, 1000), 1);
  EXPECT_TRUE(monitor.drain());
  EXPECT_FALSE(monitor.drain());
}

}  // namespace
}  // namespace tunorch::routing
