#include "orchestrator/config/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <regex>
#include <stdexcept>
#include <unordered_map>

#include "orchestrator/config/keys.hpp"
#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

using NodeKind = YamlNode::Kind;

/// std::regex recurses once a byte: nothing longer may reach it. No pattern of the table takes
/// more.
constexpr std::size_t max_text_bytes = 255;

bool matches(std::string_view pattern, const std::string& text) {
  static std::map<std::string_view, std::regex> compiled;
  const auto found = compiled.try_emplace(pattern, std::string(pattern)).first;
  return text.size() <= max_text_bytes && std::regex_match(text, found->second);
}

const char* kind_text(const YamlNode& node) {
  switch (node.kind) {
    case NodeKind::null:
      return "is empty";
    case NodeKind::scalar:
      return "is a single value";
    case NodeKind::list:
      return "is a list";
    case NodeKind::map:
      return "is a map";
  }
  return "";
}

const Key& key_of(std::string_view section, std::string_view name) {
  const Key* key = find_key(section, name);
  if (key == nullptr) throw std::logic_error(fmt::format("no key {}/{}", section, name));
  return *key;
}

/// "port 70000 is out of bounds; allowed: a whole number, 1 to 65535"
std::string message(const Key& key, std::string_view value, std::string_view what) {
  return fmt::format("{} {}{}{}; allowed: {}", key.name(), value, value.empty() ? "" : " ", what,
                     allowed(key));
}

std::string message(const Key& key, const YamlNode& node) {
  return message(key, "", kind_text(node));
}

std::string not_supported(std::string_view what) {
  return fmt::format("not supported yet: {}", what);
}

/// What is wrong with a number within its syntax, or "" where nothing is.
std::string bounds_fault(const Key& key, std::int64_t value, const std::string& text) {
  if (value > key.max && value <= key.later_max)
    return not_supported(fmt::format("{} {}; allowed: {}", key.name(), text, allowed(key)));
  if (value < key.min || value > key.max) return message(key, text, "is out of bounds");
  return "";
}

using Parse = Amount (*)(std::string_view);

/// The default of the table, parsed by the same function as the file's values.
std::optional<std::int64_t> initial(const Key& key, Parse parse) {
  return key.initial.empty() ? std::nullopt : parse(key.initial).value;
}

std::optional<std::int64_t> amount(const Key& key, const YamlNode* node, const std::string& pointer,
                                   Parse parse, Report& report) {
  if (node == nullptr) return initial(key, parse);
  std::string fault;
  if (node->kind != NodeKind::scalar) {
    fault = message(key, *node);
  } else if (node->quoted && key.kind == Kind::integer) {
    fault = message(key, shown(node->text), "is text in quotes");
  } else if (const Amount found = parse(node->text); !found.value) {
    fault = message(key, shown(node->text), found.fault);
  } else {
    fault = bounds_fault(key, *found.value, node->text);
    if (fault.empty()) return found.value;
  }
  report.add(pointer, fault);
  return initial(key, parse);
}

}  // namespace

Section::Section(const YamlNode* node, std::string path, std::string pointer, Report& report)
    : node_(node), path_(std::move(path)), pointer_(std::move(pointer)), report_(&report) {
  if (node_ != nullptr) check_keys();
}

std::string Section::pointer_to(std::string_view name) const {
  return pointer_.empty() ? std::string(name) : fmt::format("{}/{}", pointer_, name);
}

const YamlNode* Section::value(std::string_view name) const {
  return node_ == nullptr ? nullptr : node_->find(name);
}

namespace {

/// YAML forbids two equal keys in a map; yaml-cpp does not see them, and one would be lost
/// silently.
void check_double_keys(const YamlNode& map, Report& report) {
  std::unordered_map<std::string_view, const YamlNode*> first;
  for (const YamlNode& key : map.keys) {
    const auto [found, fresh] = first.try_emplace(key.text, &key);
    if (!fresh)
      report.add_at(key, fmt::format("key {} stands here again; the first is at {}:{}",
                                     shown(key.text), found->second->line, found->second->column));
  }
}

void check_known(const YamlNode& word, std::string_view path, Report& report) {
  if (find_key(path, word.text) != nullptr && word.text != "*") return;
  std::vector<std::string> names;
  for (const Key* known : keys_of(path)) names.emplace_back(known->name());
  std::string hint = did_you_mean(word.text, names);
  if (hint.empty()) hint = fmt::format("; allowed: {}", fmt::join(names, ", "));
  report.add_at(word, fmt::format("unknown key {}{}", shown(word.text), hint));
}

}  // namespace

