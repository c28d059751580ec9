#include "protocol/explanation.hpp"

#include "protocol/fields.hpp"

namespace tunorch {

using nlohmann::json;

std::string to_line(const Explanation& explanation) {
  return line_of(explanation);
}
Explanation explanation_from(const json& from) {
  Explanation explanation;
  read(from, explanation);
  return explanation;
}

std::string to_text(const PeerNote& note) {
  return line_of(note);
}
PeerNote parse_peer_note(const std::string& text) {
  PeerNote note;
  read(json::parse(text, nullptr, false), note);
  return note;
}

}  // namespace tunorch
