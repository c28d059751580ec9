#include "orchestrator/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::StartsWith;

std::vector<std::string> texts(const std::vector<Step>& steps) {
  std::vector<std::string> all;
  for (const Step& step : steps) all.push_back(describe(step));
  return all;
}

/// A machine with lo and eth0 up and every setting at 0.
Observed bare_machine(const Desired& desired) {
  Observed observed;
  for (const char* name : {"lo", "eth0"}) {
    routing::Link link;
    link.name = name;
    link.admin_up = true;
    observed.links.push_back(link);
  }
  for (const std::string& key : sysctl_keys(desired, {}))
    if (key.find(".conf.backbone") == std::string::npos) observed.sysctls[key] = {"0", true, {}};
  return observed;
}

void perform_all(Observed& observed, const std::vector<Step>& steps) {
  for (const Step& step : steps) record(observed, step);
}

class PlanTest : public testing::Test {
 protected:
  void apply() { perform_all(observed, make_plan(desired, observed, health).steps); }
  void apply_healthy() {
    apply();
    for (auto& [tunnel, worker] : observed.workers) worker.state = WorkerState::running;
    health = all_up(desired);
    apply();
  }
  void set(const std::string& tunnel, Health state, bool connected) {
    health[tunnel]["gateway"] = {state, connected};
  }
  std::vector<std::string> members(const char* dst = "10.77.0.1") const {
    std::vector<std::string> devices;
    for (const routing::Route& route : observed.routes)
      if (route.dst == prefix(dst) && route.type == routing::RouteType::unicast)
        for (const auto& nexthop : route.nexthops) devices.push_back(nexthop.dev);
    return devices;
  }

  Desired desired = select_node(sample_cluster(), "edge");
  Observed observed = bare_machine(desired);
  HealthTable health;
};

TEST_F(PlanTest, OrdersSettingsDevicesAddressesWorkersRoutes) {
  std::vector<std::size_t> kinds;
  for (const Step& step : make_plan(desired, observed, health).steps) {
    const auto* setting = std::get_if<SysctlStep>(&step);
    // A device's own settings follow the device.
    kinds.push_back(setting && !setting->after->device.empty() ? 1 : step.index());
  }
  EXPECT_THAT(kinds, Contains(0u));
  EXPECT_TRUE(std::ranges::is_sorted(kinds));
}

TEST_F(PlanTest, FallbackRoutesComeBeforeAnyTunnelIsHealthy) {
  apply();
  EXPECT_THAT(observed.routes, SizeIs(3));
  for (const auto& route : observed.routes) EXPECT_EQ(route.type, routing::RouteType::unreachable);
}

TEST_F(PlanTest, ASecondPlanIsEmpty) {
  apply();
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps), IsEmpty());
  apply_healthy();
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps), IsEmpty());
}

TEST_F(PlanTest, ADownTunnelLeavesEveryRouteAndComesBack) {
  apply_healthy();
  set("backbone-1", Health::down, false);
  apply();
  for (const char* dst : {"10.77.0.1", "fd77::1", "10.20.0.0/16"})
    EXPECT_THAT(members(dst), ElementsAre("backbone-0", "backbone-2", "backbone-3"));
  set("backbone-1", Health::up, true);
  apply();
  EXPECT_THAT(members(), ElementsAre("backbone-0", "backbone-1", "backbone-2", "backbone-3"));
}

TEST_F(PlanTest, AnUnknownTunnelIsOutAtAColdStartAndUnchangedAfterAdoption) {
  apply();
  set("backbone-1", Health::unknown, true);
  apply();
  EXPECT_THAT(members(), IsEmpty());
  apply_healthy();
  set("backbone-1", Health::unknown, true);
  apply();
  EXPECT_THAT(members(), SizeIs(4));
}

TEST_F(PlanTest, ProbesAloneDoNotUndercutMinLive) {
  for (DesiredRoute& route : desired.routes) route.min_live = 2;
  apply_healthy();
  for (const char* tunnel : {"backbone-0", "backbone-1", "backbone-2", "backbone-3"})
    set(tunnel, Health::down, true);
  apply();
  EXPECT_THAT(members(), SizeIs(2));
}

