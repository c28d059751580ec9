#include "orchestrator/plan/desired.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/fnv1a.hpp"
#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/digest.hpp"
#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> destinations(const Desired& desired) {
  std::vector<std::string> all;
  for (const DesiredRoute& route : desired.routes) all.push_back(route.dst.text());
  return all;
}

std::string sysctl(const Desired& desired, const std::string& key) {
  for (const DesiredSysctl& wanted : desired.sysctls)
    if (wanted.setting.key == key) return wanted.setting.value;
  return "";
}

TEST(SelectNode, ADialerRoutesTheListenersInnerAddressesAndSubnets) {
  EXPECT_THAT(destinations(desired_for(sample_cluster(), "edge")),
              ElementsAre("10.77.0.1/32", "fd77::1/128", "10.20.0.0/16"));
}

TEST(SelectNode, AListenerRoutesEachDialersInnerAddressesAndSubnets) {
  EXPECT_THAT(destinations(desired_for(sample_cluster(), "gateway")),
              ElementsAre("10.77.0.2/32", "fd77::2/128", "192.168.50.0/24", "10.77.0.3/32"));
}

TEST(SelectNode, RoutesCarryTheNodesInnerAddressOfTheirFamilyAsSource) {
  const Desired edge = desired_for(sample_cluster(), "edge");
  EXPECT_EQ(edge.routes[0].src, prefix("10.77.0.2"));
  EXPECT_EQ(edge.routes[1].src, prefix("fd77::2"));
  EXPECT_EQ(desired_for(sample_cluster(), "branch").routes[1].src, std::nullopt);
}

TEST(SelectNode, HasAGroupForEachPeerWithIdsOfItsOwn) {
  const Desired gateway = desired_for(sample_cluster(), "gateway");
  ASSERT_EQ(gateway.groups.size(), 2u);
  EXPECT_EQ(gateway.find_group("branch")->id, group_id_base + 6);
  EXPECT_EQ(gateway.groups[0].gateway6, prefix("fe80::2"));
  EXPECT_EQ(gateway.groups[0].members[0].tunnel, "backbone-0");
  EXPECT_EQ(gateway.groups[0].members[0].weight, 3u);
  EXPECT_EQ(gateway.tunnels[1].nexthop_id, nexthop_id_base + 15);
}

TEST(SelectNode, ASlashZeroGoesIntoATableOfItsOwnBehindRules) {
  Cluster cluster = sample_cluster();
  cluster.nodes[0].subnets = {prefix("0.0.0.0/0")};
  const Desired edge = desired_for(cluster, "edge");
  EXPECT_TRUE(edge.full_tunnel());
  EXPECT_EQ(edge.routes[0].table, 254u);
  EXPECT_EQ(edge.routes[2].table, full_tunnel_table);
  EXPECT_EQ(edge.rules.size(), 8u) << "four of each family";
  EXPECT_THAT(desired_for(sample_cluster(), "edge").rules, testing::IsEmpty());
}

TEST(SelectNode, APolicyPutsTheRoutesIntoItsTable) {
  Cluster cluster = sample_cluster();
  cluster.bundles[0].policy = {1000, {prefix("192.168.50.0/24")}, 7};
  const Desired edge = desired_for(cluster, "edge");
  for (const DesiredRoute& route : edge.routes) EXPECT_EQ(route.table, 1000u);
  ASSERT_EQ(edge.rules.size(), 3u) << "one of IPv4 by source, two by mark";
  EXPECT_EQ(edge.rules[0].from, prefix("192.168.50.0/24"));
  EXPECT_EQ(edge.rules[2].fwmark, 7u);
}

TEST(SelectNode, BothEndsOfATunnelShareALinkSubnetAndNoTwoTunnelsDo) {
  const Desired edge = desired_for(sample_cluster(), "edge");
  const Desired gateway = desired_for(sample_cluster(), "gateway");
  for (std::size_t i = 0; i < 4; ++i) {
    Prefix subnet = edge.addresses[i].prefix;
    EXPECT_EQ(subnet.length, 21);
    EXPECT_TRUE(subnet.contains(*Prefix::parse(gateway.addresses[i].prefix.address_text())));
    EXPECT_NE(subnet, gateway.addresses[i].prefix);
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_FALSE(subnet.contains(*Prefix::parse(edge.addresses[j].prefix.address_text())));
  }
}

