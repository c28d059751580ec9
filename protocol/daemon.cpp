#include "protocol/daemon.hpp"

#include <nlohmann/json.hpp>

#include "protocol/fields.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

/// The request whose op this is, from the alternatives at Index and after it.
template <std::size_t Index = 0>
DaemonRequest request_of(const std::string& op, const json& from) {
  if constexpr (Index == std::variant_size_v<DaemonRequest>) {
    throw BadMessage("unknown request '" + op + "': is the daemon of an older version?");
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
  if (!from.is_object()) throw BadMessage("cannot parse the request: it is not a JSON object");
  const auto op = from.find("op");
  if (op == from.end() || !op->is_string())
    throw BadMessage("cannot parse the request: it has no 'op'");
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

// ---- answers ----

std::string to_line(const DaemonAnswer& answer) {
  if (const auto* failure = std::get_if<Failure>(&answer); failure && failure->config) {
    json to = written(*failure);
    to["kind"] = "config";
    return to.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return std::visit([](const auto& one) { return line_of(one); }, answer);
}

namespace {

template <class Answer>
Answer answer_of(const json& line, Answer answer = {}) {
  read(line, answer);
  return answer;
}

std::optional<DaemonAnswer> answer_in(const json& line) {
  if (!line.is_object() || line.contains("event")) return std::nullopt;
  if (line.contains("error") && line["error"].is_string() && !line.contains("bundles")) {
    const bool config = line.value("kind", json()) == "config";
    return answer_of(line, Failure{.error = "", .config = config, .idle = true});
  }
  if (line.contains("steps")) return answer_of<PlanReport>(line);
  if (line.contains("step")) return answer_of<StepAnswer>(line);
  if (line.contains("waiting")) return answer_of<WaitingAnswer>(line);
  if (!line.contains("done")) return std::nullopt;
  if (line.contains("problems")) return answer_of<DownDone>(line);
  if (line.contains("missing")) return answer_of<ApplyDone>(line);
  return answer_of<DoneAnswer>(line);
}

}  // namespace

std::optional<DaemonAnswer> parse_daemon_answer(const json& line) {
  try {
    return answer_in(line);
  } catch (const BadMessage& bad) {
    return Failure{std::string("cannot parse the daemon's answer: ") + bad.what()};
  }
}

}  // namespace tunorch
