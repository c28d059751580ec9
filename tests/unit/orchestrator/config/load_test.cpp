// The loader against files in cases/: NAME.yaml with a NAME.expected beside it must be
// refused with exactly these problems (one a line, `line:col: message`), one without must load.
#include "orchestrator/config/load.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "orchestrator/config/problem.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

const fs::path cases = TUNORCH_SOURCE_DIR "/tests/unit/orchestrator/config/cases";

std::string contents(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What the loader says about the file, as a .expected file has it; "" where it loads.
std::string problems_of(const std::function<void()>& load) {
  try {
    load();
    return "";
  } catch (const ConfigError& error) {
    std::string lines;
    for (const Problem& problem : error.problems()) {
      const std::string place = problem.line == 0 ? ""
                                                  : std::to_string(problem.line) + ":" +
                                                        std::to_string(problem.column) + ": ";
      lines += place + problem.message + "\n";
    }
    return lines;
  }
}

std::string problems_of_text(const std::string& text) {
  return problems_of([&] { parse_cluster(text, "cluster.yaml", "/etc/tunorch"); });
}

class ConfigCase : public testing::TestWithParam<fs::path> {};

TEST_P(ConfigCase, LoadsOrSaysExactlyWhatIsWrong) {
  fs::path expected = GetParam();
  expected.replace_extension(".expected");
  EXPECT_EQ(problems_of([&] { load_cluster(GetParam()); }), contents(expected));
}

std::vector<fs::path> all_cases() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(cases))
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

INSTANTIATE_TEST_SUITE_P(Files, ConfigCase, testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.stem().string(); });

TEST(ConfigCases, HaveNoExpectationWithoutAFile) {
  for (const auto& entry : fs::directory_iterator(cases))
    if (entry.path().extension() == ".expected") {
      fs::path file = entry.path();
      EXPECT_TRUE(fs::exists(file.replace_extension(".yaml"))) << entry.path();
    }
}

TEST(LoadCluster, ReadsEveryKey) {
  const Cluster cluster = load_cluster(cases / "good_everything.yaml");
  EXPECT_EQ(cluster.name, "all-keys-0");
  EXPECT_EQ(cluster.protocol, 117);
  EXPECT_EQ(cluster.link_net.text(), "10.128.0.0/9");
  EXPECT_EQ(cluster.pki_dir, (cases.parent_path() / "keys").string());

  ASSERT_EQ(cluster.nodes.size(), 2U);
  const Node& hub = cluster.nodes[0];
  EXPECT_EQ(hub.name, "hub.example");
  EXPECT_THAT(hub.endpoints, ElementsAre("203.0.113.10", "2001:db8::10"));
  ASSERT_EQ(hub.inner.size(), 2U);
  EXPECT_EQ(hub.inner[1].text(), "fd77::1/128");
  ASSERT_EQ(hub.subnets.size(), 2U);
  EXPECT_EQ(hub.subnets[0].text(), "10.0.0.0/9");
  EXPECT_EQ(hub.masquerade, "eth0.100");
  EXPECT_EQ(hub.link_host, 70000U);

  ASSERT_EQ(cluster.bundles.size(), 1U);
  const Bundle& bundle = cluster.bundles[0];
  EXPECT_EQ(bundle.name, "b-1");
  EXPECT_EQ(bundle.listen, "hub.example");
  EXPECT_THAT(bundle.dial, ElementsAre("edge"));
  EXPECT_EQ(bundle.port, 65533);
  EXPECT_EQ(bundle.cipher, "chacha20-poly1305");
  EXPECT_EQ(bundle.tunnels.front().mtu, 1280U);
  EXPECT_EQ(bundle.link.txqueuelen, 100000U);
  EXPECT_EQ(bundle.sockets.sndbuf_bytes, 4096U);
  EXPECT_EQ(bundle.sockets.rcvbuf_bytes, 1U << 30);
  EXPECT_EQ(bundle.sockets.congestion, "cubic");
  EXPECT_EQ(bundle.health.interval, milliseconds(10));
  EXPECT_EQ(bundle.health.timeout, milliseconds(60000));
  EXPECT_EQ(bundle.health.rise, 1);
  EXPECT_EQ(bundle.health.fall, 100);
  EXPECT_THAT(bundle.health.targets, ElementsAre("10.1.0.1", "10.1.0.2"));
  EXPECT_EQ(bundle.health.quorum, 2);
  EXPECT_EQ(bundle.health.slow_start, seconds(0));
  EXPECT_EQ(bundle.health.damping, std::chrono::minutes(10));
  EXPECT_EQ(bundle.tunnels[0].priority, 255u);
  EXPECT_EQ(bundle.tunnels[1].priority, 100u);
  EXPECT_EQ(bundle.balance.mode, BalanceMode::hash);
  EXPECT_EQ(bundle.balance.hash, "l3");
  EXPECT_EQ(bundle.balance.buckets, 4096);
  EXPECT_EQ(bundle.balance.idle_timer, seconds(1)) << "whole 10 ms";
  EXPECT_EQ(bundle.balance.unbalanced_timer, std::chrono::hours(24));
  EXPECT_EQ(bundle.failback.policy, FailbackPolicy::hold);
  EXPECT_EQ(bundle.failback.hold, seconds(1));
  EXPECT_EQ(bundle.policy.table, 4294967294u);
  ASSERT_EQ(bundle.policy.from.size(), 2u);
  EXPECT_EQ(bundle.policy.fwmark, 7u);
  EXPECT_EQ(bundle.min_live, 3);
  EXPECT_EQ(bundle.restart.backoff, seconds(1));
  EXPECT_EQ(bundle.restart.max_backoff, std::chrono::hours(1));
  EXPECT_EQ(bundle.restart.quarantine_after, 1);
  EXPECT_EQ(bundle.all_down, AllDown::withdraw);
  EXPECT_FALSE(bundle.isolate);

  EXPECT_EQ(cluster.tuning.profile, "none");
  EXPECT_EQ(cluster.tuning.sysctl.at("net.ipv4.tcp_rmem"), "4096 87380 6291456");
  EXPECT_EQ(cluster.tuning.sysctl.at("net.ipv4.conf.eth0/1.forwarding"), "1");
  EXPECT_EQ(cluster.tuning.conntrack_udp_timeout, seconds(30));
  EXPECT_EQ(cluster.tuning.conntrack_tcp_time_wait, seconds(120));
}