TEST(SelectNode, TunnelKDialsPortPlusKOfTheEndpointsInTurn) {
  Cluster cluster = sample_cluster();
  cluster.nodes[0].endpoints = {"203.0.113.10", "203.0.113.11"};
  const Desired edge = desired_for(cluster, "edge");
  EXPECT_EQ(edge.tunnels[3].spec.port, 4433);
  EXPECT_EQ(edge.tunnels[2].spec.address, "203.0.113.10");
  EXPECT_EQ(edge.tunnels[3].spec.address, "203.0.113.11");
}

TEST(SelectNode, ForwardsOnlyTheFamiliesOfItsSubnets) {
  const Desired gateway = desired_for(sample_cluster(), "gateway");
  EXPECT_EQ(sysctl(gateway, "net.ipv4.ip_forward"), "1");
  EXPECT_EQ(sysctl(gateway, "net.ipv6.conf.all.forwarding"), "");
  EXPECT_EQ(sysctl(desired_for(sample_cluster(), "branch"), "net.ipv4.ip_forward"), "");
}

TEST(SelectNode, ExplicitTuningBeatsTheProfileAndNotWhatTunnelsNeed) {
  Cluster cluster = sample_cluster();
  cluster.tuning.profile = "balanced";
  cluster.tuning.sysctl = {{"net.ipv4.tcp_mtu_probing", "2"},
                           {"net.ipv4.fib_multipath_hash_policy", "0"}};
  const Desired edge = desired_for(cluster, "edge");
  EXPECT_EQ(sysctl(edge, "net.ipv4.tcp_mtu_probing"), "2");
  EXPECT_EQ(sysctl(edge, "net.ipv4.tcp_slow_start_after_idle"), "0");
  EXPECT_EQ(sysctl(edge, "net.ipv4.fib_multipath_hash_policy"), "1");
}

TEST(SelectNode, TheThroughputProfileGivesWhatTheFileLeavesOpen) {
  Cluster cluster = sample_cluster();
  cluster.tuning.profile = "throughput";
  const DesiredTunnel tunnel = desired_for(cluster, "edge").tunnels.at(0);
  EXPECT_EQ(tunnel.spec.sndbuf_bytes, 16777216u);
  EXPECT_EQ(tunnel.tun.txqueuelen, 500u) << "its packets have up to 64 KiB";
  EXPECT_EQ(sysctl(desired_for(cluster, "edge"), "net.core.wmem_max"), "16777216");
  cluster.bundles[0].link.offload = "none";
  cluster.bundles[0].sockets.sndbuf_bytes = 65536;
  const DesiredTunnel plain = desired_for(cluster, "edge").tunnels.at(0);
  EXPECT_EQ(plain.spec.sndbuf_bytes, 65536u);
  EXPECT_EQ(plain.tun.txqueuelen, 9000u);
  cluster.bundles[0].link.txqueuelen = 100;
  EXPECT_EQ(desired_for(cluster, "edge").tunnels.at(0).tun.txqueuelen, 100u);
}

TEST(SelectNode, AnUnknownNodeIsRefusedWithTheNodesThereAre) {
  try {
    desired_for(sample_cluster(), "gatway");
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("gateway, edge, branch"));
  }
}

TEST(SelectNode, MasqueradeCoversThePeersPrefixes) {
  Cluster cluster = sample_cluster();
  cluster.nodes[0].masquerade = "eth0";
  const auto table = desired_for(cluster, "gateway").nft_table;
  ASSERT_TRUE(table && table->masquerade);
  EXPECT_THAT(table->masquerade->sources, Contains(prefix("192.168.50.0/24")));
  EXPECT_THAT(table->masquerade->sources, Not(Contains(prefix("10.20.0.0/16"))));
  EXPECT_EQ(table->isolated.size(), 0u);
}

