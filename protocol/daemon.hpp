// What clients ask the daemon at its control socket, and the short answers: plain structs with
// their defaults, and their JSON. Neither side's behaviour is here. The documents that some
// requests are answered with are in status.hpp, event.hpp and explanation.hpp.
//
// RUNTIME/control.sock is an AF_UNIX stream: one request per connection as one line of JSON, then
// any number of answers, each a line. A field that is missing has its default, and one that is not
// known is ignored, so that programs of the version before and of the next one understand it
// (docs/compatibility.md). A value of the wrong kind is refused.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/bad_message.hpp"
#include "protocol/or_null.hpp"

namespace tunorch {

/// A cluster file as its reader has it.
struct FileText {
  std::string text;
  std::string name;      // for positions: file:line:col
  std::string base_dir;  // relative paths in it are relative to this
};
BOOST_DESCRIBE_STRUCT(FileText, (), (text, name, base_dir))

struct ApplyRequest : FileText {
  static constexpr const char* op = "apply";
  std::uint32_t timeout_ms = 30'000;  // how long to wait for health
  bool wait_peers = false;            // a listener also waits for every dialer
  std::uint32_t confirm_ms = 0;       // rolls back after that unless confirmed; 0: never
};
BOOST_DESCRIBE_STRUCT(ApplyRequest, (FileText), (timeout_ms, wait_peers, confirm_ms))

struct PlanRequest : FileText {
  static constexpr const char* op = "plan";
};
BOOST_DESCRIBE_STRUCT(PlanRequest, (FileText), ())

struct ConfirmRequest {
  static constexpr const char* op = "confirm";
};
BOOST_DESCRIBE_STRUCT(ConfirmRequest, (), ())

struct RevertRequest {
  static constexpr const char* op = "revert";
};
BOOST_DESCRIBE_STRUCT(RevertRequest, (), ())

struct DownRequest {
  static constexpr const char* op = "down";
};
BOOST_DESCRIBE_STRUCT(DownRequest, (), ())

struct StatusRequest {
  static constexpr const char* op = "status";
  bool histograms = false;
};
BOOST_DESCRIBE_STRUCT(StatusRequest, (), (histograms))

struct EventsRequest {
  static constexpr const char* op = "events";
  bool follow = false;
};
BOOST_DESCRIBE_STRUCT(EventsRequest, (), (follow))

struct LogsRequest {
  static constexpr const char* op = "logs";
  std::string tunnel;       // empty: of all
  std::uint32_t lines = 0;  // 0: as many as there are
  bool follow = false;
};
BOOST_DESCRIBE_STRUCT(LogsRequest, (), (tunnel, lines, follow))

struct DrainRequest {
  static constexpr const char* op = "drain";
  std::string tunnel;
  std::uint32_t deadline_ms = 60'000;
};
BOOST_DESCRIBE_STRUCT(DrainRequest, (), (tunnel, deadline_ms))

struct UndrainRequest {
  static constexpr const char* op = "undrain";
  std::string tunnel;
};
BOOST_DESCRIBE_STRUCT(UndrainRequest, (), (tunnel))

struct RestartRequest {
  static constexpr const char* op = "restart";
  std::string tunnel;  // empty: all of them
  bool rolling = false;
  std::uint32_t deadline_ms = 10'000;  // of the drain before each
};
BOOST_DESCRIBE_STRUCT(RestartRequest, (), (tunnel, rolling, deadline_ms))

struct FailbackRequest {
  static constexpr const char* op = "failback";
  std::string bundle;
};
BOOST_DESCRIBE_STRUCT(FailbackRequest, (), (bundle))

struct Flow {
  std::string source, destination;  // IP addresses
  std::string protocol = {};        // tcp, udp, …; empty: any
  std::uint16_t source_port = 0, destination_port = 0;
};
BOOST_DESCRIBE_STRUCT(Flow, (), (source, destination, protocol, source_port, destination_port))

struct ExplainRequest : Flow {
  static constexpr const char* op = "explain";
  bool in = false;  // the flow comes in: explain the way back
};
BOOST_DESCRIBE_STRUCT(ExplainRequest, (Flow), (in))

using DaemonRequest =
    std::variant<ApplyRequest, PlanRequest, ConfirmRequest, RevertRequest, DownRequest,
                 StatusRequest, EventsRequest, LogsRequest, DrainRequest, UndrainRequest,
                 RestartRequest, FailbackRequest, ExplainRequest>;

/// One line of the socket. Throws BadMessage.
DaemonRequest parse_daemon_request(std::string_view line);
/// One line, without its end.
std::string to_line(const DaemonRequest& request);

/// Requests that change nothing, which members of the group may send too.
bool only_reads(const DaemonRequest& request);

// ---- answers ----

/// A step that was performed, or what a long request does now.
struct StepAnswer {
  std::string step;
};
BOOST_DESCRIBE_STRUCT(StepAnswer, (), (step))

/// What `apply` waits for.
struct WaitingAnswer {
  std::uint32_t waiting = 0;  // how many things are missing
  std::string first;          // one of them
};
BOOST_DESCRIBE_STRUCT(WaitingAnswer, (), (waiting, first))

/// The last answer of requests that do something.
struct DoneAnswer {
  bool done = true;
};
BOOST_DESCRIBE_STRUCT(DoneAnswer, (), (done))

/// The page and metrics, as `status` has it too.
struct PageState {
  std::string listen;  // ADDRESS:PORT
  int pid = 0;         // 0: it does not run
  std::string reason;  // why it does not; empty: it does
};
BOOST_DESCRIBE_STRUCT(PageState, (), (listen, pid, reason))

struct ApplyDone {
  bool done = true;                  // everything is healthy
  std::vector<std::string> missing;  // what is not
  OrNull<PageState> web;             // null: the file asks for none
  std::optional<std::int64_t> confirm_within_ms;
};
BOOST_DESCRIBE_STRUCT(ApplyDone, (), (done, missing, web, confirm_within_ms))

struct DownDone {
  bool done = true;
  std::vector<std::string> problems;
  std::string node;
};
BOOST_DESCRIBE_STRUCT(DownDone, (), (done, problems, node))

struct Failure {
  std::string error;
  bool config = false;  // `error` begins with the position in the file
  bool idle = false;    // nothing is applied: this daemon serves nothing
};
BOOST_DESCRIBE_STRUCT(Failure, (), (error, idle))

/// What `plan` found: lines as describe() has them.
struct PlanReport {
  std::vector<std::string> steps;
  std::vector<std::string> later;  // what follows as tunnels become healthy
  std::vector<std::string> conflicts, notes;
};
BOOST_DESCRIBE_STRUCT(PlanReport, (), (steps, later, conflicts, notes))

using DaemonAnswer =
    std::variant<StepAnswer, WaitingAnswer, DoneAnswer, ApplyDone, DownDone, Failure, PlanReport>;

/// One line, without its end.
std::string to_line(const DaemonAnswer& answer);
/// What a line of the daemon says; nothing: it is a document of its own (status, an event, a line
/// of the log, an explanation). Fields that are missing have their defaults; what cannot be parsed
/// is a Failure that says so.
std::optional<DaemonAnswer> parse_daemon_answer(const nlohmann::json& line);

}  // namespace tunorch
