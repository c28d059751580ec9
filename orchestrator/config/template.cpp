#include "orchestrator/config/template.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace tunorch {
namespace {

constexpr const char* known[] = {
    "dev", "dir", "node", "port", "local", "peer", "mtu", "link_local_addr", "link_peer_addr"};

/// Calls `literal` with each piece of text and `name` with each name in braces. False where a brace
/// has no other.
template <class Literal, class Name>
bool walk(const std::string& text, Literal literal, Name name) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const bool doubled = at + 1 < text.size() && text[at + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      literal(c);
      ++at;
    } else if (c == '{') {
      const auto end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at + 1);
      if (end == text.npos || text[end] != '}') return false;
      name(text.substr(at + 1, end - at - 1));
      at = end;
    } else if (c == '}') {
      return false;
    } else {
      literal(c);
    }
  }
  return true;
}

}  // namespace

std::string template_fault(const std::string& text, bool many_peers) {
  std::string fault;
  const bool whole = walk(
      text, [](char) {},
      [&](const std::string& name) {
        if (std::ranges::find(known, name) == std::end(known))
          fault = fmt::format("unknown {{{}}}; allowed: {{{}}}, and {{{{ and }}}} for braces", name,
                              fmt::join(known, "}, {"));
        else if (many_peers && (name == "peer" || name == "link_peer_addr"))
          fault = fmt::format("{{{}}} means nothing on a listener of many dialers", name);
      });
  if (!whole)
    return "a brace that neither encloses a name, as {dev}, nor is doubled: {{ and }} "
           "stand for braces";
  return fault;
}

std::string fill_in(const std::string& text, const std::map<std::string, std::string>& values) {
  std::string filled;
  walk(
      text, [&](char c) { filled += c; },
      [&](const std::string& name) {
        if (const auto value = values.find(name); value != values.end()) filled += value->second;
      });
  return filled;
}

}  // namespace tunorch
