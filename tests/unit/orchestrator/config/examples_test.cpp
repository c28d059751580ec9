// Every example in configs/ loads, and says to editors where its schema is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/problem.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

const fs::path configs = TUNORCH_SOURCE_DIR "/configs";

class Example : public testing::TestWithParam<fs::path> {};

TEST_P(Example, Loads) {
  try {
    EXPECT_FALSE(load_cluster(GetParam()).bundles.empty());
  } catch (const ConfigError& error) {
    FAIL() << error.what();
  }
}

TEST_P(Example, NamesItsSchemaInTheFirstLine) {
  std::ifstream file(GetParam());
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "# yaml-language-server: $schema=cluster.schema.json");
}

std::vector<fs::path> all_examples() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(configs))
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Files, Example, testing::ValuesIn(all_examples()), [](const auto& info) {
  std::string name = info.param.stem().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

std::vector<unsigned> weights_of(const Bundle& bundle) {
  std::vector<unsigned> weights;
  for (const Tunnel& tunnel : bundle.tunnels) weights.push_back(tunnel.weight);
  return weights;
}

TEST(Examples, TwoHostsHasFourEqualTunnels) {
  const Cluster cluster = load_cluster(configs / "two-hosts.yaml");
  EXPECT_THAT(weights_of(cluster.bundles.at(0)), testing::ElementsAre(1, 1, 1, 1));
}

TEST(Examples, WeightsAreThreeToOne) {
  const Bundle bundle = load_cluster(configs / "weights.yaml").bundles.at(0);
  EXPECT_THAT(weights_of(bundle), testing::ElementsAre(3, 1, 1, 1));
  EXPECT_EQ(bundle.tunnels.at(0).bind, "fibre0");
}

TEST(Examples, GatewayHasThreeDialersAndMasquerades) {
  const Cluster cluster = load_cluster(configs / "gateway-many-edges.yaml");
  EXPECT_EQ(cluster.bundles.at(0).dial.size(), 3U);
  EXPECT_EQ(cluster.find_node("gateway")->masquerade, "eth1");
}

TEST(Examples, ManyCoresHasOneTunnelOfEightStreams) {
  const Cluster cluster = load_cluster(configs / "many-cores.yaml");
  EXPECT_EQ(cluster.bundles.at(0).tunnels.size(), 1U);
  EXPECT_EQ(cluster.bundles.at(0).streams, 8);
}

TEST(Examples, FullTunnelSendsBothFamiliesThroughTheGateway) {
  const Cluster cluster = load_cluster(configs / "full-tunnel.yaml");
  const Node& gateway = *cluster.find_node("gateway");
  ASSERT_EQ(gateway.subnets.size(), 2U);
  EXPECT_EQ(gateway.subnets[0].text(), "0.0.0.0/0");
  EXPECT_EQ(gateway.subnets[1].text(), "::/0");
  EXPECT_EQ(gateway.masquerade, "eth0");
  EXPECT_THAT(cluster.bundles.at(0).dial, testing::ElementsAre("laptop"));
  EXPECT_EQ(cluster.bundles.at(0).tunnels.size(), 4U);
}

TEST(Examples, BackupTierHasTwoTiersAndHoldsBeforeItGoesBack) {
  const Bundle bundle = load_cluster(configs / "backup-tier.yaml").bundles.at(0);
  std::vector<unsigned> priorities;
  for (const Tunnel& tunnel : bundle.tunnels) priorities.push_back(tunnel.priority);
  EXPECT_THAT(priorities, testing::ElementsAre(100, 100, 50, 50));
  EXPECT_NE(bundle.tunnels.at(0).bind, bundle.tunnels.at(2).bind);
  EXPECT_EQ(bundle.min_live, 1);
  EXPECT_EQ(bundle.failback.policy, FailbackPolicy::hold);
}

}  // namespace
}  // namespace tunorch
