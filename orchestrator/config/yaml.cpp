#include "orchestrator/config/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/problem.hpp"

namespace tunorch {
namespace {

/// Thrown out of the parser: the first fault ends the reading, for what follows it has no
/// structure.
struct Fault {
  int line = 0;
  int column = 0;
  std::string message;
};

Fault fault_at(const YAML::Mark& mark, std::string message) {
  if (mark.is_null()) return {0, 0, std::move(message)};
  return {mark.line + 1, mark.column + 1, std::move(message)};
}

/// Builds the tree from the parser's events, not from YAML::Node: that would follow aliases (a
/// "billion laughs" file is a few hundred bytes), drop duplicate keys and recurse without a limit
/// of ours.
class TreeBuilder : public YAML::EventHandler {
 public:
  YamlNode root;

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0)
      throw fault_at(mark, "a second document starts here; allowed: one cluster a file");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    finish(begin(YamlNode::Kind::null, mark, anchor, "?"));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw fault_at(mark, "aliases (*name) are not allowed; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = begin(YamlNode::Kind::scalar, mark, anchor, tag);
    node.quoted = tag == "!";
    node.text = value;
    finish(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(begin(YamlNode::Kind::list, mark, anchor, tag));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(begin(YamlNode::Kind::map, mark, anchor, tag));
  }
  void OnMapEnd() override { close(); }

 private:
  YamlNode begin(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor,
                 const std::string& tag) {
    if (anchor != 0)
      throw fault_at(mark, "anchors (&name) are not allowed; write the value out where it is used");
    // yaml-cpp says "?" for plain, "!" for quoted, and "" for a collection without a tag.
    if (!tag.empty() && tag != "?" && tag != "!")
      throw fault_at(mark, "tags (!name) are not allowed; remove it");
    if (++nodes_ > max_yaml_nodes)
      throw fault_at(mark, fmt::format("more than {} values; allowed: at most so many in a file",
                                       max_yaml_nodes));
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }

  void open(YamlNode node) {
    if (open_.size() >= max_yaml_depth)
      throw Fault{node.line, node.column,
                  fmt::format("nested too deep; allowed: {} levels", max_yaml_depth)};
    open_.push_back(std::move(node));
  }

  void close() {
    YamlNode node = std::move(open_.back());
    open_.pop_back();
    finish(std::move(node));
  }

  void finish(YamlNode node) {
    if (open_.empty()) {
      root = std::move(node);
      return;
    }
    YamlNode& parent = open_.back();
    const bool is_key =
        parent.kind == YamlNode::Kind::map && parent.keys.size() == parent.items.size();
    if (!is_key) {
      parent.items.push_back(std::move(node));
      return;
    }
    if (node.kind != YamlNode::Kind::scalar || node.text.size() > max_yaml_key_bytes)
      throw Fault{
          node.line, node.column,
          fmt::format("this is no key; allowed: a word of at most {} bytes", max_yaml_key_bytes)};
    parent.keys.push_back(std::move(node));
  }

  std::vector<YamlNode> open_;  // collections not closed yet, the outermost first
  std::size_t nodes_ = 0;
  int documents_ = 0;
};

/// Bytes of the UTF-8 sequence at the front of `text`; 0 where it is none (RFC 3629, section 4:
/// the second byte's bounds keep out overlong forms, surrogates and what is above U+10FFFF).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t at = 2; at < length; ++at)
    if ((byte(at) & 0xC0U) != 0x80U) return 0;
  return length;
}

/// yaml-cpp replaces bad bytes silently and takes NUL for the end of the text, so look first.
void refuse_binary(std::string_view text) {
  int line = 1;
  int column = 1;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) throw Fault{line, column, "this is not UTF-8; save the file as UTF-8 text"};
    if (text[at] == '\0') throw Fault{line, column, "a NUL byte; allowed: UTF-8 text"};
    ++column;
    if (text[at] == '\n') {
      ++line;
      column = 1;
    }
    at += length;
  }
}

YamlNode read_tree(const std::string& text) {
  if (text.size() > max_yaml_bytes)
    throw Fault{0, 0, fmt::format("{} bytes; allowed: at most {}", text.size(), max_yaml_bytes)};
  refuse_binary(text);
  std::istringstream stream(text);
  TreeBuilder builder;
  YAML::Parser parser(stream);
  while (parser.HandleNextDocument(builder)) {
  }
  return std::move(builder.root);
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const YamlNode& k) { return k.text == key; });
  return found == keys.end() ? nullptr : &items[static_cast<std::size_t>(found - keys.begin())];
}

YamlNode read_yaml(const std::string& text, const std::string& file) {
  std::optional<Fault> fault;
  try {
    return read_tree(text);
  } catch (Fault& own) {
    fault = std::move(own);
  } catch (const YAML::Exception& error) {
    fault = fault_at(error.mark, "this is not YAML: " + error.msg);
  }
  throw ConfigError({Problem{file, fault->line, fault->column, fault->message}});
}

}  // namespace tunorch