TEST_F(PlanTest, ALostSessionLeavesTheRouteWhateverMinLiveSays) {
  apply_healthy();
  for (const char* tunnel : {"backbone-0", "backbone-1", "backbone-2", "backbone-3"})
    set(tunnel, Health::down, false);
  apply();
  EXPECT_THAT(members(), IsEmpty());
  EXPECT_THAT(observed.routes, SizeIs(3)) << "the unreachable routes stay";
}

TEST_F(PlanTest, WithdrawLeavesNoFallback) {
  for (DesiredRoute& route : desired.routes) route.fallback = false;
  apply();
  EXPECT_THAT(observed.routes, IsEmpty());
}

TEST_F(PlanTest, DownUndoesExactlyWhatApplyDid) {
  const Observed before = observed;
  apply_healthy();
  perform_all(observed, make_plan(Desired{}, observed, {}).steps);
  EXPECT_EQ(observed.links.size(), before.links.size());
  EXPECT_THAT(observed.routes, IsEmpty());
  EXPECT_THAT(observed.addresses, IsEmpty());
  EXPECT_THAT(observed.workers, IsEmpty());
  EXPECT_THAT(observed.journal, IsEmpty());
  for (const auto& [key, setting] : before.sysctls)
    EXPECT_EQ(observed.sysctls[key].value, setting.value) << key;
}

TEST_F(PlanTest, RestoresWhatAWriteFannedOutTo) {
  observed.sysctls["net.ipv4.ip_forward"].fan_out = {{"net.ipv4.conf.eth0.forwarding", "1"}};
  apply();
  std::vector<routing::Sysctl> put_back;
  for (const Step& step : make_plan(Desired{}, observed, {}).steps)
    if (const auto* setting = std::get_if<SysctlStep>(&step))
      for (const auto& other : setting->after->fan_out) put_back.push_back(other);
  EXPECT_THAT(put_back, ElementsAre(routing::Sysctl{"net.ipv4.conf.eth0.forwarding", "1"}));
}

TEST_F(PlanTest, InversesInReverseUndoAPlan) {
  const Observed before = observed;
  std::vector<Step> steps = make_plan(desired, observed, health).steps;
  perform_all(observed, steps);
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) record(observed, inverse(*step));
  EXPECT_EQ(texts(make_plan(desired, observed, health).steps),
            texts(make_plan(desired, before, health).steps));
  EXPECT_THAT(observed.journal, IsEmpty());
}

TEST_F(PlanTest, AChangedMtuTouchesOnlyTheDevices) {
  apply_healthy();
  for (DesiredTunnel& tunnel : desired.tunnels) tunnel.tun.mtu = 1400;
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps),
              testing::AllOf(SizeIs(4), testing::Each(StartsWith("~ tun backbone-"))));
}

TEST_F(PlanTest, AChangedWeightTouchesOnlyTheRoutes) {
  apply_healthy();
  for (DesiredRoute& route : desired.routes) route.members[2].weight = 5;
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps),
              testing::AllOf(SizeIs(3), testing::Each(StartsWith("~ route"))));
}

TEST_F(PlanTest, AnAddedTunnelLeavesTheOthersAlone) {
  apply_healthy();
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels.push_back({4, 1, "", 18});
  desired = select_node(cluster, "edge");
  for (const std::string& text : texts(make_plan(desired, observed, health).steps))
    EXPECT_THAT(text, HasSubstr("backbone-4"));
}

TEST_F(PlanTest, ARemovedTunnelLeavesTheRoutesBeforeItsDeviceGoes) {
  apply_healthy();
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels.pop_back();
  desired = select_node(cluster, "edge");
  const auto steps = texts(make_plan(desired, observed, health).steps);
  const auto route = std::ranges::find_if(steps, [](auto& t) { return t.starts_with("~ route"); });
  const auto tun = std::ranges::find(steps, "- tun backbone-3: mtu 1500 txqueuelen 500");
  ASSERT_NE(tun, steps.end());
  EXPECT_LT(route, tun);
}

