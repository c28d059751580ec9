#include "orchestrator/plan/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/bare_machine.hpp"
#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

std::vector<std::string> texts(const std::vector<Step>& steps) {
  std::vector<std::string> all;
  for (const Step& step : steps) all.push_back(describe(step));
  return all;
}

void perform_all(Observed& observed, const std::vector<Step>& steps) {
  for (const Step& step : steps) record(observed, step);
}

/// Everything holds with nexthop groups (true) and with multipath routes (false).
class PlanTest : public testing::TestWithParam<bool> {
 protected:
  PlanTest() { observed.abilities = {GetParam(), true, true, "not here"}; }
  void apply() { perform_all(observed, make_plan(desired, observed, health).steps); }
  void apply_healthy() {
    apply();
    for (auto& [tunnel, worker] : observed.workers) worker.state = WorkerState::running;
    for (routing::Link& link : observed.links) link.carrier = true;
    health = all_up(desired);
    apply();
  }
  void set(const std::string& tunnel, Health state, bool connected) {
    health["gateway"][tunnel] = {state, connected};
  }
  std::vector<std::string> members(const char* dst = "10.77.0.1") const {
    std::vector<std::string> devices;
    for (const routing::Route& route : observed.multipath.routes) {
      if (route.dst != prefix(dst) || route.type != routing::RouteType::unicast) continue;
      for (const auto& nexthop : route.nexthops) devices.push_back(nexthop.dev);
      for (const auto& [tunnel, weight] : group_weights(route.nexthop_id))
        devices.push_back(tunnel);
    }
    return devices;
  }
  std::map<std::string, unsigned> group_weights(std::uint32_t id) const {
    std::map<std::string, unsigned> weights;
    for (const auto& group : observed.multipath.groups)
      for (const auto& member : group.members)
        for (const auto& nexthop : observed.multipath.nexthops)
          if (group.id == id && nexthop.id == member.id) weights[nexthop.dev] = member.weight;
    return weights;
  }

  Desired desired = desired_for(sample_cluster(), "edge");
  Observed observed = bare_machine(desired);
  HealthTable health;
};

TEST_P(PlanTest, OrdersSettingsDevicesAddressesWorkersRoutes) {
  std::vector<std::size_t> kinds;
  for (const Step& step : make_plan(desired, observed, health).steps) {
    const auto* setting = std::get_if<SysctlStep>(&step);
    // A device's own settings follow the device.
    kinds.push_back(setting && !setting->after->device.empty() ? 1 : step.index());
  }
  EXPECT_THAT(kinds, Contains(0u));
  EXPECT_TRUE(std::ranges::is_sorted(kinds));
}

TEST_P(PlanTest, FallbackRoutesComeBeforeAnyTunnelIsHealthy) {
  apply();
  EXPECT_THAT(observed.multipath.routes, SizeIs(3));
  for (const auto& route : observed.multipath.routes)
    EXPECT_EQ(route.type, routing::RouteType::unreachable);
}

TEST_P(PlanTest, ASecondPlanIsEmpty) {
  apply();
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps), IsEmpty());
  apply_healthy();
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps), IsEmpty());
}

TEST_P(PlanTest, ADownTunnelLeavesEveryRouteAndComesBack) {
  apply_healthy();
  set("backbone-1", Health::down, false);
  apply();
  for (const char* dst : {"10.77.0.1", "fd77::1", "10.20.0.0/16"})
    EXPECT_THAT(members(dst), ElementsAre("backbone-0", "backbone-2", "backbone-3"));
  set("backbone-1", Health::up, true);
  apply();
  EXPECT_THAT(members(), ElementsAre("backbone-0", "backbone-1", "backbone-2", "backbone-3"));
}

TEST_P(PlanTest, AnUnknownTunnelIsOutAtAColdStartAndUnchangedAfterAdoption) {
  apply();
  set("backbone-1", Health::unknown, true);
  apply();
  EXPECT_THAT(members(), IsEmpty());
  apply_healthy();
  set("backbone-1", Health::unknown, true);
  apply();
  EXPECT_THAT(members(), SizeIs(4));
}

TEST_P(PlanTest, ProbesAloneDoNotUndercutMinLive) {
  for (DesiredGroup& group : desired.groups) group.min_live = 2;
  apply_healthy();
  for (const char* tunnel : {"backbone-0", "backbone-1", "backbone-2", "backbone-3"})
    set(tunnel, Health::down, true);
  apply();
  EXPECT_THAT(members(), SizeIs(2));
}