TEST(SelectNode, TheKernelIsolatesDialersThatComeByOtherEngines) {
  Cluster cluster = sample_cluster();
  Bundle& bundle = cluster.bundles[0];
  const auto isolated = [&](const char* node) {
    const auto table = desired_for(cluster, node).nft_table;
    return table ? table->isolated : std::vector<std::vector<std::string>>{};
  };
  EXPECT_THAT(isolated("gateway"), testing::IsEmpty());  // the worker does
  bundle.tunnels[1].engine = Engine::wireguard;
  std::vector<std::string> devices;
  for (const DesiredTunnel& tunnel : desired_for(cluster, "gateway").tunnels)
    devices.push_back(tunnel.name);
  EXPECT_THAT(isolated("gateway"), testing::ElementsAre(devices));
  EXPECT_THAT(isolated("edge"), testing::IsEmpty());
  bundle.isolate = false;
  EXPECT_THAT(isolated("gateway"), testing::IsEmpty());
  bundle.isolate = true;
  bundle.dial.resize(1);
  EXPECT_THAT(isolated("gateway"), testing::IsEmpty());
}

TEST(Digest, ChangesOfKeysPeersAndTimingsNeedNoRestart) {
  const worker::Spec spec = desired_for(sample_cluster(), "gateway").tunnels[0].spec;
  worker::Spec more_peers = spec, other_port = spec, faster = spec;
  more_peers.peers.pop_back();
  faster.interval_ms = 50;
  other_port.port = 1;
  const auto digest = [](const worker::Spec& one) {
    return with_keys(one, {"a", "b", "c"}).digest;
  };
  EXPECT_NE(digest(spec), digest(more_peers));
  EXPECT_TRUE(updates_live(digest(spec), digest(more_peers)));
  EXPECT_TRUE(updates_live(digest(spec), digest(faster)));
  EXPECT_FALSE(updates_live(digest(spec), digest(other_port)));
  for (const auto& renewed :
       {with_keys(spec, {"x", "b", "c"}), with_keys(spec, {"a", "x", "c"}),
        with_keys(spec, {"a", "b", "x"}), with_keys(spec, {"a", "b", "c", "a list"})}) {
    EXPECT_NE(digest(spec), renewed.digest);
    EXPECT_TRUE(updates_live(digest(spec), renewed.digest));
  }
}

TEST(Digest, OfADatabasesFilesNeedsARestart) {
  worker::Spec spec = desired_for(sample_cluster(), "gateway").tunnels[0].spec, other;
  spec.transport = "postgres";
  spec.secrets = {{"passfile", "one"}};
  other = spec;
  other.secrets["passfile"] = "another";
  const auto digest = [](const worker::Spec& one) {
    return with_keys(one, {"a", "b", "c"}).digest;
  };
  EXPECT_FALSE(updates_live(digest(spec), digest(other)));
  EXPECT_THAT(with_keys(spec, {"a", "b", "c"}).secrets,
              testing::ElementsAre(testing::Pair("passfile", "one")))
      << "it has no business with the node's key";
}

TEST(Secrets, AreNotInTheWordsForAWorker) {
  const auto spec =
      with_keys(desired_for(sample_cluster(), "gateway").tunnels[0].spec, {"a", "b", "THE KEY"});
  EXPECT_EQ(spec.secrets.at("key"), "THE KEY");
  EXPECT_EQ(to_json(spec).dump().find("THE KEY"), std::string::npos);
}

TEST(Digest, BothEndsComputeTheSameForTheWire) {
  const Desired edge = desired_for(sample_cluster(), "edge");
  const Desired gateway = desired_for(sample_cluster(), "gateway");
  EXPECT_EQ(edge.tunnels[0].spec.peers[0].digest, gateway.tunnels[0].spec.peers[0].digest);
  EXPECT_NE(gateway.tunnels[0].spec.peers[0].digest, gateway.tunnels[0].spec.peers[1].digest);
  Cluster other = sample_cluster();
  other.nodes[1].subnets.clear();
  EXPECT_NE(desired_for(other, "edge").tunnels[0].spec.peers[0].digest,
            edge.tunnels[0].spec.peers[0].digest);
}

TEST(Fnv1a, MatchesThePublishedVectors) {
  EXPECT_EQ(fnv1a(""), 0xcbf29ce484222325u);
  EXPECT_EQ(fnv1a("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(fnv1a("foobar"), 0x85944171f73967e8u);
}

}  // namespace
}  // namespace tunorch
