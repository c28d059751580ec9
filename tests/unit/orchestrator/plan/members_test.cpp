#include "orchestrator/plan/members.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tunorch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class MembersTest : public testing::Test {
 protected:
  MembersTest() {
    for (const char* name : {"a", "b", "c", "d"}) {
      group.members.push_back({name, 1, 100});
      health[name] = {Health::up, true};
      installed.insert(name);
    }
    group.min_live = 1;
  }
  std::vector<Member> choose() const { return choose_members(group, health, installed, limits); }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Member& member : choose()) all.push_back(member.tunnel);
    return all;
  }
  /// The share of the buckets that the kernel gives a member (net/ipv4/nexthop.c,
  /// nh_res_group_rebalance: rounded to the nearest, summed up).
  std::map<std::string, std::uint64_t> buckets() const {
    const auto members = choose();
    std::uint64_t total = 0, sum = 0, before = 0;
    for (const Member& member : members) total += member.weight;
    std::map<std::string, std::uint64_t> given;
    for (const Member& member : members) {
      sum += member.weight;
      const std::uint64_t upper = (limits.buckets * sum + total / 2) / total;
      given[member.tunnel] = upper - before;
      before = upper;
    }
    return given;
  }

  DesiredGroup group;
  std::map<std::string, TunnelHealth> health;
  std::set<std::string> installed;
  WeightLimits limits{65535, 256};
};

TEST_F(MembersTest, KeepsTheWeightsOfTheFile) {
  group.members[0].weight = 4;
  EXPECT_THAT(choose(),
              ElementsAre(Member{"a", 4}, Member{"b", 1}, Member{"c", 1}, Member{"d", 1}));
}

TEST_F(MembersTest, ALowerTierCarriesOnlyWhileTooFewAboveItLive) {
  group.members[2].priority = group.members[3].priority = 50;
  installed = {"a", "b"};
  group.min_live = 2;
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  health["a"] = {Health::down, false};
  EXPECT_THAT(names(), ElementsAre("b", "c", "d"));
}

TEST_F(MembersTest, AReturningTierWaitsForItsFailback) {
  group.members[2].priority = group.members[3].priority = 50;
  installed = {"c", "d"};
  health["a"].may_fail_back = health["b"].may_fail_back = false;
  EXPECT_THAT(names(), ElementsAre("c", "d"));
  health["a"].may_fail_back = true;
  EXPECT_THAT(names(), ElementsAre("a"));
  health["c"] = health["d"] = {Health::down, false};
  installed.clear();
  health["a"].may_fail_back = false;
  EXPECT_THAT(names(), ElementsAre("a", "b")) << "nothing below it carries: no reason to wait";
}

TEST_F(MembersTest, ADrainingMemberKeepsItsBusyBucketsAndEarnsNone) {
  health["b"].drain = Drain::draining;
  EXPECT_THAT(names(), ElementsAre("a", "c", "d", "b"));
  EXPECT_EQ(buckets().at("b"), 0u);
  EXPECT_NEAR(static_cast<double>(buckets().at("a")), 85, 1);
  health["b"].drain = Drain::done;
  EXPECT_THAT(names(), ElementsAre("a", "c", "d"));
}

TEST_F(MembersTest, WithNarrowWeightsAndThreeOthersADrainingMemberStillEarnsNone) {
  limits.highest = 256;
  health["b"].drain = Drain::draining;
  EXPECT_EQ(buckets().at("b"), 0u);
}

TEST_F(MembersTest, WithoutBucketsADrainingMemberLeavesAtOnce) {
  limits = {256, 0};
  health["b"].drain = Drain::draining;
  EXPECT_THAT(choose(), ElementsAre(Member{"a", 1}, Member{"c", 1}, Member{"d", 1}));
}

TEST_F(MembersTest, TheLastTunnelCarriesWhateverItsDrainSays) {
  health["b"].drain = Drain::done;
  for (const char* name : {"a", "c", "d"}) health[name] = {Health::down, false};
  EXPECT_THAT(names(), ElementsAre("b"));
}

TEST_F(MembersTest, AReturningMemberStartsWithAPartOfItsWeight) {
  installed.erase("d");
  health["d"].share = 25;
  EXPECT_THAT(choose(),
              ElementsAre(Member{"a", 4}, Member{"b", 4}, Member{"c", 4}, Member{"d", 1}));
}

TEST_F(MembersTest, SickOnesFillUpToMinLive) {
  for (const char* name : {"a", "b", "c"}) health[name] = {Health::down, true};
  group.min_live = 2;
  EXPECT_THAT(names(), ElementsAre("a", "d"));
  health["d"] = {Health::down, false};
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  for (const char* name : {"a", "b", "c"}) health[name] = {Health::down, false};
  EXPECT_THAT(choose(), IsEmpty());
}

}  // namespace
}  // namespace tunorch