TEST_P(PlanTest, ALostSessionLeavesTheRouteWhateverMinLiveSays) {
  apply_healthy();
  for (const char* tunnel : {"backbone-0", "backbone-1", "backbone-2", "backbone-3"})
    set(tunnel, Health::down, false);
  apply();
  EXPECT_THAT(members(), IsEmpty());
  EXPECT_THAT(observed.multipath.routes, SizeIs(3)) << "the unreachable routes stay";
}

TEST_P(PlanTest, WithdrawLeavesNoFallback) {
  for (DesiredRoute& route : desired.routes) route.fallback = false;
  apply();
  EXPECT_THAT(observed.multipath.routes, IsEmpty());
}

TEST_P(PlanTest, DownUndoesExactlyWhatApplyDid) {
  const Observed before = observed;
  apply_healthy();
  perform_all(observed, make_plan(Desired{}, observed, {}).steps);
  EXPECT_EQ(observed.links.size(), before.links.size());
  EXPECT_THAT(observed.multipath.routes, IsEmpty());
  EXPECT_THAT(observed.addresses, IsEmpty());
  EXPECT_THAT(observed.workers, IsEmpty());
  EXPECT_THAT(observed.journal, IsEmpty());
  for (const auto& [key, setting] : before.sysctls)
    EXPECT_EQ(observed.sysctls[key].value, setting.value) << key;
}

TEST_P(PlanTest, RestoresWhatAWriteFannedOutTo) {
  observed.sysctls["net.ipv4.ip_forward"].fan_out = {{"net.ipv4.conf.eth0.forwarding", "1"}};
  apply();
  std::vector<routing::Sysctl> put_back;
  for (const Step& step : make_plan(Desired{}, observed, {}).steps)
    if (const auto* setting = std::get_if<SysctlStep>(&step))
      for (const auto& other : setting->after->fan_out) put_back.push_back(other);
  EXPECT_THAT(put_back, ElementsAre(routing::Sysctl{"net.ipv4.conf.eth0.forwarding", "1"}));
}

TEST_P(PlanTest, InversesInReverseUndoAPlan) {
  const Observed before = observed;
  std::vector<Step> steps = make_plan(desired, observed, health).steps;
  perform_all(observed, steps);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) record(observed, inverse(*step));
  EXPECT_EQ(texts(make_plan(desired, observed, health).steps),
            texts(make_plan(desired, before, health).steps));
  EXPECT_THAT(observed.journal, IsEmpty());
}

TEST_P(PlanTest, AChangedMtuTouchesOnlyTheDevices) {
  apply_healthy();
  for (DesiredTunnel& tunnel : desired.tunnels) tunnel.tun.mtu = 1400;
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps),
              testing::AllOf(SizeIs(4), testing::Each(StartsWith("~ tun backbone-"))));
}

TEST_P(PlanTest, AChangedWeightTouchesOnlyTheRoutes) {
  apply_healthy();
  desired.groups[0].members[2].weight = 5;
  const auto steps = texts(make_plan(desired, observed, health).steps);
  if (GetParam())
    EXPECT_THAT(steps, ElementsAre(StartsWith("~ nexthop group")));
  else
    EXPECT_THAT(steps, AllOf(SizeIs(3), testing::Each(StartsWith("~ route"))));
}

TEST_P(PlanTest, AnAddedTunnelLeavesTheOthersAlone) {
  apply_healthy();
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels.push_back({4, 1, "", 100, 18});
  desired = desired_for(cluster, "edge");
  for (const std::string& text : texts(make_plan(desired, observed, health).steps))
    EXPECT_THAT(text, HasSubstr("backbone-4"));
}

TEST_P(PlanTest, ARemovedTunnelLeavesTheRoutesBeforeItsDeviceGoes) {
  apply_healthy();
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels.pop_back();
  desired = desired_for(cluster, "edge");
  const auto steps = texts(make_plan(desired, observed, health).steps);
  const auto route = std::ranges::find_if(
      steps, [](auto& t) { return t.starts_with("~ route") || t.starts_with("~ nexthop group"); });
  const auto tun = std::ranges::find(steps, "- tun backbone-3: mtu 1500 txqueuelen 500");
  ASSERT_NE(tun, steps.end());
  EXPECT_LT(route, tun);
}

