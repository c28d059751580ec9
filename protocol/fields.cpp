#include "protocol/fields.hpp"

namespace tunorch {

using nlohmann::json;

std::string Place::text() const {
  if (!above) return "";
  const std::string before = above->text();
  return before + (before.empty() ? "" : "/") +
         (name.empty() ? std::to_string(index) : std::string(name));
}

void refuse(const Place& place, const json& value, const std::string& allowed) {
  constexpr std::size_t longest = 60;  // of a value that is shown
  std::string shown = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (shown.size() > longest) shown = shown.substr(0, longest) + "...";
  const std::string where = place.text();
  throw BadMessage(
      (where.empty() ? "cannot parse the message: " : "invalid value for '" + where + "': ") +
      shown + " is not " + allowed);
}

}  // namespace tunorch
