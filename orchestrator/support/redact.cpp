#include "orchestrator/support/redact.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "orchestrator/support/redact_text.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

constexpr int deepest = 100;  // of what is looked at; what is deeper is left out

/// In the order that has a secret before one that is a part of it.
std::string without_known(std::string text, const KnownSecrets& known) {
  std::vector<std::string> longest_first(known.begin(), known.end());
  std::ranges::sort(longest_first, std::ranges::greater{}, &std::string::size);
  for (const std::string& secret : longest_first) {
    std::string out;
    std::size_t done = 0;
    for (auto at = text.find(secret); at != text.npos; at = text.find(secret, done)) {
      out.append(text, done, at - done).append(redacted_word);
      done = at + secret.size();
    }
    if (done > 0) text = out.append(text, done);
  }
  return text;
}

std::string redact_value(const std::string& text, const KnownSecrets& known) {
  return redact_text(without_known(text, known), TextKind::value);
}

void redact_tree(json& node, bool secret, const KnownSecrets& known, int depth) {
  if (depth > deepest || (secret && node.is_primitive())) {
    node = redacted_word;
  } else if (node.is_object()) {
    for (auto& [name, value] : node.items())
      redact_tree(value, secret || is_secret_name(name), known, depth + 1);
  } else if (node.is_array()) {
    bool next = false;
    for (json& item : node) {
      const bool option = item.is_string() && takes_secret(item.get_ref<std::string&>());
      redact_tree(item, secret || next, known, depth + 1);
      next = option;
    }
  } else if (node.is_string()) {
    node = redact_value(node.get_ref<std::string&>(), known);
  }
}

/// Nothing where it is no JSON object or list.
std::optional<std::string> redact_json(std::string_view text, const KnownSecrets& known,
                                       int indent) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos || (text[first] != '{' && text[first] != '[')) return std::nullopt;
  json tree = json::parse(text, nullptr, false);
  if (tree.is_discarded()) return std::nullopt;
  redact_tree(tree, false, known, 0);
  return tree.dump(indent, ' ', false, json::error_handler_t::replace);
}

/// Lines of which some are JSON; nothing where none is.
std::optional<std::string> redact_json_lines(std::string_view text, const KnownSecrets& known) {
  std::istringstream lines{std::string(text)};
  std::string out, between;
  bool any = false;
  for (std::string line; std::getline(lines, line);) {
    const auto clean = redact_json(line, known, -1);
    if (!clean) {
      between += line + "\n";
      continue;
    }
    any = true;
    out += redact_value(std::exchange(between, ""), known) + *clean + "\n";
  }
  if (!any) return std::nullopt;
  return out + redact_value(between, known);
}

}  // namespace

std::string redact(std::string_view text, const KnownSecrets& known) {
  const bool many_lines = text.substr(0, text.find_last_not_of('\n') + 1).find('\n') != text.npos;
  if (auto whole = redact_json(text, known, many_lines ? 2 : -1))
    return *whole + (text.ends_with('\n') ? "\n" : "");
  if (auto lines = redact_json_lines(text, known)) return *lines;
  return redact_text(without_known(std::string(text), known));
}

}  // namespace tunorch