TEST_P(PlanTest, WorkersInBackoffOrQuarantineAreNotStarted) {
  apply_healthy();
  observed.workers["backbone-0"].state = WorkerState::backoff;
  observed.workers["backbone-1"].state = WorkerState::quarantined;
  observed.workers["backbone-2"].state = WorkerState::stopping;
  observed.workers["backbone-3"].state = WorkerState::stopped;
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps),
              ElementsAre(StartsWith("+ worker backbone-3")));
}

TEST_P(PlanTest, AnotherEngineTakesAnotherDeviceWhenTheOldProcessHasEnded) {
  apply_healthy();
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels[1].engine = Engine::openvpn;
  desired = desired_for(cluster, "edge");
  for (DesiredTunnel& tunnel : desired.tunnels)
    if (tunnel.engine != Engine::native) tunnel.spec.digest = "other";
  observed.workers["backbone-1"].digest = "one";
  health["gateway"]["backbone-1"] = {Health::up, true};
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps),
              ElementsAre(AllOf(StartsWith("~ worker backbone-1"), HasSubstr("openvpn dialing"))));
  // Its worker has stopped: the device goes, and comes back as one queue, with all that was on it.
  observed.workers["backbone-1"] = {};
  set("backbone-1", Health::down, false);
  const std::vector<std::string> steps = texts(make_plan(desired, observed, health).steps);
  EXPECT_THAT(steps, testing::Contains(StartsWith("- tun backbone-1")));
  EXPECT_THAT(steps, testing::Contains(StartsWith("+ tun backbone-1")));
  EXPECT_THAT(steps, testing::Contains(StartsWith("+ address on backbone-1")));
  EXPECT_THAT(steps, testing::Contains(StartsWith("+ worker backbone-1: openvpn")));
  for (const std::string& text : steps)
    EXPECT_TRUE(text.find("route") != text.npos || text.find("backbone-2") == text.npos) << text;
  perform_all(observed, make_plan(desired, observed, health).steps);
  EXPECT_TRUE(make_plan(desired, observed, health).empty());
}

TEST_P(PlanTest, RoutesCarryTheSmallestMtu) {
  apply_healthy();
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels[1].mtu = 1420;
  desired = desired_for(cluster, "edge");
  const auto mtus = [&] {
    std::set<unsigned> all;
    perform_all(observed, make_plan(desired, observed, health).steps);
    for (const routing::Route& route : observed.multipath.routes)
      if (route.type == routing::RouteType::unicast) all.insert(route.mtu);
    return all;
  };
  EXPECT_THAT(mtus(), ElementsAre(1420U));
  health["gateway"]["backbone-2"].mtu = 1300;  // a path turned out to be narrow
  EXPECT_THAT(mtus(), ElementsAre(1300U));
  health["gateway"]["backbone-2"].mtu = 1236;  // IPv6 has no less than 1280
  EXPECT_THAT(mtus(), ElementsAre(1236U, 1280U));
  set("backbone-2", Health::down, false);  // who does not carry does not count
  EXPECT_THAT(mtus(), ElementsAre(1420U));
}

TEST_P(PlanTest, NamesAForeignDeviceInTheWay) {
  routing::Link link;
  link.name = "backbone-2";
  observed.links.push_back(link);
  EXPECT_THAT(make_plan(desired, observed, health).conflicts,
              ElementsAre(AllOf(HasSubstr("backbone-2"), HasSubstr("not ours"))));
}

TEST_P(PlanTest, NamesAForeignRouteInTheWay) {
  routing::Route route;
  route.dst = prefix("10.77.0.1");
  route.protocol = 3;
  route.nexthops = {{"eth0", std::nullopt, 1}};
  observed.foreign_routes.push_back(route);
  EXPECT_THAT(make_plan(desired, observed, health).conflicts,
              ElementsAre(AllOf(HasSubstr("10.77.0.1/32"), HasSubstr("eth0"))));
}

TEST_P(PlanTest, AForeignRouteWithAnotherMetricIsNoConflict) {
  routing::Route route;
  route.dst = prefix("10.77.0.1");
  route.metric = 100;
  observed.foreign_routes.push_back(route);
  EXPECT_THAT(make_plan(desired, observed, health).conflicts, IsEmpty());
}

TEST_P(PlanTest, NamesAForeignAddressInTheWay) {
  observed.foreign_addresses.push_back({"eth0", prefix("10.77.0.2/24")});
  EXPECT_THAT(make_plan(desired, observed, health).conflicts,
              ElementsAre(AllOf(HasSubstr("10.77.0.2/24"), HasSubstr("eth0"))));
}

