#include "orchestrator/telemetry/counters.hpp"

#include <gmock/gmock.h>

namespace tunorch {
namespace {

using testing::ElementsAre;

TEST(CountersTest, AValueOnABoundIsBelowIt) {
  Histogram sizes({1, 10});
  for (const double value : {0.5, 1.0, 2.0, 10.0, 11.0}) sizes.observe(value);
  EXPECT_THAT(sizes.counts().bounds, ElementsAre(1.0, 10.0));
  EXPECT_THAT(sizes.counts().counts, ElementsAre(2, 2, 1));
  EXPECT_EQ(sizes.counts().sum, 24.5);
}

TEST(CountersTest, LossIsOfTheLastHundredProbes) {
  ProbeCounters probes;
  EXPECT_EQ(probes.loss_percent(), 0.0);
  probes.observe({true, false, true, true}, 1000);
  EXPECT_EQ(probes.loss_percent(), 25.0);
  probes.observe(std::vector<bool>(99, true), 1000);
  EXPECT_EQ(probes.loss_percent(), 0.0);
  EXPECT_EQ(probes.counts().answered, 102u);
  EXPECT_EQ(probes.counts().lost, 1u);
}

TEST(CountersTest, ARoundTripIsSeenOnlyWithAnAnswer) {
  ProbeCounters probes;
  probes.observe({false, false}, 1000);
  EXPECT_EQ(probes.rtt_seconds().counts().sum, 0.0);
  probes.observe({false, true}, 2000);
  EXPECT_EQ(probes.rtt_seconds().counts().sum, 0.002);
}

TEST(CountersTest, FailoversAreCountedByCause) {
  NodeCounters counters;
  counters.failover(Outage::path, 0.0002);
  counters.failover(Outage::path, 0.3);
  counters.failover(Outage::worker_ended, 0.001);
  counters.applied(true);
  counters.applied(false);
  EXPECT_EQ(counters.applies().done, 1u);
  EXPECT_EQ(counters.applies().failed, 1u);
  const auto all = counters.failovers();
  EXPECT_EQ(all.size(), 2U);
  EXPECT_NEAR(all.at("path").sum, 0.3002, 1e-9);
  EXPECT_EQ(all.at("worker_ended").counts[3], 1u);
}

}  // namespace
}  // namespace tunorch