void Section::check_keys() {
  if (node_->kind != NodeKind::map) {
    const std::string name = pointer_.substr(pointer_.rfind('/') + 1);
    report_->add(pointer_,
                 fmt::format("{} {}; allowed: a map",
                             parse_whole(name).value ? "this element" : name, kind_text(*node_)));
    node_ = nullptr;
    return;
  }
  check_double_keys(*node_, *report_);
  for (const YamlNode& word : node_->keys) {
    if (report_->full()) return;
    check_known(word, path_, *report_);
  }
  for (const Key* key : keys_of(path_))
    if (key->required && !has(key->name()))
      report_->add(pointer_,
                   fmt::format("the key '{}' is missing: {}", key->name(), key->sentence));
}

std::optional<std::int64_t> Section::integer(std::string_view name) const {
  return amount(key_of(path_, name), value(name), pointer_to(name), parse_whole, *report_);
}

std::optional<std::chrono::milliseconds> Section::duration(std::string_view name) const {
  const auto found =
      amount(key_of(path_, name), value(name), pointer_to(name), parse_duration, *report_);
  if (!found) return std::nullopt;
  return std::chrono::milliseconds(*found);
}

std::uint32_t Section::size_bytes(std::string_view name) const {
  constexpr Parse parse = [](std::string_view text) {
    return text == "auto" ? Amount{0, ""} : parse_size(text);
  };
  const YamlNode* node = value(name);
  if (node != nullptr && node->kind == NodeKind::scalar && node->text == "auto") return 0;
  const auto found = amount(key_of(path_, name), node, pointer_to(name), parse, *report_);
  return static_cast<std::uint32_t>(found.value_or(0));
}

std::optional<bool> Section::boolean(std::string_view name) const {
  const Key& key = key_of(path_, name);
  const YamlNode* node = value(name);
  // YAML 1.1's yes, no, on and off are plain words in YAML 1.2: refuse them rather than guess.
  if (node != nullptr && node->kind == NodeKind::scalar && !node->quoted) {
    if (node->text == "true" || node->text == "false") return node->text == "true";
    report_->add(pointer_to(name), message(key, shown(node->text), "is neither"));
  } else if (node != nullptr) {
    report_->add(pointer_to(name), message(key, *node));
  }
  return key.initial.empty() ? std::nullopt : std::optional(key.initial == "true");
}

std::string Section::text(std::string_view name) const {
  const Key& key = key_of(path_, name);
  const YamlNode* node = value(name);
  if (node == nullptr) return std::string(key.initial);
  const auto among = [&](std::string_view values) {
    const auto all = choices(values);
    return std::find(all.begin(), all.end(), node->text) != all.end();
  };
  std::string fault;
  if (node->kind != NodeKind::scalar)
    fault = message(key, *node);
  else if (key.kind == Kind::choice && among(key.later))
    fault = not_supported(fmt::format("{} {}; allowed: {}", name, node->text, allowed(key)));
  else if (key.kind == Kind::choice && !among(key.values))
    fault = message(key, shown(node->text), "is unknown");
  else if (key.kind == Kind::text && !matches(key.pattern, node->text))
    fault = message(key, shown(node->text), "is not valid");
  else
    return node->text;
  report_->add(pointer_to(name), fault);
  return std::string(key.initial);
}

