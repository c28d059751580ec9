// YAML text as a small tree with positions: the one place that knows yaml-cpp (load.cpp would pass
// its size otherwise, and the rest of the loader stays free of a third party's types). Refuses
// what a cluster file has no use for (aliases, tags, second documents); knows no key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "orchestrator/config/problem.hpp"

namespace tunorch {

/// Limits on what a file may make us build; a large cluster stays far below each of them.
inline constexpr std::size_t max_yaml_bytes = 1024 * 1024;
inline constexpr std::size_t max_yaml_nodes = 200'000;
inline constexpr std::size_t max_yaml_depth = 32;
inline constexpr std::size_t max_yaml_key_bytes = 256;

struct YamlNode {
  enum class Kind : std::uint8_t { null, scalar, list, map };
  Kind kind = Kind::null;
  int line = 1;                 // from 1
  int column = 1;               // from 1
  bool quoted = false;          // a scalar that was written in quotes: text, never a number
  std::string text;             // of a scalar
  std::vector<YamlNode> keys;   // of a map: scalars in the file's order, duplicates included
  std::vector<YamlNode> items;  // elements of a list, or the values that belong to `keys`

  /// The value of the first such key of a map; nullptr where there is none.
  const YamlNode* find(std::string_view key) const;
};

/// Throws ConfigError with one problem: what the text is not (UTF-8, YAML, small enough, plain).
YamlNode read_yaml(const std::string& text, const std::string& file);

}  // namespace tunorch
