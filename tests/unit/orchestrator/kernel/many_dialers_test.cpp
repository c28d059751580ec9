// A listener with a thousand dialers: the real plan and the real kernel, the workers left out. Says
// how long it takes from a worker's death to the last group.
#include <chrono>
#include <filesystem>
#include <iostream>

#include "orchestrator/kernel/kernel.hpp"
#include "tests/unit/routing/namespace.hpp"

namespace tunorch {
namespace {

using routing::NamespaceTest;
using Clock = std::chrono::steady_clock;

constexpr int dialers = 1000;

Cluster big_cluster() {
  Cluster cluster;
  cluster.name = "big";
  cluster.link_net = routing::prefix("198.18.0.0/15");
  cluster.tuning.profile = "none";
  cluster.nodes.push_back({"gateway", {"203.0.113.10"}, {routing::prefix("10.77.0.1")}, {}, "", 1});
  Bundle bundle;
  bundle.name = "hub";
  bundle.listen = "gateway";
  for (int i = 0; i < dialers; ++i) {
    const std::string name = "edge" + std::to_string(i);
    const std::string host = std::to_string(1 + i / 250) + "." + std::to_string(1 + i % 250);
    cluster.nodes.push_back(
        {name,
         {},
         {routing::prefix("10.78." + host), routing::prefix("fd78::" + std::to_string(i + 1))},
         {},
         "",
         static_cast<std::uint32_t>(2 + i)});
    bundle.dial.push_back(name);
  }
  for (int id = 0; id < 4; ++id)
    bundle.tunnels.push_back({id, 1, "", 100, static_cast<std::uint32_t>(14 + id)});
  cluster.bundles = {bundle};
  return cluster;
}

class ManyDialers : public NamespaceTest {
 protected:
  void SetUp() override {
    NamespaceTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    desired_ = desired_for(big_cluster(), "gateway");
    kernel_.emplace(desired_.protocol, journal_);
    kernel_->probe_abilities();
    observed_ = kernel_->observe(desired_);
    for (const Step& step : make_plan(desired_, observed_, {}).steps)
      if (!std::holds_alternative<WorkerStep>(step)) perform(step);
    for (const DesiredTunnel& tunnel : desired_.tunnels) {
      queues_.push_back(routing::open_tun_queue(tunnel.name));
      routing::set_carrier(queues_.back(), true);
      kernel_->netlink().carrier(tunnel.name);
    }
    observed_ = kernel_->observe(desired_);
    health_ = all_up(desired_);
    follow();
  }
  void TearDown() override { std::filesystem::remove(file_); }

  void perform(const Step& step) {
    std::visit(
        [&](const auto& one) {
          if constexpr (requires { kernel_->perform(one); }) kernel_->perform(one);
        },
        step);
    record(observed_, step);
  }
  std::size_t follow() {
    const std::vector<Step> steps = make_multipath_plan(desired_, observed_, health_);
    for (const Step& step : steps) perform(step);
    return steps.size();
  }
  void set(const std::string& tunnel, const std::string& peer, Health state) {
    health_[peer][tunnel] = {state, state == Health::up};
  }
  std::size_t groups_with(const std::string& tunnel) {
    const std::uint32_t id = desired_.find_tunnel(tunnel)->nexthop_id;
    return static_cast<std::size_t>(
        std::ranges::count_if(kernel_->netlink().nexthop_groups(), [&](const auto& group) {
          return std::ranges::find(group.members, id, &routing::GroupMember::id) !=
                 group.members.end();
        }));
  }

  std::filesystem::path file_ =
      std::filesystem::temp_directory_path() / ("many-" + std::to_string(::getpid()));
  Journal journal_{file_};
  Desired desired_;
  std::optional<Kernel> kernel_;
  Observed observed_;
  HealthTable health_;
  std::vector<Fd> queues_;
};

TEST_F(ManyDialers, AWorkersDeathIsNotAChangePerDialer) {
  ASSERT_EQ(groups_with("hub-1"), dialers);
  for (const DesiredGroup& group : desired_.groups) set("hub-1", group.peer, Health::down);
  const auto died = Clock::now();
  const std::vector<Step> steps = make_multipath_plan(desired_, observed_, health_);
  const auto planned = Clock::now();
  for (const Step& step : steps) perform(step);
  const std::chrono::duration<double, std::milli> plan = planned - died,
                                                  kernel = Clock::now() - planned;
  EXPECT_EQ(groups_with("hub-1"), 0u);
  EXPECT_EQ(steps.size(), 1u) << "one message for all";
  EXPECT_EQ(follow(), 0u);
  EXPECT_EQ(kernel_->observe(desired_).multipath.groups.size(), dialers);
  std::cout << "1000 dialers, from a worker's death to the last group right: plan " << plan.count()
            << " ms, kernel " << kernel.count() << " ms\n";
  EXPECT_LT(plan.count() + kernel.count(), 1000);
}

TEST_F(ManyDialers, OneDialersLossChangesOnlyItsOwnGroup) {
  set("hub-2", "edge500", Health::down);
  const auto lost = Clock::now();
  EXPECT_EQ(follow(), 1u);
  const std::chrono::duration<double, std::milli> took = Clock::now() - lost;
  EXPECT_EQ(groups_with("hub-2"), dialers - 1u);
  std::cout << "1000 dialers, one lost a tunnel: " << took.count() << " ms\n";
}

TEST_F(ManyDialers, AReturnedWorkerIsBackForAll) {
  for (const DesiredGroup& group : desired_.groups) set("hub-1", group.peer, Health::down);
  follow();
  for (const DesiredGroup& group : desired_.groups) set("hub-1", group.peer, Health::up);
  const auto back = Clock::now();
  EXPECT_EQ(follow(), dialers + 1u);
  const std::chrono::duration<double, std::milli> took = Clock::now() - back;
  EXPECT_EQ(groups_with("hub-1"), dialers);
  std::cout << "1000 dialers, a worker is back for all of them: " << took.count() << " ms\n";
}

}  // namespace
}  // namespace tunorch