std::vector<Section::Item> Section::list(std::string_view name) const {
  const Key& key = key_of(path_, name);
  const YamlNode* node = value(name);
  const std::string pointer = pointer_to(name);
  if (node == nullptr) return {};
  if (key.kind == Kind::addresses && node->kind == NodeKind::scalar)
    return {{"", node->text, pointer}};
  if (node->kind != NodeKind::list) {
    report_->add(pointer, message(key, *node));
    return {};
  }
  const auto count = static_cast<std::int64_t>(node->items.size());
  if (count < key.min || count > key.max) {
    report_->add(pointer, message(key, "", fmt::format("has {} elements", count)));
    return {};
  }
  std::vector<Item> items;
  for (std::size_t at = 0; at < node->items.size(); ++at) {
    const YamlNode& item = node->items[at];
    std::string place = fmt::format("{}/{}", pointer, at);
    if (item.kind == NodeKind::scalar)
      items.push_back({"", item.text, std::move(place)});
    else
      report_->add(place, message(key, "element", kind_text(item)));
  }
  return items;
}

std::vector<Section::Item> Section::settings(std::string_view name) const {
  const Key& key = key_of(path_, name);
  const YamlNode* node = value(name);
  if (node == nullptr) return {};
  if (node->kind != NodeKind::map) {
    report_->add(pointer_to(name), message(key, *node));
    return {};
  }
  check_double_keys(*node, *report_);
  std::vector<Item> items;
  for (std::size_t at = 0; at < node->items.size() && !report_->full(); ++at) {
    const YamlNode& word = node->keys[at];
    const YamlNode& item = node->items[at];
    if (!matches(key.pattern, word.text))
      report_->add_at(
          word, fmt::format("{} {} is not valid; allowed: {}", name, shown(word.text), key.words));
    else if (item.kind != NodeKind::scalar)
      report_->add_at(
          word, fmt::format("{} {}; allowed: text or a number", shown(word.text), kind_text(item)));
    else
      items.push_back({word.text, item.text, fmt::format("{}/{}", pointer_to(name), word.text)});
  }
  return items;
}

Section Section::section(std::string_view name) const {
  return {value(name), path_.empty() ? std::string(name) : fmt::format("{}/{}", path_, name),
          pointer_to(name), *report_};
}

std::vector<std::pair<std::string, Section>> Section::named(std::string_view name) const {
  const Key& key = key_of(path_, name);
  const YamlNode* node = value(name);
  if (node == nullptr) return {};
  const auto count = static_cast<std::int64_t>(node->items.size());
  if (node->kind != NodeKind::map || count < key.min || count > key.max) {
    report_->add(pointer_to(name), node->kind != NodeKind::map
                                       ? message(key, *node)
                                       : fmt::format("{} has {} entries; allowed: {} to {}", name,
                                                     count, key.min, key.max));
    return {};
  }
  check_double_keys(*node, *report_);
  std::vector<std::pair<std::string, Section>> sections;
  for (std::size_t at = 0; at < node->items.size() && !report_->full(); ++at) {
    const YamlNode& word = node->keys[at];
    if (node->find(word.text) != &node->items[at])
      continue;  // the second of a name, reported above
    if (!matches(key.pattern, word.text))
      report_->add_at(word, fmt::format("{} is not a valid name here; allowed: {}",
                                        shown(word.text), key.words));
    sections.emplace_back(word.text,
                          Section(&node->items[at], fmt::format("{}/*", key.path),
                                  fmt::format("{}/{}", pointer_to(name), word.text), *report_));
  }
  return sections;
}

bool Section::is_list(std::string_view name) const {
  const YamlNode* node = value(name);
  return node != nullptr && node->kind == NodeKind::list;
}

std::vector<Section> Section::sections(std::string_view name) const {
  const Key& key = key_of(path_, name);
  const YamlNode* node = value(name);
  if (!is_list(name)) return {};
  const auto count = static_cast<std::int64_t>(node->items.size());
  if (count < key.min || count > key.max)
    report_->add(pointer_to(name), message(key, "", fmt::format("has {} elements", count)));
  std::vector<Section> found;
  for (std::int64_t at = 0; at < std::min(count, key.max); ++at)
    found.emplace_back(&node->items[static_cast<std::size_t>(at)], fmt::format("{}/*", key.path),
                       fmt::format("{}/{}", pointer_to(name), at), *report_);
  return found;
}

}  // namespace tunorch
