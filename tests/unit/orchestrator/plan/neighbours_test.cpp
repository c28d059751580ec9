// What a plan does about others' objects: it names them, and leaves out the steps they hold up.
#include "orchestrator/plan/neighbours.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class NeighboursTest : public testing::Test {
 protected:
  NeighboursTest() {
    routing::Link lo, wan;
    lo.name = "lo";
    lo.admin_up = true;
    wan.name = "eth0";
    observed.links = {lo, wan};
    for (const std::string& key : sysctl_keys(desired, {})) observed.sysctls[key] = {"0", true, {}};
  }

  std::vector<std::string> steps() const {
    std::vector<std::string> all;
    for (const Step& step : make_plan(desired, observed, {}).steps) all.push_back(describe(step));
    return all;
  }
  std::vector<std::string> notes() const {
    return neighbour_notes(desired, observed, desired.rules);
  }

  Desired desired = desired_for(sample_cluster(), "edge");
  Observed observed;
};

TEST_F(NeighboursTest, ATakenNameHoldsUpItsOwnTunnelOnly) {
  observed.links[1].alt_names = {"backbone-2"};
  EXPECT_THAT(make_plan(desired, observed, {}).conflicts,
              ElementsAre(AllOf(HasSubstr("backbone-2"), HasSubstr("property del dev eth0"))));
  EXPECT_THAT(steps(), Not(Contains(HasSubstr("backbone-2"))));
  for (const char* step : {"+ tun backbone-1", "+ worker backbone-1", "address on backbone-1"})
    EXPECT_THAT(steps(), Contains(HasSubstr(step)));
}

TEST_F(NeighboursTest, AForeignRouteHoldsUpItsOwnPlaceOnly) {
  routing::Route theirs;
  theirs.dst = prefix("10.77.0.1");
  theirs.metric = 4000000116;
  observed.foreign_routes.push_back(theirs);
  EXPECT_THAT(steps(), Not(Contains(HasSubstr("unreachable 10.77.0.1/32"))));
  EXPECT_THAT(steps(), Contains(HasSubstr("+ worker backbone-0")));
}

TEST_F(NeighboursTest, WithoutIpv6NothingOfItIsMade) {
  observed.sysctls[lo_ipv6_off].value = "1";
  EXPECT_THAT(make_plan(desired, observed, {}).conflicts,
              ElementsAre(HasSubstr("IPv6 is turned off on lo")));
  EXPECT_THAT(steps(), Not(Contains(HasSubstr("fd77::"))));
  EXPECT_THAT(steps(), Contains(HasSubstr("10.77.0.2/32")));
  observed.sysctls[lo_ipv6_off].value.reset();
  EXPECT_THAT(make_plan(desired, observed, {}).conflicts,
              ElementsAre(HasSubstr("this kernel has no IPv6")));
}

TEST_F(NeighboursTest, NamesARuleThatAnswersBeforeOurRoute) {
  routing::OtherRule rule;
  rule.preference = 100;
  rule.table = 100;
  rule.to = prefix("10.77.0.0/16");
  observed.other_rules = {rule};
  EXPECT_THAT(notes(), IsEmpty()) << "its table has nothing that answers";
  routing::Route theirs;
  theirs.dst = prefix("10.77.0.0/24");
  theirs.table = 100;
  observed.foreign_routes = {theirs};
  EXPECT_THAT(notes(), ElementsAre(AllOf(HasSubstr("pref 100"), HasSubstr("10.77.0.1/32"))));
  observed.other_rules[0].preference = 32766;
  EXPECT_THAT(notes(), IsEmpty()) << "main was asked first";
  observed.other_rules[0].preference = 100;
  observed.other_rules[0].narrow = true;
  EXPECT_THAT(notes(), IsEmpty()) << "for some packets only";
  observed.other_rules[0].narrow = false;
  observed.other_rules[0].to = prefix("10.78.0.0/16");
  EXPECT_THAT(notes(), IsEmpty()) << "to somewhere else";
}

}  // namespace
}  // namespace tunorch
