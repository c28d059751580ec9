#include "orchestrator/top/model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace tunorch {
namespace {

using nlohmann::json;
using testing::DoubleNear;
using testing::ElementsAre;
using testing::Optional;

void take(TopModel& model, const json& status, double seconds) {
  model.take(status_from(status), seconds);
}

json tunnel(const std::string& name, std::uint64_t tx, std::uint64_t rx) {
  return {{"name", name},
          {"worker", "running"},
          {"health", "up"},
          {"drain", "no"},
          {"weight", 1},
          {"rtt_us", 1500},
          {"tx_bytes", tx},
          {"rx_bytes", rx},
          {"restarts", 0},
          {"reason", ""},
          {"sessions", json::object()}};
}

json status_of(const std::vector<json>& tunnels, const std::vector<json>& peers = {}) {
  const json bundle{{"name", "backbone"}, {"role", "dialer"},   {"state", "up"},
                    {"live", 1},          {"tunnels", tunnels}, {"peers", peers}};
  return {{"cluster", "demo"}, {"node", "edge"}, {"bundles", json::array({bundle})}};
}

const TunnelRow& row(const TopModel& model, std::size_t i = 0) {
  return model.bundles().at(0).tunnels.at(i);
}

std::vector<std::string> names(const std::vector<TunnelRow>& rows) {
  std::vector<std::string> all;
  for (const TunnelRow& one : rows) all.push_back(one.name);
  return all;
}

TEST(TopModelTest, MakesRatesOfTwoStatuses) {
  TopModel model;
  take(model, status_of({tunnel("a", 1000, 500)}), 10);
  EXPECT_EQ(row(model).rate.sum(), 0);
  EXPECT_TRUE(row(model).history.empty());
  take(model, status_of({tunnel("a", 3000, 900)}), 12);
  EXPECT_DOUBLE_EQ(row(model).rate.sent, 1000);
  EXPECT_DOUBLE_EQ(row(model).rate.received, 200);
  EXPECT_DOUBLE_EQ(model.total().sum(), 1200);
  EXPECT_EQ(model.cluster(), "demo");
  EXPECT_THAT(row(model).rtt_ms, Optional(1.5));
}

TEST(TopModelTest, TakesTheTimeOfTheStatusWhereItTellsIt) {
  TopModel model;
  json status = status_of({tunnel("a", 0, 0)});
  status["time"] = "2026-03-01T23:59:59.500Z";
  take(model, status, 10);
  status = status_of({tunnel("a", 4000, 0)});
  status["time"] = "2026-03-02T00:00:01.500Z";
  take(model, status, 11);
  EXPECT_DOUBLE_EQ(row(model).rate.sent, 2000);
}

TEST(TopModelTest, HasNoNegativeRates) {
  TopModel model;
  take(model, status_of({tunnel("a", 5000, 5000)}), 1);
  take(model, status_of({tunnel("a", 100, 6000)}), 2);
  EXPECT_EQ(row(model).rate.sent, 0) << "a session ended, and its bytes with it";
  EXPECT_EQ(row(model).rate.received, 1000);
}

TEST(TopModelTest, CountsBySessionWhereItCan) {
  const auto with = [](const json& sessions) {
    json one = tunnel("a", 0, 0);
    one["sessions"] = sessions;
    return status_of({one});
  };
  TopModel model;
  take(model,
       with({{"x", {{"tx_bytes", 1000}, {"rx_bytes", 0}, {"loss_percent", 1}}},
             {"y", {{"tx_bytes", 9000}, {"rx_bytes", 0}, {"loss_percent", 7.5}}}}),
       1);
  EXPECT_THAT(row(model).loss, Optional(7.5));
  take(model,
       with({{"x", {{"tx_bytes", 1500}, {"rx_bytes", 0}}},
             {"z", {{"tx_bytes", 70000}, {"rx_bytes", 0}}}}),
       2);
  EXPECT_EQ(row(model).rate.sent, 500) << "the end of y takes nothing off, z says nothing yet";
  EXPECT_EQ(row(model).loss, std::nullopt);
}

TEST(TopModelTest, IgnoresAStatusTooSoonAfterAnother) {
  TopModel model;
  take(model, status_of({tunnel("a", 0, 0)}), 1);
  take(model, status_of({tunnel("a", 100, 0)}), 1.001);
  take(model, status_of({tunnel("a", 1000, 0)}), 2);
  EXPECT_DOUBLE_EQ(row(model).rate.sent, 1000);
}

TEST(TopModelTest, BeginsAnewWhereAClockWentBack) {
  TopModel model;
  take(model, status_of({tunnel("a", 0, 0)}), 100);
  take(model, status_of({tunnel("a", 1000, 0)}), 50);
  EXPECT_TRUE(row(model).history.empty());
  take(model, status_of({tunnel("a", 2000, 0)}), 51);
  EXPECT_DOUBLE_EQ(row(model).rate.sent, 1000);
}

TEST(TopModelTest, KeepsAMinute) {
  TopModel model;
  for (int second = 0; second <= 200; ++second)
    take(model, status_of({tunnel("a", second * second, 0)}), second);
  EXPECT_EQ(row(model).history.size(), history_length);
  EXPECT_EQ(row(model).samples, 200U);
  EXPECT_EQ(row(model).history.back().sent, 200 * 200 - 199 * 199);
}

TEST(TopModelTest, ForgetsTunnelsThatAreGone) {
  TopModel model;
  take(model, status_of({tunnel("a", 0, 0), tunnel("b", 0, 0)}), 1);
  take(model, status_of({tunnel("a", 10, 0)}), 2);
  take(model, status_of({tunnel("a", 20, 0), tunnel("b", 7000, 0)}), 3);
  EXPECT_EQ(row(model, 1).rate.sent, 0) << "another one of the same name";
}

TEST(TopModelTest, ComparesTheShareWithTheWeight) {
  json a = tunnel("a", 0, 0), b = tunnel("b", 0, 0);
  a["weight"] = 3;
  TopModel model;
  take(model, status_of({a, b}), 1);
  EXPECT_EQ(row(model).share, std::nullopt) << "no traffic";
  EXPECT_THAT(row(model).entitled, Optional(75.0));
  a["tx_bytes"] = 400'000;
  b["rx_bytes"] = 1'200'000;
  take(model, status_of({a, b}), 2);
  EXPECT_THAT(row(model).share, Optional(25.0));
  EXPECT_THAT(row(model, 1).share, Optional(75.0));
}

TEST(TopModelTest, TakesTheWeightsInForceWhereTheStatusTellsThem) {
  TopModel model;
  take(model,
       status_of({tunnel("a", 0, 0), tunnel("b", 0, 0), tunnel("c", 0, 0)},
                 {{{"name", "x"}, {"weights", {{"a", 1}, {"b", 4}}}},
                  {{"name", "y"}, {"weights", {{"a", 1}, {"b", 0}}}},
                  {{"name", "z"}, {"weights", json::object()}}}),
       1);
  EXPECT_THAT(row(model, 0).entitled, Optional(DoubleNear(60, 1e-9)));
  EXPECT_THAT(row(model, 1).entitled, Optional(DoubleNear(40, 1e-9)));
  EXPECT_THAT(row(model, 2).entitled, Optional(0.0));
}

TEST(TopModelTest, ShowsTheStateThatSaysMost) {
  json draining = tunnel("a", 0, 0), dead = tunnel("b", 0, 0), down = tunnel("c", 0, 0);
  draining["drain"] = "draining";
  dead["worker"] = "quarantined";
  dead["drain"] = "drained";
  down["health"] = "down";
  TopModel model;
  take(model, status_of({draining, dead, down, tunnel("d", 0, 0)}), 1);
  EXPECT_EQ(row(model, 0).state, "draining");
  EXPECT_EQ(row(model, 1).state, "quarantined");
  EXPECT_TRUE(row(model, 1).broken);
  EXPECT_EQ(row(model, 2).state, "down");
  EXPECT_EQ(row(model, 3).state, "up");
  EXPECT_TRUE(row(model, 3).healthy);
}

TEST(TopModelTest, TellsWhatIsInTheWay) {
  TopModel model;
  take(
      model,
      {{"cluster", ""}, {"problem", "cannot load"}, {"conflicts", json::array({"a route\x1b[2J"})}},
      1);
  EXPECT_THAT(model.problems(), ElementsAre("cannot load", "in the way: a route\\x1b[2J"));
  EXPECT_TRUE(model.bundles().empty());
}

TEST(SortRows, ByNameAsPeopleCount) {
  std::vector<TunnelRow> rows{{.name = "b-10"}, {.name = "b-2"}, {.name = "a-3"}, {.name = "b-02"}};
  sort_rows(rows, Order::name, false);
  EXPECT_EQ(names(rows).front(), "a-3");
  EXPECT_EQ(names(rows).back(), "b-10");
  sort_rows(rows, Order::name, true);
  EXPECT_EQ(names(rows).front(), "b-10");
}

TEST(SortRows, ByNumbersLargestFirst) {
  std::vector<TunnelRow> rows{{.name = "a", .rate = {1, 1}, .restarts = 2},
                              {.name = "b", .rate = {9, 0}, .rtt_ms = 3},
                              {.name = "c", .rate = {1, 1}, .rtt_ms = 5, .loss = 1, .share = 2}};
  const auto sorted = [&](Order order, bool reversed = false) {
    sort_rows(rows, order, reversed);
    return names(rows);
  };
  EXPECT_THAT(sorted(Order::throughput), ElementsAre("b", "a", "c"));
  EXPECT_THAT(sorted(Order::throughput, true), ElementsAre("a", "c", "b"));
  EXPECT_THAT(sorted(Order::rtt), ElementsAre("c", "b", "a"));
  EXPECT_THAT(sorted(Order::loss), ElementsAre("c", "a", "b"));
  EXPECT_THAT(sorted(Order::share), ElementsAre("c", "a", "b"));
  EXPECT_THAT(sorted(Order::restarts), ElementsAre("a", "b", "c"));
}

TEST(SecondsOf, ReadsWhatTheStatusSays) {
  EXPECT_THAT(seconds_of("1970-01-02T00:00:00.250Z"), Optional(86400.25));
  EXPECT_THAT(seconds_of("2024-02-29T12:00:00Z"), Optional(1709208000.0));
  for (const char* wrong : {"", "soon", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00",
                            "2026-01-01T24:00:00Z", "2026-01-01 00:00:00Z"})
    EXPECT_EQ(seconds_of(wrong), std::nullopt) << wrong;
}

std::deque<Traffic> ramp(int from, int to) {
  std::deque<Traffic> history;
  for (int i = from; i < to; ++i) history.push_back({static_cast<double>(i), 0});
  return history;
}

TEST(Sparkline, DrawsTheHighestOfEachPart) {
  EXPECT_EQ(sparkline({}, 0, &Traffic::sent, 100, 4), "    ");
  EXPECT_EQ(sparkline({{0, 5}}, 1, &Traffic::sent, 100, 4), "   ▁");
  EXPECT_EQ(sparkline({{0, 100}}, 1, &Traffic::received, 100, 4), "   █");
  EXPECT_EQ(sparkline({{1, 0}}, 1, &Traffic::sent, 100, 4), "   ▂") << "little is not nothing";
  EXPECT_EQ(sparkline(ramp(0, 60), 60, &Traffic::sent, 59, 6), "▃▄▅▆▇█");
  EXPECT_EQ(sparkline({{0, 0}}, 1, &Traffic::sent, 0, 2), " ▁");
  EXPECT_EQ(sparkline({{200, 0}}, 1, &Traffic::sent, 100, 1), "█");
  EXPECT_EQ(sparkline({{1, 0}}, 1, &Traffic::sent, 1, 0), "");
}

TEST(Sparkline, MovesOnWithoutChanging) {
  const std::string before = sparkline(ramp(0, 60), 60, &Traffic::sent, 100, 10);
  const std::string after = sparkline(ramp(6, 66), 66, &Traffic::sent, 100, 10);
  constexpr std::size_t bar_bytes = 3;
  EXPECT_EQ(before.substr(bar_bytes), after.substr(0, after.size() - bar_bytes));
}

}  // namespace
}  // namespace tunorch
