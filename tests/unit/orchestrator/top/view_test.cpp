#include "orchestrator/top/view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "orchestrator/terminal/terminal.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

void take(TopModel& model, const json& status, double seconds) {
  model.take(status_from(status), seconds);
}

TopModel model_of(int tunnels) {
  json all = json::array();
  for (int i = 0; i < tunnels; ++i)
    all.push_back({{"name", "backbone-" + std::to_string(i)},
                   {"worker", "running"},
                   {"health", i == 1 ? "down" : "up"},
                   {"drain", "no"},
                   {"weight", 1},
                   {"rtt_us", 1000 + i},
                   {"tx_bytes", 0},
                   {"rx_bytes", 0},
                   {"restarts", 0},
                   {"reason", i == 1 ? "nobody answers" : ""},
                   {"sessions", json::object()}});
  const json bundle{{"name", "backbone"},  {"role", "dialer"}, {"state", "degraded"},
                    {"live", tunnels - 1}, {"tunnels", all},   {"peers", json::array()}};
  TopModel model;
  take(model, {{"cluster", "demo"}, {"node", "edge"}, {"bundles", json::array({bundle})}}, 1);
  return model;
}

std::string text_of(const ScreenLine& line) {
  std::string text;
  for (const Span& span : line.spans) text += span.text;
  return text;
}

std::string text_of(const std::vector<ScreenLine>& lines) {
  std::string text;
  for (const ScreenLine& line : lines) text += text_of(line) + "\n";
  return text;
}

TEST(TopView, FillsItsScreenAndNoMore) {
  const TopModel model = model_of(30);
  TopState state;
  state.message.text = std::string(300, 'm');
  state.events = {std::string(300, 'e'), "another"};
  for (const bool help : {false, true})
    for (std::size_t columns = 1; columns < 200; columns += 7)
      for (std::size_t lines = 1; lines < 60; lines += 3) {
        state.help = help;
        const auto view = top_view(model, state, columns, lines);
        ASSERT_EQ(view.size(), lines) << columns;
        for (const ScreenLine& line : view) ASSERT_LE(width(text_of(line)), columns) << lines;
      }
}

TEST(TopView, ShowsEverythingOnAWideTerminal) {
  TopState state;
  state.selected = "backbone-2";
  state.events = {"12:00:00  worker_started"};
  state.message = {"drain backbone-0: done", Tone::good};
  const auto view = top_view(model_of(4), state, 120, 30);
  const std::string text = text_of(view);
  for (const char* part : {"cluster demo",
                           "node edge",
                           "backbone degraded 3/4",
                           "TUNNEL",
                           "STATE",
                           "SENT",
                           "RECEIVED",
                           "LAST MIN.",
                           "RTT",
                           "LOSS",
                           "SHARE",
                           "RESTARTS",
                           "backbone-3",
                           "1.00 ms",
                           "idle of 25 %",
                           "nobody answers",
                           "EVENTS",
                           "worker_started",
                           "drain backbone-0: done",
                           "q quit",
                           "R restarts",
                           "n name▼"})
    EXPECT_THAT(text, HasSubstr(part));
  for (const ScreenLine& line : view)
    EXPECT_EQ(line.inverse, text_of(line).starts_with("backbone-2"));
  for (const ScreenLine& line : view)
    for (const Span& span : line.spans)
      if (span.text == "down") {
        EXPECT_EQ(span.tone, Tone::bad);
      }
}

TEST(TopView, LeavesOutColumnsAndKeepsNameAndState) {
  const std::string text = text_of(top_view(model_of(4), {}, 50, 20));
  EXPECT_THAT(text, AllOf(HasSubstr("backbone-1"), HasSubstr("down"), HasSubstr("SENT"),
                          HasSubstr("q quit"), Not(HasSubstr("RESTARTS")), Not(HasSubstr("MIN."))));
}

TEST(TopView, KeepsBarsOnAHundredColumns) {
  EXPECT_THAT(text_of(top_view(model_of(4), {}, 100, 20)),
              AllOf(HasSubstr("LAST MIN."), HasSubstr("LOSS"), HasSubstr("SHARE")));
}

TEST(TopView, SaysWhatItNeeds) {
  EXPECT_THAT(text_of(top_view(model_of(4), {}, 30, 20)), HasSubstr("30 x 20 is too small for"));
  EXPECT_THAT(text_of(top_view(model_of(4), {}, 100, 7)), HasSubstr("it needs 40 x 8"));
}

TEST(TopView, KeepsTheSelectedOneInSight) {
  const TopModel model = model_of(100);
  for (int i = 0; i < 100; ++i) {
    TopState state;
    state.selected = "backbone-" + std::to_string(i);
    int inverse = 0;
    for (const ScreenLine& line : top_view(model, state, 100, 24)) inverse += line.inverse ? 1 : 0;
    ASSERT_EQ(inverse, 1) << i;
  }
}

TEST(TopView, SaysThatMoreIsBelow) {
  EXPECT_THAT(text_of(top_view(model_of(100), {}, 100, 24)), HasSubstr("more lines"));
  EXPECT_THAT(text_of(top_view(model_of(3), {}, 100, 24)), Not(HasSubstr("more lines")));
}

TEST(TopView, SaysThatTheDaemonIsAway) {
  TopState state;
  state.node = "edge";
  state.away = "no daemon answers at /run/tunorch/control.sock";
  EXPECT_THAT(text_of(top_view({}, state, 80, 24)),
              AllOf(HasSubstr("no daemon answers at /run"), HasSubstr("Waiting for it"),
                    HasSubstr("node edge")));
}

TEST(TopView, SaysThatNothingIsApplied) {
  TopModel model;
  take(model, {{"cluster", ""}, {"node", ""}, {"bundles", json::array()}}, 1);
  EXPECT_THAT(text_of(top_view(model, {}, 80, 24)), HasSubstr("nothing is applied"));
}

TEST(TopView, NamesTunnelsInTheOrderShown) {
  TopState state;
  EXPECT_THAT(shown_tunnels(model_of(3), state),
              ElementsAre("backbone-0", "backbone-1", "backbone-2"));
  state.order = Order::rtt;
  EXPECT_THAT(shown_tunnels(model_of(3), state),
              ElementsAre("backbone-2", "backbone-1", "backbone-0"));
}

TEST(BitsText, HasThreeDigits) {
  EXPECT_EQ(bits_text(0), "0 bit/s");
  EXPECT_EQ(bits_text(100), "800 bit/s");
  EXPECT_EQ(bits_text(1250), "10.0 kbit/s");
  EXPECT_EQ(bits_text(124'950), "1.00 Mbit/s");
  EXPECT_EQ(bits_text(117'625'000), "941 Mbit/s");
  EXPECT_EQ(bits_text(1.25e9), "10.0 Gbit/s");
  EXPECT_EQ(bits_text(1e18), "8000000 Tbit/s");
}

TEST(InAscii, KeepsTheWidth) {
  EXPECT_EQ(in_ascii("a ▁▄█ … ü漢"), "a .=@ ~ ??");
  EXPECT_EQ(in_ascii(""), "");
}

}  // namespace
}  // namespace tunorch
