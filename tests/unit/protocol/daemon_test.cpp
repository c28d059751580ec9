#include "protocol/daemon.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace tunorch {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

template <class T>
T parsed(const std::string& line) {
  return std::get<T>(parse_daemon_request(line));
}

std::string refusal(const std::string& line) {
  try {
    parse_daemon_request(line);
  } catch (const BadMessage& error) {
    return error.what();
  }
  return "";
}

TEST(DaemonRequests, GoThereAndBack) {
  const DrainRequest drain = parsed<DrainRequest>(to_line(DrainRequest{"backbone-1", 1500}));
  EXPECT_EQ(drain.tunnel, "backbone-1");
  EXPECT_EQ(drain.deadline_ms, 1500u);
  ApplyRequest apply{{"cluster: demo\n", "cluster.yaml", "/etc/tunorch"}, 5, true, 7};
  const ApplyRequest again = parsed<ApplyRequest>(to_line(apply));
  EXPECT_EQ(again.text, apply.text);
  EXPECT_EQ(again.base_dir, apply.base_dir);
  EXPECT_EQ(again.confirm_ms, 7u);
  EXPECT_TRUE(again.wait_peers);
  const ExplainRequest explain = parsed<ExplainRequest>(
      to_line(ExplainRequest{{"10.0.0.1", "10.0.0.2", "udp", 1, 65535}, true}));
  EXPECT_EQ(explain.destination_port, 65535);
  EXPECT_TRUE(explain.in);
}

TEST(DaemonRequests, AreWhatTheVersionBeforeSends) {
  const RestartRequest restart =
      parsed<RestartRequest>(R"({"op":"restart","tunnel":"b-0","rolling":true})");
  EXPECT_EQ(restart.tunnel, "b-0");
  EXPECT_EQ(restart.deadline_ms, 10'000u);
  EXPECT_EQ(parsed<LogsRequest>(R"({"op":"logs"})").lines, 0u);
}

TEST(DaemonRequests, IgnoreFieldsOfALaterVersion) {
  EXPECT_TRUE(parsed<StatusRequest>(R"({"op":"status","histograms":true,"new":{}})").histograms);
}

TEST(DaemonRequests, RefuseInWordsWhatTheyCannotTake) {
  EXPECT_THAT(refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(R"({"op":7})"), HasSubstr("no 'op'"));
  EXPECT_THAT(refusal(R"({"op":"fly"})"), HasSubstr("unknown request 'fly'"));
  EXPECT_EQ(refusal(R"({"op":"drain","deadline_ms":-1})"),
            "invalid value for 'deadline_ms': -1 is not a number from 0 to 4294967295");
  EXPECT_THAT(refusal(R"({"op":"drain","deadline_ms":"soon"})"), HasSubstr("'deadline_ms'"));
  EXPECT_THAT(refusal(R"({"op":"drain","tunnel":1})"), HasSubstr("is not a string"));
  EXPECT_THAT(refusal(R"({"op":"events","follow":1})"), HasSubstr("is not true or false"));
  EXPECT_THAT(refusal(R"({"op":"explain","source_port":65536})"), HasSubstr("0 to 65535"));
}

TEST(DaemonRequests, SayWhichOfThemOnlyRead) {
  for (const char* op : {"status", "events", "logs", "explain"})
    EXPECT_TRUE(only_reads(parse_daemon_request(json{{"op", op}}.dump()))) << op;
  for (const char* op :
       {"apply", "plan", "confirm", "revert", "down", "drain", "undrain", "restart", "failback"})
    EXPECT_FALSE(only_reads(parse_daemon_request(json{{"op", op}}.dump()))) << op;
}

TEST(DaemonAnswers, GoThereAndBack) {
  ApplyDone done{false, {"b-0: not healthy"}, PageState{"127.0.0.1:9810", 7, ""}, 900};
  const auto answer = std::get<ApplyDone>(*parse_daemon_answer(json::parse(to_line(done))));
  EXPECT_FALSE(answer.done);
  EXPECT_THAT(answer.missing, ElementsAre("b-0: not healthy"));
  EXPECT_EQ(answer.web->listen, "127.0.0.1:9810");
  EXPECT_EQ(answer.confirm_within_ms, 900);
  const auto failure =
      std::get<Failure>(*parse_daemon_answer(json::parse(to_line(Failure{"x", true, false}))));
  EXPECT_TRUE(failure.config);
  EXPECT_FALSE(failure.idle);
  const PlanReport report{{"+ a"}, {"+ b"}, {"c"}, {"d"}};
  EXPECT_THAT(std::get<PlanReport>(*parse_daemon_answer(json::parse(to_line(report)))).later,
              ElementsAre("+ b"));
  EXPECT_EQ(
      std::get<DownDone>(*parse_daemon_answer(json::parse(to_line(DownDone{true, {}, "edge"}))))
          .node,
      "edge");
  EXPECT_TRUE(std::holds_alternative<DoneAnswer>(*parse_daemon_answer(json{{"done", true}})));
}

TEST(DaemonAnswers, LeaveDocumentsToTheirReaders) {
  EXPECT_FALSE(parse_daemon_answer(json{{"event", "worker_ended"}, {"error", "x"}}));
  EXPECT_FALSE(parse_daemon_answer(json{{"bundles", json::array()}}));
  EXPECT_FALSE(parse_daemon_answer(json::array()));
}

}  // namespace
}  // namespace tunorch
