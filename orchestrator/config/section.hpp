// Reads one map of a cluster file by the table of keys: types, bounds, defaults, unknown keys.
// What the values mean to each other is not its business (nodes, bundles).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "orchestrator/config/report.hpp"
#include "orchestrator/config/yaml.hpp"

namespace tunorch {

class Section {
 public:
  struct Item {        // an element of a list, or one setting
    std::string name;  // settings only
    std::string text;
    std::string pointer;
  };

  /// `node` may be nullptr: a section the file does not have, all defaults. `path` is the section's
  /// in the table. Reports what is no map, unknown, double, missing or not supported yet.
  Section(const YamlNode* node, std::string path, std::string pointer, Report& report);

  const std::string& pointer() const { return pointer_; }
  std::string pointer_to(std::string_view name) const;
  bool has(std::string_view name) const { return value(name) != nullptr; }

  // Each returns the file's value, else (not given, or wrong and now reported) the table's default,
  // else nothing. Asking for a key that is not in the table throws std::logic_error.
  std::optional<std::int64_t> integer(std::string_view name) const;
  std::optional<bool> boolean(std::string_view name) const;
  std::string text(std::string_view name) const;  // choices too
  std::optional<std::chrono::milliseconds> duration(std::string_view name) const;
  std::uint32_t size_bytes(std::string_view name) const;  // 0: auto

  std::vector<Item> list(std::string_view name) const;  // of scalars; `addresses` may be a scalar
  std::vector<Item> settings(std::string_view name) const;
  Section section(std::string_view name) const;
  std::vector<std::pair<std::string, Section>> named(std::string_view name) const;
  bool is_list(std::string_view name) const;
  std::vector<Section> sections(std::string_view name) const;  // of a list

 private:
  const YamlNode* value(std::string_view name) const;
  void check_keys();

  const YamlNode* node_;
  std::string path_;
  std::string pointer_;
  Report* report_;
};

}  // namespace tunorch
