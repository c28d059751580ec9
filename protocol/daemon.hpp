// What clients ask the daemon at its control socket, and the short answers: plain structs with
// their defaults, and their JSON. Neither side's behaviour is here; status.hpp has the long answer.
//
// RUNTIME/control.sock is an AF_UNIX stream: one request per connection as one line of JSON, then
// any number of answers, each a line. A field that is missing has its default, and one that is not
// known is ignored, so that programs of the version before and of the next one understand it
// (docs/compatibility.md). A value of the wrong kind is refused.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tunorch {

/// A cluster file as its reader has it.
struct FileText {
  std::string text;
  std::string name;      // for positions: file:line:col
  std::string base_dir;  // relative paths in it are relative to this
};

struct ApplyRequest {
  static constexpr const char* op = "apply";
  FileText file;
  std::uint32_t timeout_ms = 30'000;  // how long to wait for health
  bool wait_peers = false;            // a listener also waits for every dialer
  std::uint32_t confirm_ms = 0;       // rolls back after that unless confirmed; 0: never
};
struct PlanRequest {
  static constexpr const char* op = "plan";
  FileText file;
};
struct ConfirmRequest {
  static constexpr const char* op = "confirm";
};
struct RevertRequest {
  static constexpr const char* op = "revert";
};
struct DownRequest {
  static constexpr const char* op = "down";
};
struct StatusRequest {
  static constexpr const char* op = "status";
  bool histograms = false;
};
struct EventsRequest {
  static constexpr const char* op = "events";
  bool follow = false;
};
struct LogsRequest {
  static constexpr const char* op = "logs";
  std::string tunnel;       // empty: of all
  std::uint32_t lines = 0;  // 0: as many as there are
  bool follow = false;
};
struct DrainRequest {
  static constexpr const char* op = "drain";
  std::string tunnel;
  std::uint32_t deadline_ms = 60'000;
};
struct UndrainRequest {
  static constexpr const char* op = "undrain";
  std::string tunnel;
};
struct RestartRequest {
  static constexpr const char* op = "restart";
  std::string tunnel;  // empty: all of them
  bool rolling = false;
  std::uint32_t deadline_ms = 10'000;  // of the drain before each
};
struct FailbackRequest {
  static constexpr const char* op = "failback";
  std::string bundle;
};
struct Flow {
  std::string source, destination;  // IP addresses
  std::string protocol;             // tcp, udp, …; empty: any
  std::uint16_t source_port = 0, destination_port = 0;
};
struct ExplainRequest {
  static constexpr const char* op = "explain";
  Flow flow;
  bool in = false;  // the flow comes in: explain the way back
};

using DaemonRequest =
    std::variant<ApplyRequest, PlanRequest, ConfirmRequest, RevertRequest, DownRequest,
                 StatusRequest, EventsRequest, LogsRequest, DrainRequest, UndrainRequest,
                 RestartRequest, FailbackRequest, ExplainRequest>;

/// A request that cannot be understood; what() says why, in words for whoever sent it.
class BadRequest : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One line of the socket. Throws BadRequest.
DaemonRequest parse_daemon_request(std::string_view line);
/// One line, without its end.
std::string to_line(const DaemonRequest& request);

/// Requests that change nothing, which members of the group may send too.
bool only_reads(const DaemonRequest& request);

Flow flow_from(const nlohmann::json& json);  // throws BadRequest
nlohmann::json to_json(const Flow& flow);

// ---- answers ----

/// A step that was performed, or what a long request does now.
struct StepAnswer {
  std::string step;
};
/// What `apply` waits for.
struct WaitingAnswer {
  std::uint32_t waiting = 0;  // how many things are missing
  std::string first;          // one of them
};
/// The last answer of requests that do something.
struct DoneAnswer {
  bool done = true;
};
/// The page and metrics, as `status` has it too.
struct PageState {
  std::string listen;  // ADDRESS:PORT
  int pid = 0;         // 0: it does not run
  std::string reason;  // why it does not; empty: it does
};
struct ApplyDone {
  bool done = true;                  // everything is healthy
  std::vector<std::string> missing;  // what is not
  std::optional<PageState> web;      // nothing: the file asks for none
  std::optional<std::int64_t> confirm_within_ms;
};
struct DownDone {
  bool done = true;
  std::vector<std::string> problems;
  std::string node;
};
struct Failure {
  std::string error;
  bool config = false;  // `error` begins with the position in the file
  bool idle = false;    // nothing is applied: this daemon serves nothing
};
/// What `plan` found: lines as describe() has them.
struct PlanReport {
  std::vector<std::string> steps;
  std::vector<std::string> later;  // what follows as tunnels become healthy
  std::vector<std::string> conflicts, notes;
};

PageState page_from(const nlohmann::json& json);
nlohmann::json to_json(const StepAnswer& answer);
nlohmann::json to_json(const WaitingAnswer& answer);
nlohmann::json to_json(const DoneAnswer& answer);
nlohmann::json to_json(const PageState& page);
nlohmann::json to_json(const ApplyDone& answer);
nlohmann::json to_json(const DownDone& answer);
nlohmann::json to_json(const Failure& answer);
nlohmann::json to_json(const PlanReport& answer);

using DaemonAnswer =
    std::variant<StepAnswer, WaitingAnswer, DoneAnswer, ApplyDone, DownDone, Failure, PlanReport>;

/// What a line of the daemon says; nothing: it is a document of its own (status, an event, a line
/// of the log, an explanation). Fields that are missing have their defaults.
std::optional<DaemonAnswer> parse_daemon_answer(const nlohmann::json& line);

}  // namespace tunorch