TEST(LoadCluster, NumbersTunnelsByIdOrPlaceAndSlotsByPort) {
  const Bundle bundle = load_cluster(cases / "good_everything.yaml").bundles.at(0);
  ASSERT_EQ(bundle.tunnels.size(), 3U);
  const std::vector<int> ids = {bundle.tunnels[0].id, bundle.tunnels[1].id, bundle.tunnels[2].id};
  EXPECT_THAT(ids, ElementsAre(2, 1, 0));
  EXPECT_EQ(bundle.tunnels[0].slot, (65533U + 2U) % 64U);
  EXPECT_EQ(bundle.tunnels[2].slot, 65533U % 64U);
  EXPECT_EQ(bundle.tunnels[0].weight, 256U);
  EXPECT_EQ(bundle.tunnels[1].weight, 1U);
  EXPECT_EQ(bundle.tunnels[0].bind, "192.0.2.1");
  EXPECT_EQ(bundle.tunnels[2].bind, "wan+1");
}

/// good_least.yaml with more keys in its bundle.
Bundle bundle_with(const std::string& keys) {
  std::string text = contents(cases / "good_least.yaml");
  const std::string last = "dial: [b]";
  text.replace(text.find(last), last.size(), last + ", " + keys);
  return parse_cluster(text, "x", "/").bundles.at(0);
}

TEST(LoadCluster, ReadsEveryChoiceOfTraffic) {
  EXPECT_EQ(bundle_with("balance: {mode: auto}").balance.mode, BalanceMode::automatic);
  EXPECT_EQ(bundle_with("balance: {mode: resilient}").balance.mode, BalanceMode::resilient);
  EXPECT_EQ(bundle_with("balance: {mode: hash}").balance.mode, BalanceMode::hash);
  EXPECT_EQ(bundle_with("failback: now").failback.policy, FailbackPolicy::now);
  EXPECT_EQ(bundle_with("failback: hold").failback.policy, FailbackPolicy::hold);
  EXPECT_EQ(bundle_with("failback: manual").failback.policy, FailbackPolicy::manual);
}

TEST(LoadCluster, TakesTheLowestBoundsOfTraffic) {
  const Bundle bundle = bundle_with(
      "tunnels: [{priority: 1}], health: {targets: [], quorum: 1, slow_start: 0s, damping: 0ms}, "
      "balance: {buckets: 8, idle_timer: 10ms, unbalanced_timer: 0h}, failback_hold: 1s, "
      "policy: {table: 1, fwmark: 1}");
  EXPECT_EQ(bundle.tunnels.at(0).priority, 1U);
  EXPECT_EQ(bundle.health.slow_start, seconds(0));
  EXPECT_EQ(bundle.health.damping, seconds(0));
  EXPECT_EQ(bundle.balance.buckets, 8);
  EXPECT_EQ(bundle.balance.idle_timer, milliseconds(10));
  EXPECT_EQ(bundle.balance.unbalanced_timer, seconds(0));
  EXPECT_EQ(bundle.failback.hold, seconds(1));
  EXPECT_EQ(bundle.policy.table, 1U);
  EXPECT_TRUE(bundle.policy.from.empty());
  EXPECT_EQ(bundle.policy.fwmark, 1U);
}