TEST_F(PlanTest, WorkersInBackoffOrQuarantineAreNotStarted) {
  apply_healthy();
  observed.workers["backbone-0"].state = WorkerState::backoff;
  observed.workers["backbone-1"].state = WorkerState::quarantined;
  observed.workers["backbone-2"].state = WorkerState::stopping;
  observed.workers["backbone-3"].state = WorkerState::stopped;
  EXPECT_THAT(texts(make_plan(desired, observed, health).steps),
              ElementsAre(StartsWith("+ worker backbone-3")));
}

TEST_F(PlanTest, NamesAForeignDeviceInTheWay) {
  routing::Link link;
  link.name = "backbone-2";
  observed.links.push_back(link);
  EXPECT_THAT(make_plan(desired, observed, health).conflicts,
              ElementsAre(AllOf(HasSubstr("backbone-2"), HasSubstr("not ours"))));
}

TEST_F(PlanTest, NamesAForeignRouteInTheWay) {
  routing::Route route;
  route.dst = prefix("10.77.0.1");
  route.protocol = 3;
  route.nexthops = {{"eth0", std::nullopt, 1}};
  observed.foreign_routes.push_back(route);
  EXPECT_THAT(make_plan(desired, observed, health).conflicts,
              ElementsAre(AllOf(HasSubstr("10.77.0.1/32"), HasSubstr("eth0"))));
}

TEST_F(PlanTest, AForeignRouteWithAnotherMetricIsNoConflict) {
  routing::Route route;
  route.dst = prefix("10.77.0.1");
  route.metric = 100;
  observed.foreign_routes.push_back(route);
  EXPECT_THAT(make_plan(desired, observed, health).conflicts, IsEmpty());
}

TEST_F(PlanTest, NamesAForeignAddressInTheWay) {
  observed.foreign_addresses.push_back({"eth0", prefix("10.77.0.2/24")});
  EXPECT_THAT(make_plan(desired, observed, health).conflicts,
              ElementsAre(AllOf(HasSubstr("10.77.0.2/24"), HasSubstr("eth0"))));
}

TEST_F(PlanTest, ATuningThatCannotBeWrittenIsANoteAndANeedIsAConflict) {
  Cluster cluster = sample_cluster();
  cluster.tuning.sysctl = {{"net.core.rmem_max", "16777216"}};
  desired = select_node(cluster, "edge");
  observed.sysctls["net.core.rmem_max"] = {"212992", false, {}};
  Plan plan = make_plan(desired, observed, health);
  EXPECT_THAT(plan.notes, ElementsAre(HasSubstr("net.core.rmem_max is 212992")));
  EXPECT_THAT(plan.conflicts, IsEmpty());
  observed.sysctls["net.ipv4.fib_multipath_hash_policy"].writable = false;
  EXPECT_THAT(make_plan(desired, observed, health).conflicts, SizeIs(1));
}

/// Whatever happens to tunnels in whatever order: a route has members as long as one is up, all of
/// them are wanted, and once the steps are done there is nothing left to do.
TEST_F(PlanTest, RandomHealthNeverLeavesALivingTunnelUnused) {
  std::mt19937 random(20240229);
  apply_healthy();
  for (int round = 0; round < 2000; ++round) {
    const std::string tunnel = "backbone-" + std::to_string(random() % 4);
    const auto state = static_cast<Health>(random() % 3);
    set(tunnel, state, state != Health::down || random() % 2 == 0);
    apply();
    const bool one_up = std::ranges::any_of(
        health, [](const auto& one) { return one.second.at("gateway").state == Health::up; });
    EXPECT_TRUE(!one_up || !members().empty()) << "round " << round;
    for (const auto& [name, peers] : health) {
      if (peers.at("gateway").state != Health::up) continue;
      EXPECT_THAT(members(), Contains(name)) << "round " << round;
    }
    EXPECT_THAT(make_plan(desired, observed, health).steps, IsEmpty()) << "round " << round;
  }
}

}  // namespace
}  // namespace tunorch
