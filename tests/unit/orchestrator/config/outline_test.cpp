#include "orchestrator/config/outline.hpp"

#include <gtest/gtest.h>

#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

TEST(Outline, TellsWhoListensWhereAndWhoDials) {
  Cluster cluster = sample_cluster();
  Bundle& bundle = cluster.bundles[0];
  bundle.tunnels.resize(4);
  for (int i = 0; i < 4; ++i) bundle.tunnels[static_cast<std::size_t>(i)].id = i;
  bundle.tunnels[1].engine = Engine::wireguard;
  bundle.tunnels[2].transport = "postgres";
  bundle.tunnels[3].engine = Engine::command;
  const json nodes = outline(cluster).at("nodes");
  EXPECT_EQ(nodes.at("gateway").at("listens"), json::parse(R"([
              {"bundle": "backbone", "tunnel": "backbone-0", "protocols": ["tcp"], "port": 4430},
              {"bundle": "backbone", "tunnel": "backbone-1", "protocols": ["udp"], "port": 4431},
              {"bundle": "backbone", "tunnel": "backbone-3", "protocols": ["tcp", "udp"],
               "port": 4433}])"));
  EXPECT_EQ(nodes.at("gateway").at("dials"), json::array());
  EXPECT_EQ(nodes.at("edge").at("dials"), json{"backbone"});
  EXPECT_EQ(nodes.at("edge").at("listens"), json::array());
}

TEST(Outline, OpenVpnListensWithWhatItIsToldTo) {
  Cluster cluster = sample_cluster();
  for (Tunnel& tunnel : cluster.bundles[0].tunnels) tunnel.engine = Engine::openvpn;
  const auto first = [&] {
    return outline(cluster)["nodes"]["gateway"]["listens"][0]["protocols"];
  };
  EXPECT_EQ(first(), json{"udp"});
  cluster.bundles[0].engines.openvpn.tcp = true;
  EXPECT_EQ(first(), json{"tcp"});
}

}  // namespace
}  // namespace tunorch
