#include "web/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

namespace tunorch::web {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

json histogram(std::vector<double> bounds, std::vector<int> counts, double sum) {
  return {{"bounds", bounds}, {"counts", counts}, {"sum", sum}};
}

Status sample() {
  const json session{{"tx_bytes", 1000},
                     {"rx_bytes", 2000},
                     {"rtt_us", 1500},
                     {"retransmits", 3},
                     {"tx_packets", 10},
                     {"rx_packets", 20},
                     {"cwnd_segments", 40},
                     {"queued_bytes", 0},
                     {"streams", 2},
                     {"live_streams", 1},
                     {"mtu", 1500},
                     {"probes", {{"answered", 9}, {"lost", 1}}},
                     {"rtt_seconds", histogram({0.001, 0.01}, {4, 2, 1}, 0.5)}};
  const json tunnel{{"name", "a-0"},
                    {"engine", "native"},
                    {"worker", "running"},
                    {"health", "up"},
                    {"drain", "no"},
                    {"weight", 3},
                    {"restarts", 2},
                    {"sessions", {{"edge", session}}},
                    {"dropped", {{"late", 7}}},
                    {"waiting_bytes", 0}};
  const json peer{{"name", "edge"},
                  {"live_tunnels", {"a-0"}},
                  {"nexthop_packets", {{"a-0", 5}}},
                  {"weights", {{"a-0", 3}}}};
  return status_from({{"cluster", "demo"},
                      {"node", "gate\"way"},
                      {"daemon", {{"started", "2026-01-02T03:04:05.678Z"}}},
                      {"events", {{"worker_ended", 4}}},
                      {"failovers", {{"path", histogram({0.1, 1}, {1, 0, 0}, 0.05)}}},
                      {"applies", {{"done", 1}, {"failed", 0}}},
                      {"certificate", {{"node", "2028-01-01T00:00:00Z"}}},
                      {"bundles",
                       {{{"name", "a"},
                         {"state", "degraded"},
                         {"live", 1},
                         {"tunnels", {tunnel}},
                         {"peers", {peer}}}}}});
}

/// Names of the labels of its first line: "bundle,tunnel".
std::string labels_of(const std::string& name, const std::string& text) {
  std::smatch line;
  const std::regex first("\n" + name + R"((?:_bucket)?(?:\{(.*)\})? [0-9.e+-]+\n)");
  if (!std::regex_search(text, line, first)) return "it is not there";
  std::string labels;
  const std::string given = line[1];
  const std::regex label(R"((\w+)="(?:[^"\\]|\\.)*")");
  for (std::sregex_iterator one(given.begin(), given.end(), label), end; one != end; ++one)
    if ((*one)[1] != "le") labels += (labels.empty() ? "" : ",") + (*one)[1].str();
  return labels;
}

TEST(WebMetricsTest, WithoutADaemonThatIsSaid) {
  const std::string text = metrics_text(std::nullopt);
  EXPECT_THAT(text, HasSubstr("tunorch_daemon_up 0\n"));
  EXPECT_THAT(text, HasSubstr("tunorch_build_info{version="));
  EXPECT_THAT(text, Not(HasSubstr("tunorch_tunnel")));
}

TEST(WebMetricsTest, NamesTunnelAndPeer) {
  const std::string text = metrics_text(sample());
  for (const char* line :
       {"tunorch_daemon_up 1\n",
        "tunorch_tunnel_up{bundle=\"a\",tunnel=\"a-0\",engine=\"native\"} 1\n",
        "tunorch_path_transmit_bytes_total{bundle=\"a\",tunnel=\"a-0\",peer=\"edge\"} 1000\n",
        "tunorch_path_last_rtt_seconds{bundle=\"a\",tunnel=\"a-0\",peer=\"edge\"} 0.0015\n",
        "tunorch_tunnel_dropped_packets_total{bundle=\"a\",tunnel=\"a-0\",reason=\"late\"} 7\n",
        "tunorch_bundle_state{bundle=\"a\",state=\"degraded\"} 1\n",
        "tunorch_bundle_state{bundle=\"a\",state=\"up\"} 0\n",
        "tunorch_events_total{event=\"worker_ended\"} 4\n",
        "tunorch_daemon_start_time_seconds 1767323045\n",
        "tunorch_certificate_expiry_timestamp_seconds{certificate=\"node\"} 1830297600\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(WebMetricsTest, BucketsAddUp) {
  const std::string text = metrics_text(sample());
  const std::string path = "{bundle=\"a\",tunnel=\"a-0\",peer=\"edge\"";
  EXPECT_THAT(text, HasSubstr("tunorch_path_rtt_seconds_bucket" + path + ",le=\"0.001\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("tunorch_path_rtt_seconds_bucket" + path + ",le=\"0.01\"} 6\n"));
  EXPECT_THAT(text, HasSubstr("tunorch_path_rtt_seconds_bucket" + path + ",le=\"+Inf\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("tunorch_path_rtt_seconds_count" + path + "} 7\n"));
}

TEST(WebMetricsTest, WhatANodeIsCalledCannotBreakALine) {
  EXPECT_THAT(metrics_text(sample()), HasSubstr("node=\"gate\\\"way\"} 1\n"));
}

TEST(WebMetricsTest, EveryKindIsExplained) {
  for (const MetricKind& kind : metric_kinds()) {
    EXPECT_THAT(kind.name, testing::MatchesRegex("tunorch_[a-z_]+"));
    EXPECT_EQ(kind.type == "counter", kind.name.ends_with("_total")) << kind.name;
    EXPECT_TRUE(kind.help.ends_with(".")) << kind.name;
  }
}

/// packaging/prometheus/metrics.txt, which rules and dashboard are held to: NAME TYPE LABELS HELP.
TEST(WebMetricsTest, TheListIsTheSame) {
  std::ifstream list(std::string(TUNORCH_SOURCE_DIR) + "/packaging/prometheus/metrics.txt");
  const std::vector<MetricKind> kinds = metric_kinds();
  auto kind = kinds.begin();
  const std::string text = metrics_text(sample());
  for (std::string line; std::getline(list, line);) {
    if (line.starts_with('#')) continue;
    ASSERT_NE(kind, kinds.end()) << line;
    std::istringstream words(line);
    std::string name, type, labels, help;
    words >> name >> type >> labels >> std::ws;
    std::getline(words, help);
    EXPECT_EQ((std::vector{name, type, help}), (std::vector{kind->name, kind->type, kind->help}));
    ++kind;
    EXPECT_EQ(labels_of(name, text), labels == "-" ? "" : labels) << name;
  }
  EXPECT_EQ(kind, kinds.end());
}

}  // namespace
}  // namespace tunorch::web