TEST_P(PlanTest, ATuningThatCannotBeWrittenIsANoteAndANeedIsAConflict) {
  Cluster cluster = sample_cluster();
  cluster.tuning.sysctl = {{"net.core.rmem_max", "16777216"}};
  desired = desired_for(cluster, "edge");
  observed.sysctls["net.core.rmem_max"] = {"212992", false, {}};
  Plan plan = make_plan(desired, observed, health);
  EXPECT_THAT(plan.notes, ElementsAre(HasSubstr("net.core.rmem_max is 212992")));
  EXPECT_THAT(plan.conflicts, IsEmpty());
  observed.sysctls["net.ipv4.fib_multipath_hash_policy"].writable = false;
  EXPECT_THAT(make_plan(desired, observed, health).conflicts, SizeIs(1));
}

/// Whatever happens to tunnels in whatever order: a route has members as long as one is up, those
/// up are all among them unless they drain or a higher tier suffices, and once the steps are done
/// there is nothing left to do.
TEST_P(PlanTest, RandomEventsNeverLeaveALivingTunnelUnused) {
  std::mt19937 random(20240229);
  // What is not ours may be next to it, and is in no step ever.
  routing::Route foreign;
  foreign.dst = prefix("10.77.0.1");
  foreign.metric = 77;
  foreign.nexthops = {{"eth0", std::nullopt, 1}};
  observed.foreign_routes.push_back(foreign);
  observed.foreign_addresses.push_back({"eth0", prefix("192.0.2.7/24")});
  apply_healthy();
  desired.groups[0].members[3].priority = 50;
  for (int round = 0; round < 3000; ++round) {
    const std::string tunnel = "backbone-" + std::to_string(random() % 4);
    TunnelHealth& now = health["gateway"][tunnel];
    now.state = static_cast<Health>(random() % 3);
    now.connected = now.state != Health::down || random() % 2 == 0;
    now.drain = static_cast<Drain>(random() % 8 < 6 ? 0 : random() % 3);
    now.share = random() % 4 == 0 ? 25 + static_cast<unsigned>(random() % 75) : 100;
    for (const std::string& step : texts(make_plan(desired, observed, health).steps))
      ASSERT_THAT(step, AllOf(Not(HasSubstr("eth0")), Not(HasSubstr("metric 77")),
                              Not(HasSubstr("192.0.2.7"))));
    apply();
    const auto& tunnels = health.at("gateway");
    const auto up = [](const TunnelHealth& one) { return one.state == Health::up; };
    const bool one_up =
        std::ranges::any_of(tunnels, [&](const auto& one) { return up(one.second); });
    ASSERT_TRUE(!one_up || !members().empty()) << "round " << round;
    bool high_tier = false;
    for (const auto& [name, one] : tunnels) {
      if (!up(one) || one.drain != Drain::none || name == "backbone-3") continue;
      high_tier = true;
      ASSERT_THAT(members(), Contains(name)) << "round " << round;
    }
    for (const auto& [name, one] : tunnels) {
      const bool leaves = one.state == Health::down || one.drain == Drain::done;
      if (!high_tier || !leaves) continue;
      ASSERT_THAT(members(), Not(Contains(name))) << "round " << round;
    }
    ASSERT_THAT(texts(make_plan(desired, observed, health).steps), IsEmpty()) << "round " << round;
  }
}

TEST_P(PlanTest, ThePageComesMovesAndGoesWithTheFile) {
  apply_healthy();
  const auto steps = [this] { return texts(make_plan(desired, observed, health).steps); };
  desired.metrics = SocketAddress{"127.0.0.1", 9810};
  EXPECT_THAT(steps(), ElementsAre("+ page and metrics: 127.0.0.1:9810"));
  apply();
  EXPECT_THAT(steps(), IsEmpty());
  desired.metrics = SocketAddress{"::1", 9810};
  EXPECT_THAT(steps(), ElementsAre("~ page and metrics: 127.0.0.1:9810 -> [::1]:9810"));
  apply();
  desired.metrics.reset();
  EXPECT_THAT(steps(), ElementsAre("- page and metrics: [::1]:9810"));
  apply();
  EXPECT_THAT(steps(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Mechanisms, PlanTest, testing::Bool(), [](const auto& info) {
  return info.param ? "NexthopGroups" : "MultipathRoutes";
});

}  // namespace
}  // namespace tunorch