// 0 would be never, the opposite of what so short a time asks for.
TEST(LoadCluster, DoesNotRoundAShortUnbalancedTimerToNever) {
  EXPECT_EQ(bundle_with("balance: {unbalanced_timer: 1ms}").balance.unbalanced_timer,
            milliseconds(10));
  EXPECT_EQ(bundle_with("balance: {unbalanced_timer: 19ms}").balance.unbalanced_timer,
            milliseconds(10));
}

TEST(LoadCluster, TakesDefaultRoutesOfBothFamilies) {
  const Cluster cluster = parse_cluster(
      "cluster: c\n"
      "nodes: {a: {endpoint: 203.0.113.1, inner: [10.77.0.1], subnets: [0.0.0.0/0]},\n"
      "        b: {inner: [10.77.0.2], subnets: ['::/0']}}\n"
      "bundles: {x: {listen: a, dial: [b], policy: {table: 7, from: [0.0.0.0/0, '::/0']}}}\n",
      "x", "/");
  EXPECT_EQ(cluster.nodes.at(0).subnets.at(0).text(), "0.0.0.0/0");
  EXPECT_EQ(cluster.nodes.at(1).subnets.at(0).text(), "::/0");
  EXPECT_EQ(cluster.bundles.at(0).policy.from.size(), 2U);
}

TEST(LoadCluster, TakesAtMost64SourcesOfAPolicy) {
  std::string sources = "10.0.0.0/24";
  for (int i = 1; i < 64; ++i) sources += ", 10.0." + std::to_string(i) + ".0/24";
  const auto policy = [](const std::string& from) {
    return "policy: {table: 7, from: [" + from + "]}";
  };
  EXPECT_EQ(bundle_with(policy(sources)).policy.from.size(), 64U);
  EXPECT_THAT(problems_of([&] { bundle_with(policy(sources + ", 10.9.0.0/24")); }),
              HasSubstr("from has 65 elements; allowed: a list of networks, 0 to 64\n"));
}

// Each host counts its tables for itself.
TEST(LoadCluster, LetsBundlesWithoutACommonNodeUseTheSameTable) {
  EXPECT_EQ(
      problems_of_text("cluster: c\n"
                       "nodes: {a: {endpoint: 203.0.113.1, inner: [10.77.0.1]},\n"
                       "        b: {inner: [10.77.0.2]}, d: {inner: [10.77.0.4]},\n"
                       "        e: {endpoint: 203.0.113.5, inner: [10.77.0.5]}}\n"
                       "bundles: {x: {listen: a, dial: [b], policy: {table: 7, fwmark: 1}},\n"
                       "          y: {listen: e, dial: [d], policy: {table: 7, fwmark: 1}}}\n"),
      "");
}

