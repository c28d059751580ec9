// A cluster file without its secrets: read as the loader reads it, and written again.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/problem.hpp"
#include "orchestrator/config/yaml.hpp"
#include "orchestrator/support/redact.hpp"
#include "orchestrator/support/redact_text.hpp"

namespace tunorch {
namespace {

using Kind = YamlNode::Kind;

/// What a shorter word says elsewhere, it mostly says by chance.
constexpr std::size_t least_known = 6;
/// Of a word in the text of some program's file.
constexpr std::size_t least_in_body = 16;

/// What is below decides what is taken out.
enum class Place : std::uint8_t { open, words, body, secret };

/// Of a word that stands for itself: an option, or {dev}.
bool is_harmless(const std::string& word) {
  const bool option = word.starts_with('-') && word.find_first_not_of('-') != word.npos &&
                      word.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == word.npos;
  const bool name = word.starts_with('{') && word.find('}') + 1 == word.size();
  return option || name;
}

/// Whether an argument whose meaning is not known looks made up by chance.
bool looks_random(const std::string& word) {
  const auto has = [&](const char* characters) {
    return word.find_first_of(characters) != word.npos;
  };
  return !Prefix::parse(word) && !has("{} ") && word.find("://") == word.npos &&
         !word.starts_with('/') && !word.starts_with('.') && has("0123456789") &&
         has("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
}

class FileRedactor {
 public:
  RedactedFile run(const YamlNode& root) {
    write(root, Place::open, "", 0);
    return std::move(file_);
  }

 private:
  void learn(const std::string& secret) {
    if (secret.size() >= least_known) file_.secrets.insert(secret);
  }

  /// What the lines' rules take out of a value, as the password of a URL, is known from here on.
  void learn_difference(const std::string& before, const std::string& after) {
    const std::size_t at = after.find(redacted_word);
    if (at == after.npos || after.find(redacted_word, at + 1) != after.npos) return;
    const std::size_t tail = after.size() - at - redacted_word.size();
    if (before.size() > at + tail) learn(before.substr(at, before.size() - at - tail));
  }

  void learn_body(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      learn_difference(line, redact_text(line));
      learn_words(line);
    }
  }

  void learn_words(const std::string& line) {
    constexpr const char* between = " \t\r\"';,=<>";
    for (std::size_t at = line.find_first_not_of(between); at != line.npos;) {
      const std::size_t end = std::min(line.find_first_of(between, at), line.size());
      if (const std::string word = line.substr(at, end - at);
          word.size() >= least_in_body && looks_random(word))
        learn(word);
      at = line.find_first_not_of(between, end);
    }
  }

  static std::string quoted(const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }

  std::string scalar(const YamlNode& node, Place place) {
    if (node.kind == Kind::null) return "null";
    if (place == Place::secret || place == Place::body) {
      place == Place::secret ? learn(node.text) : learn_body(node.text);
      return quoted(std::string(redacted_word));
    }
    const std::string clean = redact_text(node.text, TextKind::value);
    learn_difference(node.text, clean);
    constexpr const char* plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-";
    const bool bare = !node.quoted && !clean.empty() && clean.front() != '-' &&
                      clean.find_first_not_of(plain) == clean.npos;
    return bare ? clean : quoted(clean);
  }

  /// A word of a command line; `secret`: the value of the option before it.
  std::string word(const YamlNode& node, bool first, bool secret) {
    if (node.kind != Kind::scalar || secret) return scalar(node, Place::secret);
    if (first || is_harmless(node.text)) return scalar(node, Place::open);
    const std::size_t mark = node.text.find('=');
    const std::string option = node.text.substr(0, mark);
    const bool has_value = mark != std::string::npos && option.starts_with('-');
    const std::string value = has_value ? node.text.substr(mark + 1) : node.text;
    if (is_secret_name(option) || looks_random(value)) learn(value);
    return quoted((has_value ? option + "=" : "") + std::string(redacted_word));
  }

  void line(std::size_t indent, const std::string& text) {
    file_.text += std::string(indent, ' ') + text + "\n";
  }

  void write(const YamlNode& node, Place place, const std::string& key, std::size_t indent) {
    if (node.kind == Kind::map) return write_map(node, place, key, indent);
    if (node.kind == Kind::list) return write_list(node, place, indent);
    line(indent, scalar(node, place));
  }

  static Place place_below(const std::string& parent, const std::string& key, Place place) {
    if (place == Place::secret || is_secret_name(key)) return Place::secret;
    if (parent == "command" && key == "files") return Place::body;
    const bool words =
        (parent == "command" && (key == "listen" || key == "dial" || key == "health")) ||
        key == "extra_args";
    return words ? Place::words : place;
  }

  static bool is_nested(const YamlNode& node) {
    return (node.kind == Kind::map || node.kind == Kind::list) && !node.items.empty();
  }

  void write_map(const YamlNode& node, Place place, const std::string& parent, std::size_t indent) {
    if (node.items.empty()) return line(indent, "{}");
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& value = node.items[i];
      const std::string& key = node.keys[i].text;
      const Place below = place_below(parent, key, place);
      const std::string head = scalar(node.keys[i], Place::open) + ":";
      if (is_nested(value)) {
        line(indent, head);
        write(value, below, key, indent + 2);
      } else {
        line(indent, head + " " + leaf(value, below));
      }
    }
  }

  std::string leaf(const YamlNode& node, Place place) {
    if (node.kind == Kind::map) return "{}";
    if (node.kind == Kind::list) return "[]";
    return place == Place::words ? word(node, false, false) : scalar(node, place);
  }

  void write_list(const YamlNode& node, Place place, std::size_t indent) {
    if (node.items.empty()) return line(indent, "[]");
    bool secret_next = false;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      if (is_nested(item)) {
        line(indent, "-");
        write(item, place, "", indent + 2);
        continue;
      }
      const bool words = place == Place::words;
      const bool secret = secret_next && place != Place::secret;
      line(indent,
           "- " + (words || secret ? word(item, words && i == 0, secret) : leaf(item, place)));
      secret_next = item.kind == Kind::scalar && takes_secret(item.text);
    }
  }

  RedactedFile file_;
};

}  // namespace

RedactedFile redact_cluster_file(const std::string& text) {
  try {
    return FileRedactor().run(read_yaml(text, "cluster.yaml"));
  } catch (const ConfigError&) {
    return {redact(text), {}};  // not valid YAML: line by line
  }
}

}  // namespace tunorch
