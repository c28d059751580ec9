// The documents a daemon answers with: what they look like as JSON, and what is refused.
#include "protocol/status.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "protocol/event.hpp"
#include "protocol/explanation.hpp"
#include "protocol/worker.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Status sample() {
  TunnelStatus tunnel;
  tunnel.name = "b-0";
  tunnel.health = "up";
  tunnel.dropped = {{"late", 3}};
  tunnel.sessions["edge"].rtt_us = 1500;
  tunnel.sessions["edge"].probes = {7, 1};
  Status status;
  status.cluster = "demo";
  status.bundles.emplace_back().tunnels = {tunnel};
  return status;
}

std::string refusal(const std::string& text) {
  try {
    status_from(json::parse(text));
  } catch (const BadMessage& bad) {
    return bad.what();
  }
  return "";
}

TEST(StatusMessage, GoesThereAndBack) {
  const std::string line = to_line(sample());
  EXPECT_EQ(to_line(status_from(json::parse(line))), line);
}

TEST(StatusMessage, LeavesOutWhatNothingMeasures) {
  const json status = json::parse(to_line(sample()));
  const json& session = status["bundles"][0]["tunnels"][0]["sessions"]["edge"];
  EXPECT_EQ(session["rtt_us"], 1500);
  EXPECT_EQ(session["probes"]["lost"], 1);
  EXPECT_FALSE(session.contains("tx_bytes"));
  EXPECT_FALSE(status.contains("problem"));
}

/// Scripts ask for it by `.confinement == null`, as they always could.
TEST(StatusMessage, SaysNullForAProcessThatIsNotThere) {
  const json tunnel = json::parse(to_line(sample()))["bundles"][0]["tunnels"][0];
  EXPECT_TRUE(tunnel.at("confinement").is_null());
}

TEST(StatusMessage, TakesThatOfAnotherVersion) {
  const Status status = status_from({{"cluster", "demo"}, {"later", {{"x", 1}}}});
  EXPECT_EQ(status.cluster, "demo");
  EXPECT_EQ(status.daemon.pid, 0);
}

TEST(StatusMessage, NamesThePlaceOfAWrongValue) {
  EXPECT_EQ(refusal(R"({"bundles":[{"tunnels":[{"weight":"x"}]}]})"),
            "invalid value for 'bundles/0/tunnels/0/weight': \"x\" is not a number from 0 to "
            "4294967295");
  EXPECT_THAT(refusal(R"({"bundles":{}})"), HasSubstr("'bundles': {} is not a list"));
  EXPECT_THAT(refusal(R"({"failovers":{"path":7}})"), HasSubstr("'failovers/path'"));
  EXPECT_THAT(refusal("[]"), HasSubstr("is not an object"));
}

TEST(EventMessage, LeavesOutWhatHasNoValue) {
  EXPECT_EQ(to_line(Event{"confirmed", "", "", "", -1, 4, "2026-01-01T00:00:00Z"}),
            R"({"event":"confirmed","id":4,"time":"2026-01-01T00:00:00Z"})");
  EXPECT_EQ(event_from({{"event", "x"}}).duration_ms, -1);
}

TEST(ExplanationMessage, SaysNullForAPeerThatDidNotAnswer) {
  const json both = json::parse(to_line(Explanation{}));
  EXPECT_TRUE(both.at("peers").is_null());
  EXPECT_FALSE(both.at("ours").contains("route"));
}

TEST(WorkerMessage, OfALaterVersionIsUnknown) {
  EXPECT_EQ(worker::parse_report(R"({"event":"sings","tunnel":"b-0"})").event,
            worker::ReportKind::unknown);
  EXPECT_EQ(worker::parse_request(R"({"op":"sing"})").op, worker::RequestOp::unknown);
  worker::Report report;
  report.event = worker::ReportKind::told;
  EXPECT_EQ(worker::parse_report(to_packet(report)).event, worker::ReportKind::told);
  EXPECT_EQ(json::parse(to_packet(worker::Request{worker::RequestOp::carry}))["op"], "carry");
}

TEST(WorkerMessage, OfAWrongKindIsRefusedInWords) {
  try {
    worker::parse_report(R"({"event":"heartbeat","sessions":[{"rtt_us":-1}]})");
    FAIL() << "it was taken";
  } catch (const BadMessage& bad) {
    EXPECT_THAT(bad.what(), HasSubstr("'sessions/0/rtt_us': -1 is not a number from 0"));
  }
}

}  // namespace
}  // namespace tunorch
