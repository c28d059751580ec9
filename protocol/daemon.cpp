#include "protocol/daemon.hpp"

#include <nlohmann/json.hpp>

namespace tunorch {
namespace {

using nlohmann::json;

// The fields of each request. Both directions go by these lists.

template <class Visit>
void visit(FileText& file, Visit field) {
  field("text", file.text);
  field("name", file.name);
  field("base_dir", file.base_dir);
}
template <class Visit>
void visit(Flow& flow, Visit field) {
  field("source", flow.source);
  field("destination", flow.destination);
  field("protocol", flow.protocol);
  field("source_port", flow.source_port);
  field("destination_port", flow.destination_port);
}
template <class Visit>
void visit(ApplyRequest& request, Visit field) {
  visit(request.file, field);
  field("timeout_ms", request.timeout_ms);
  field("wait_peers", request.wait_peers);
  field("confirm_ms", request.confirm_ms);
}
template <class Visit>
void visit(PlanRequest& request, Visit field) {
  visit(request.file, field);
}
template <class Visit>
void visit(ConfirmRequest&, Visit) {}
template <class Visit>
void visit(RevertRequest&, Visit) {}
template <class Visit>
void visit(DownRequest&, Visit) {}
template <class Visit>
void visit(StatusRequest& request, Visit field) {
  field("histograms", request.histograms);
}
template <class Visit>
void visit(EventsRequest& request, Visit field) {
  field("follow", request.follow);
}
template <class Visit>
void visit(LogsRequest& request, Visit field) {
  field("tunnel", request.tunnel);
  field("lines", request.lines);
  field("follow", request.follow);
}
template <class Visit>
void visit(DrainRequest& request, Visit field) {
  field("tunnel", request.tunnel);
  field("deadline_ms", request.deadline_ms);
}
template <class Visit>
void visit(UndrainRequest& request, Visit field) {
  field("tunnel", request.tunnel);
}
template <class Visit>
void visit(RestartRequest& request, Visit field) {
  field("tunnel", request.tunnel);
  field("rolling", request.rolling);
  field("deadline_ms", request.deadline_ms);
}
template <class Visit>
void visit(FailbackRequest& request, Visit field) {
  field("bundle", request.bundle);
}
template <class Visit>
void visit(ExplainRequest& request, Visit field) {
  visit(request.flow, field);
  field("in", request.in);
}

[[noreturn]] void refuse(const std::string& name, const json& value, const std::string& allowed) {
  constexpr std::size_t longest = 60;  // of a value that is shown
  std::string shown = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (shown.size() > longest) shown = shown.substr(0, longest) + "...";
  throw BadRequest("invalid value for '" + name + "': " + shown + " is not " + allowed);
}

void take(const std::string& name, const json& value, std::string& to) {
  if (!value.is_string()) refuse(name, value, "a string");
  to = value.get<std::string>();
}
void take(const std::string& name, const json& value, bool& to) {
  if (!value.is_boolean()) refuse(name, value, "true or false");
  to = value.get<bool>();
}
template <class Number>
void take(const std::string& name, const json& value, Number& to) {
  constexpr std::uint64_t most = std::numeric_limits<Number>::max();
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
    refuse(name, value, "a number from 0 to " + std::to_string(most));
  to = value.get<Number>();
}

template <class T>
void read(const json& from, T& to) {
  visit(to, [&](const char* name, auto& value) {
    if (const auto found = from.find(name); found != from.end()) take(name, *found, value);
  });
}

template <class T>
json written(T from) {
  json to = json::object();
  visit(from, [&](const char* name, auto& value) { to[name] = value; });
  return to;
}

/// The request whose op this is, from the alternatives at Index and after it.
template <std::size_t Index = 0>
DaemonRequest request_of(const std::string& op, const json& from) {
  if constexpr (Index == std::variant_size_v<DaemonRequest>) {
    throw BadRequest("unknown request '" + op + "': is the daemon of an older version?");
  } else {
    std::variant_alternative_t<Index, DaemonRequest> request;
    if (op != request.op) return request_of<Index + 1>(op, from);
    read(from, request);
    return request;
  }
}

}  // namespace

DaemonRequest parse_daemon_request(std::string_view line) {
  const json from = json::parse(line, nullptr, false);
  if (!from.is_object()) throw BadRequest("cannot parse the request: it is not a JSON object");
  const auto op = from.find("op");
  if (op == from.end() || !op->is_string())
    throw BadRequest("cannot parse the request: it has no 'op'");
  return request_of(op->get<std::string>(), from);
}

std::string to_line(const DaemonRequest& request) {
  return std::visit(
      [](const auto& one) {
        json to = written(one);
        to["op"] = one.op;
        return to.dump();
      },
      request);
}

bool only_reads(const DaemonRequest& request) {
  return std::holds_alternative<StatusRequest>(request) ||
         std::holds_alternative<EventsRequest>(request) ||
         std::holds_alternative<LogsRequest>(request) ||
         std::holds_alternative<ExplainRequest>(request);
}

Flow flow_from(const json& from) {
  Flow flow;
  if (!from.is_object()) throw BadRequest("cannot parse the flow: it is not a JSON object");
  read(from, flow);
  return flow;
}

json to_json(const Flow& flow) {
  return written(flow);
}

// ---- answers ----

json to_json(const StepAnswer& answer) {
  return {{"step", answer.step}};
}
json to_json(const WaitingAnswer& answer) {
  return {{"waiting", answer.waiting}, {"first", answer.first}};
}
json to_json(const DoneAnswer& answer) {
  return {{"done", answer.done}};
}
json to_json(const PageState& page) {
  return {{"listen", page.listen}, {"pid", page.pid}, {"reason", page.reason}};
}
json to_json(const ApplyDone& answer) {
  json to{{"done", answer.done}, {"missing", answer.missing}, {"web", nullptr}};
  if (answer.web) to["web"] = to_json(*answer.web);
  if (answer.confirm_within_ms) to["confirm_within_ms"] = *answer.confirm_within_ms;
  return to;
}
json to_json(const DownDone& answer) {
  return {{"done", answer.done}, {"problems", answer.problems}, {"node", answer.node}};
}
json to_json(const Failure& answer) {
  json to{{"error", answer.error}, {"idle", answer.idle}};
  if (answer.config) to["kind"] = "config";
  return to;
}
json to_json(const PlanReport& answer) {
  return {{"steps", answer.steps},
          {"later", answer.later},
          {"conflicts", answer.conflicts},
          {"notes", answer.notes}};
}

namespace {

using Strings = std::vector<std::string>;

ApplyDone apply_done_of(const json& line) {
  ApplyDone done;
  done.done = line.value("done", false);
  done.missing = line.value("missing", Strings{});
  if (const json web = line.value("web", json()); web.is_object()) done.web = page_from(web);
  if (line.contains("confirm_within_ms"))
    done.confirm_within_ms = line["confirm_within_ms"].get<std::int64_t>();
  return done;
}

}  // namespace

PageState page_from(const json& page) {
  return {page.value("listen", ""), page.value("pid", 0), page.value("reason", "")};
}

std::optional<DaemonAnswer> parse_daemon_answer(const json& line) {
  if (!line.is_object() || line.contains("event")) return std::nullopt;
  if (line.contains("error") && line["error"].is_string() && !line.contains("bundles"))
    return Failure{line["error"], line.value("kind", "") == "config", line.value("idle", true)};
  if (line.contains("steps"))
    return PlanReport{line.value("steps", Strings{}), line.value("later", Strings{}),
                      line.value("conflicts", Strings{}), line.value("notes", Strings{})};
  if (line.contains("step")) return StepAnswer{line.value("step", "")};
  if (line.contains("waiting"))
    return WaitingAnswer{line.value("waiting", 0u), line.value("first", "")};
  if (!line.contains("done")) return std::nullopt;
  if (line.contains("problems"))
    return DownDone{line.value("done", false), line.value("problems", Strings{}),
                    line.value("node", "")};
  if (line.contains("missing")) return apply_done_of(line);
  return DoneAnswer{line.value("done", false)};
}

}  // namespace tunorch
