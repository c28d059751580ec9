// The applier with a machine made of data: what a step that fails, a kernel that differs and a
// rollback leave behind.
#include "orchestrator/daemon/apply.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "orchestrator/daemon/waiting_applies.hpp"
#include "tests/unit/bare_machine.hpp"
#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

/// Files of these names have the sample cluster with so many tunnels.
Desired desired_of(const std::string& tunnels) {
  Cluster cluster = sample_cluster();
  cluster.bundles[0].tunnels.resize(std::stoul(tunnels));
  return desired_for(cluster, "edge");
}

class FakeMachine final : public Performer {
 public:
  Observed observe(const Desired&) override { return observed; }
  void perform(const Step& step, const Desired&) override {
    const std::string text = describe(step);
    if (refuses(text)) throw std::runtime_error("refused: " + text);
    performed.push_back(text);
    if (!ignores(text)) record(observed, step);
  }

  Observed observed = bare_machine(desired_of("4"));
  std::vector<std::string> performed;
  std::function<bool(const std::string&)> refuses = [](const std::string&) { return false; };
  std::function<bool(const std::string&)> ignores = [](const std::string&) { return false; };
};

class ApplierTest : public testing::Test, public Applier::Host {
 protected:
  ApplierTest() {
    char name[] = "/tmp/tunorch-apply-XXXXXX";
    if (!::mkdtemp(name)) throw std::runtime_error("cannot make a folder");
    paths.runtime = fs::path(name) / "run";
    paths.state = fs::path(name) / "state";
    paths.node = "edge";
  }
  ~ApplierTest() override { fs::remove_all(paths.state.parent_path()); }

  Desired load(const FileText& file) const override { return desired_of(file.text); }
  void prepare(const Desired&) override { ++prepared; }
  HealthTable health() const override { return {}; }
  void taken_over() override { taken = node.desired.tunnels.size(); }

