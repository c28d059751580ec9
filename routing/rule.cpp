#include "routing/rule.hpp"

#include <array>
#include <cstdio>

namespace tunorch::routing {

std::string Rule::text() const {
  std::string text = (v6 ? "-6 pref " : "-4 pref ") + std::to_string(preference);
  text += " from " + (from ? from->text() : "all");
  if (fwmark != 0) {
    std::array<char, 16> hex{};
    std::snprintf(hex.data(), hex.size(), "0x%x", fwmark);
    text += std::string(" fwmark ") + hex.data();
  }
  if (uid_first && uid_last)
    text += " uidrange " + std::to_string(*uid_first) + "-" + std::to_string(*uid_last);
  text += " lookup " + (table == 254 ? "main" : std::to_string(table));
  if (suppress_prefixlength)
    text += " suppress_prefixlength " + std::to_string(*suppress_prefixlength);
  return text;
}

std::string OtherRule::text() const {
  std::string text = (v6 ? "-6 pref " : "-4 pref ") + std::to_string(preference);
  text += " from " + (from ? from->text() : "all");
  if (to) text += " to " + to->text();
  if (narrow) text += " …";
  if (table != 0) text += " lookup " + (table == 254 ? "main" : std::to_string(table));
  return text + " (protocol " + std::to_string(protocol) + ")";
}

}  // namespace tunorch::routing