// The table's defaults and those of the structs are written twice; here they must agree.
TEST(LoadCluster, FillsInTheDefaultsOfTheStructs) {
  const Cluster cluster = load_cluster(cases / "good_least.yaml");
  const Bundle& given = cluster.bundles.at(0);
  const Bundle plain;
  EXPECT_EQ(cluster.protocol, Cluster().protocol);
  EXPECT_EQ(cluster.link_net.text(), "198.18.0.0/15");
  EXPECT_EQ(cluster.pki_dir, (cases / "pki").string());
  EXPECT_EQ(cluster.tuning.profile, Tuning().profile);
  EXPECT_FALSE(cluster.tuning.conntrack_udp_timeout.has_value());
  EXPECT_EQ(given.tunnels.size(), 4U);
  EXPECT_EQ(given.port, plain.port);
  EXPECT_EQ(given.cipher, plain.cipher);
  EXPECT_EQ(given.streams, plain.streams);
  EXPECT_EQ(given.tunnels.front().mtu, Tunnel{}.mtu);
  EXPECT_EQ(given.link.txqueuelen, plain.link.txqueuelen);
  EXPECT_EQ(given.sockets.sndbuf_bytes, plain.sockets.sndbuf_bytes);
  EXPECT_EQ(given.sockets.rcvbuf_bytes, plain.sockets.rcvbuf_bytes);
  EXPECT_EQ(given.sockets.congestion, plain.sockets.congestion);
  EXPECT_EQ(given.health.interval, plain.health.interval);
  EXPECT_EQ(given.health.timeout, plain.health.timeout);
  EXPECT_EQ(given.health.rise, plain.health.rise);
  EXPECT_EQ(given.health.fall, plain.health.fall);
  EXPECT_EQ(given.health.targets, plain.health.targets);
  EXPECT_EQ(given.health.quorum, plain.health.quorum);
  EXPECT_EQ(given.health.slow_start, plain.health.slow_start);
  EXPECT_EQ(given.health.damping, plain.health.damping);
  EXPECT_EQ(given.tunnels.at(0).priority, Tunnel().priority);
  EXPECT_EQ(given.balance.mode, plain.balance.mode);
  EXPECT_EQ(given.balance.hash, plain.balance.hash);
  EXPECT_EQ(given.balance.buckets, plain.balance.buckets);
  EXPECT_EQ(given.balance.idle_timer, plain.balance.idle_timer);
  EXPECT_EQ(given.balance.unbalanced_timer, plain.balance.unbalanced_timer);
  EXPECT_EQ(given.failback.policy, plain.failback.policy);
  EXPECT_EQ(given.failback.hold, plain.failback.hold);
  EXPECT_EQ(given.policy.table, plain.policy.table);
  EXPECT_EQ(given.policy.from, plain.policy.from);
  EXPECT_EQ(given.policy.fwmark, plain.policy.fwmark);
  EXPECT_EQ(given.min_live, plain.min_live);
  EXPECT_EQ(given.restart.backoff, plain.restart.backoff);
  EXPECT_EQ(given.restart.max_backoff, plain.restart.max_backoff);
  EXPECT_EQ(given.restart.quarantine_after, plain.restart.quarantine_after);
  EXPECT_EQ(given.all_down, plain.all_down);
  EXPECT_EQ(given.isolate, plain.isolate);
}

// The number is part of the wire: both ends make it from the name, each with its own binary.
TEST(LoadCluster, KeepsTheHostNumbersOfEarlierVersions) {
  const Cluster cluster = load_cluster(cases / "good_least.yaml");
  EXPECT_EQ(cluster.find_node("a")->link_host, 1625U);
  EXPECT_EQ(cluster.find_node("b")->link_host, 1910U);
}

TEST(LoadCluster, NamesFileLineAndColumn) {
  try {
    parse_cluster("cluster: demo\nnode: 1\n", "demo.yaml", "/");
    FAIL() << "loaded";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("\ndemo.yaml:2:1: unknown key 'node'; did you mean 'nodes'?"));
  }
}

TEST(LoadCluster, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(problems_of([] { load_cluster(cases / "no-such-file.yaml"); }),
            "cannot read the cluster file: No such file or directory\n");
  EXPECT_EQ(problems_of([] { load_cluster(cases); }),
            "cannot read the cluster file: Is a directory\n");
  EXPECT_EQ(problems_of([] { load_cluster("/dev/zero"); }),
            "cannot read the cluster file: larger than 1MiB\n");
}

TEST(ParseCluster, RefusesTooMuch) {
  EXPECT_THAT(problems_of_text("cluster: " + std::string(1 << 20, 'x')),
              HasSubstr("bytes; allowed: at most 1048576"));
  std::string many = "cluster: [";
  for (int i = 0; i < 250'000; ++i) many += "1,";
  EXPECT_THAT(problems_of_text(many + "]"), HasSubstr("more than 200000 values"));
  EXPECT_THAT(problems_of_text(std::string(500'000, '[')), HasSubstr("nested too deep"));
  EXPECT_THAT(problems_of_text("a" + std::string(300, 'a') + ": 1"), HasSubstr("this is no key"));
}

TEST(ParseCluster, EndsSoonWhateverIsWrong) {
  std::string text = "cluster: demo\nbundles: {}\nnodes:\n";
  for (int i = 0; i < 4000; ++i)
    text += "  n" + std::to_string(i) + ": {inner: [10.0.0.1], bad: 1}\n";
  const auto start = std::chrono::steady_clock::now();
  try {
    parse_cluster(text, "x", "/");
    FAIL() << "loaded";
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.problems().size(), 1000U);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(10));
}

TEST(ParseCluster, TakesRelativePathsFromTheBaseDirectory) {
  const std::string text = contents(cases / "good_least.yaml");
  EXPECT_EQ(parse_cluster(text, "x", "/srv/a").pki_dir, "/srv/a/pki");
  EXPECT_EQ(parse_cluster(text + "pki: {dir: ./b/../c/.}\n", "x", "/srv/a").pki_dir, "/srv/a/c");
  EXPECT_EQ(parse_cluster(text + "pki: {dir: /keys}\n", "x", "/srv/a").pki_dir, "/keys");
}

}  // namespace
}  // namespace tunorch