  void apply(const char* tunnels, milliseconds confirm = milliseconds(0)) {
    const Applied next = applier.next({tunnels, std::string(tunnels) + ".yaml", "/"}, confirm, now);
    applier.apply(next, load(next.file), [this](const std::string& line) { said.push_back(line); });
  }
  std::string failure_of(const char* tunnels) {
    try {
      apply(tunnels);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  }
  std::string saved() const {
    const auto applied = load_applied(paths);
    return applied ? applied->file.text : "";
  }
  std::vector<std::string> devices() const {
    std::vector<std::string> names;
    for (const routing::Link& link : machine.observed.links)
      if (is_our_alias(link.alias)) names.push_back(link.name);
    return names;
  }

  Paths paths;
  FakeMachine machine;
  NodeState node;
  Applier applier{node, machine, *this, paths};
  Applier::Time now{std::chrono::hours(500'000)};
  std::vector<std::string> said;
  int prepared = 0;
  std::size_t taken = 0;
};

TEST_F(ApplierTest, BringsTheMachineToTheFileAndKeepsIt) {
  apply("2");
  EXPECT_THAT(devices(), ElementsAre("backbone-0", "backbone-1"));
  EXPECT_EQ(saved(), "2");
  EXPECT_EQ(node.applied->file.text, "2");
  EXPECT_EQ(taken, 2u);
  EXPECT_EQ(said, machine.performed);
}

TEST_F(ApplierTest, PerformsNothingTheSecondTime) {
  apply("2");
  machine.performed.clear();
  apply("2");
  EXPECT_THAT(machine.performed, IsEmpty());
}

TEST_F(ApplierTest, ConflictChangesNothing) {
  routing::Link taken_name;
  taken_name.name = "backbone-1";
  machine.observed.links.push_back(taken_name);
  EXPECT_THAT(failure_of("2"), AllOf(StartsWith("nothing was changed:"), HasSubstr("backbone-1")));
  EXPECT_THAT(machine.performed, IsEmpty());
  EXPECT_EQ(saved(), "");
  EXPECT_FALSE(node.applied);
}

TEST_F(ApplierTest, StepThatFailsInTheMiddleUndoesTheDoneOnesInReverse) {
  machine.refuses = [](const std::string& step) { return step.starts_with("+ tun backbone-1"); };
  const std::string failure = failure_of("2");
  EXPECT_THAT(failure, StartsWith("refused: + tun backbone-1"));
  EXPECT_THAT(failure, Not(HasSubstr("cannot undo")));
  const auto first = failure.find("undone: + tun backbone-0"),
             second = failure.find("undone: ~ sysctl net.ipv4.fib_multipath_hash_policy");
  ASSERT_NE(first, failure.npos);
  ASSERT_NE(second, failure.npos);
  EXPECT_LT(first, second);
  EXPECT_THAT(devices(), IsEmpty());
  EXPECT_EQ(machine.observed.sysctls["net.ipv4.fib_multipath_hash_policy"].value, "0");
  EXPECT_EQ(saved(), "");
  EXPECT_FALSE(node.applied);
  EXPECT_EQ(taken, 0u);
}

TEST_F(ApplierTest, FailureKeepsWhatWasAppliedBefore) {
  apply("2");
  machine.refuses = [](const std::string& step) { return step.starts_with("+ tun backbone-3"); };
  EXPECT_THAT(failure_of("4"), HasSubstr("undone: + tun backbone-2"));
  EXPECT_THAT(devices(), ElementsAre("backbone-0", "backbone-1"));
  EXPECT_EQ(saved(), "2");
  EXPECT_EQ(node.desired.tunnels.size(), 2u);
}

TEST_F(ApplierTest, UndoThatFailsTooIsSaidAndTheOthersAreStillUndone) {
  machine.refuses = [](const std::string& step) {
    return step.starts_with("+ tun backbone-1") || step.starts_with("- tun backbone-0");
  };
  const std::string failure = failure_of("2");
  EXPECT_THAT(failure,
              HasSubstr("cannot undo: + tun backbone-0: mtu 1500 txqueuelen 500: refused: - tun"));
  EXPECT_THAT(failure, HasSubstr("undone: ~ sysctl net.ipv4.fib_multipath_hash_policy"));
  EXPECT_THAT(devices(), ElementsAre("backbone-0"));
}

TEST_F(ApplierTest, FirstStepThatFailsLeavesNothingToUndo) {
  machine.refuses = [](const std::string&) { return true; };
  EXPECT_THAT(failure_of("2"), HasSubstr("nothing was changed before it"));
}

TEST_F(ApplierTest, VerifyNamesWhatTheKernelDidNotTake) {
  machine.ignores = [](const std::string& step) { return step.starts_with("+ address on lo"); };
  EXPECT_THAT(failure_of("2"),
              AllOf(StartsWith("applied, but the kernel still differs from what was asked:"),
                    HasSubstr("+ address on lo: 10.77.0.2/32")));
  EXPECT_EQ(saved(), "2");  // the next look at the kernel tries again
  EXPECT_EQ(taken, 2u);
}

// ---- confirm and rollback ----

TEST_F(ApplierTest, WithoutConfirmThereIsNothingToConfirmOrToGoBackTo) {
  apply("2");
  EXPECT_FALSE(applier.time_left(now));
  EXPECT_THROW(applier.confirm(), std::runtime_error);
  EXPECT_THROW((void)applier.rollback_target(), std::runtime_error);
}

TEST_F(ApplierTest, ConfirmedStays) {
  apply("2");
  apply("4", seconds(30));
  EXPECT_EQ(applier.time_left(now + seconds(10)), seconds(20));
  applier.confirm();
  EXPECT_FALSE(applier.time_left(now));
  EXPECT_FALSE(load_applied(paths)->unconfirmed);
  EXPECT_EQ(saved(), "4");
}

TEST_F(ApplierTest, AppliedAgainBeforeItWasConfirmedGoesBackToWhatWasConfirmed) {
  apply("2");
  apply("4", seconds(30));
  apply("3", seconds(30));
  EXPECT_EQ(applier.rollback_target()->text, "2");
}

TEST_F(ApplierTest, NothingAppliedBeforeHasNoFileToGoBackTo) {
  apply("2", seconds(30));
  EXPECT_FALSE(applier.rollback_target());
}

TEST_F(ApplierTest, ConfirmThatTimesOutWhileApplyStillWaits) {
  apply("2");
  apply("4", seconds(1));
  std::vector<nlohmann::json> answers;
  WaitingApplies waiting;
  const auto start = WaitingApplies::Time(seconds(1000));
  const auto never = [](const WaitingApply&) {
    return std::vector<std::string>{"backbone-3: down"};
  };
  waiting.add({[&](const DaemonAnswer& answer) {
                 answers.push_back(nlohmann::json::parse(to_line(answer)));
               },
               start + seconds(30)});
  waiting.answer(start, never, {});
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0]["first"], "backbone-3: down");

  EXPECT_EQ(applier.time_left(now + seconds(2)), milliseconds(0));
  applier.roll_back(*applier.rollback_target(), [](const std::string&) {});
  waiting.fail("reverted before every tunnel was healthy: not confirmed in time");
  waiting.answer(start + seconds(31), never, {});

  ASSERT_EQ(answers.size(), 2u);
  EXPECT_THAT(answers[1]["error"].get<std::string>(), HasSubstr("not confirmed in time"));
  EXPECT_THAT(devices(), ElementsAre("backbone-0", "backbone-1"));
  EXPECT_EQ(saved(), "2");
  EXPECT_FALSE(applier.unconfirmed());
}

TEST_F(ApplierTest, RevertsAfterARestart) {
  apply("2");
  apply("4", seconds(30));
  NodeState later;
  later.applied = load_applied(paths);
  later.desired = load(later.applied->file);
  later.observed = machine.observed;
  Applier next_daemons(later, machine, *this, paths);
  EXPECT_EQ(next_daemons.time_left(now + std::chrono::hours(1)), milliseconds(0));
  machine.performed.clear();
  next_daemons.roll_back(*next_daemons.rollback_target(), [](const std::string&) {});
  EXPECT_THAT(machine.performed, AllOf(Contains("- tun backbone-2: mtu 1500 txqueuelen 500"),
                                       Contains("- tun backbone-3: mtu 1500 txqueuelen 500")));
  EXPECT_THAT(devices(), ElementsAre("backbone-0", "backbone-1"));
  EXPECT_EQ(saved(), "2");
  EXPECT_FALSE(next_daemons.time_left(now));
}

}  // namespace
}  // namespace tunorch
