#include "protocol/worker.hpp"

#include <nlohmann/json.hpp>

#include "protocol/fields.hpp"

namespace tunorch::worker {
namespace {

using nlohmann::json;

/// `kind` is the field that says which message it is.
template <class Message, class Kind>
Message message_of(std::string_view packet, Kind Message::*kind, const char* name) {
  json from = json::parse(packet, nullptr, false);
  Message message;
  if (from.is_object())
    if (const auto found = from.find(name); found != from.end() && found->is_string()) {
      if (!boost::describe::enum_from_string(found->get_ref<const std::string&>().c_str(),
                                             message.*kind))
        message.*kind = Kind::unknown;
      from.erase(found);
    }
  read(from, message);
  return message;
}

}  // namespace

const char* to_string(RequestOp op) {
  return boost::describe::enum_to_string(op, "unknown");
}
const char* to_string(ReportKind kind) {
  return boost::describe::enum_to_string(kind, "unknown");
}

json to_json(const FixedSpec& spec) {
  return written(spec);
}
json to_json(const LiveSpec& spec) {
  return written(spec);
}
json to_json(const Spec& spec) {
  return written(spec);
}
Spec spec_from(const json& from) {
  Spec spec;
  read(from, spec);
  return spec;
}

std::string to_packet(const Request& request) {
  return line_of(request);
}
std::string to_packet(const Report& report) {
  return line_of(report);
}
Request parse_request(std::string_view packet) {
  return message_of(packet, &Request::op, "op");
}
Report parse_report(std::string_view packet) {
  return message_of(packet, &Report::event, "event");
}

std::string to_packet(const StateWord& word) {
  return line_of(word);
}
StateWord parse_state_word(std::string_view text) {
  StateWord word;
  read(json::parse(text, nullptr, false), word);
  return word;
}

}  // namespace tunorch::worker
