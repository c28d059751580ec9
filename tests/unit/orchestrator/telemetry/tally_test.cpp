#include "orchestrator/telemetry/tally.hpp"

#include <gtest/gtest.h>

namespace tunorch {
namespace {

using nlohmann::json;

TEST(TallyTest, AValueOnABoundIsBelowIt) {
  Histogram sizes({1, 10});
  for (const double value : {0.5, 1.0, 2.0, 10.0, 11.0}) sizes.observe(value);
  EXPECT_EQ(sizes.to_json(), (json{{"bounds", {1.0, 10.0}}, {"counts", {2, 2, 1}}, {"sum", 24.5}}));
}

TEST(TallyTest, LossIsOfTheLastHundredProbes) {
  ProbeTally probes;
  EXPECT_EQ(probes.to_json()["loss_percent"], 0.0);
  probes.observe({true, false, true, true}, 1000);
  EXPECT_EQ(probes.to_json()["loss_percent"], 25.0);
  probes.observe(std::vector<bool>(99, true), 1000);
  EXPECT_EQ(probes.to_json()["loss_percent"], 0.0);
  EXPECT_EQ(probes.to_json()["probes"], (json{{"answered", 102}, {"lost", 1}}));
}

TEST(TallyTest, ARoundTripIsSeenOnlyWithAnAnswer) {
  ProbeTally probes;
  probes.observe({false, false}, 1000);
  EXPECT_EQ(probes.rtt_seconds().to_json()["sum"], 0.0);
  probes.observe({false, true}, 2000);
  EXPECT_EQ(probes.rtt_seconds().to_json()["sum"], 0.002);
}

TEST(TallyTest, FailoversAreCountedByCause) {
  Tally tally;
  tally.failover(Outage::path, 0.0002);
  tally.failover(Outage::path, 0.3);
  tally.failover(Outage::worker_ended, 0.001);
  tally.applied(true);
  tally.applied(false);
  const json all = tally.to_json();
  EXPECT_EQ(all["applies"], (json{{"done", 1}, {"failed", 1}}));
  EXPECT_EQ(all["failovers"].size(), 2U);
  EXPECT_NEAR(all["failovers"]["path"]["sum"].get<double>(), 0.3002, 1e-9);
  EXPECT_EQ(all["failovers"]["worker_ended"]["counts"][3], 1);
}

}  // namespace
}  // namespace tunorch
