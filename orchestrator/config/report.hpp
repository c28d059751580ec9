// Gathers the problems of a cluster file. Finds the positions; judges nothing.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/yaml.hpp"

namespace tunorch {

/// Places are JSON pointers into the file without the leading slash ("bundles/backbone/dial/0"), so
/// that a check on plain structs needs no positions of its own.
class Report {
 public:
  explicit Report(const YamlNode& root) : root_(root) {}

  /// At this value, or where the file does not have it, at what is nearest around it.
  void add(const std::string& pointer, std::string message);
  void add_at(const YamlNode& place, std::string message);
  /// Enough is enough: a broken file of a megabyte need not cost minutes.
  bool full() const { return problems_.size() >= 1000; }
  bool empty() const { return problems_.empty(); }
  /// Whether add() had something to say of this value: what follows from it need not be said too.
  bool is_wrong(const std::string& pointer) const { return wrong_.contains(pointer); }
  /// In the file's order, each once.
  std::vector<Problem> sorted(const std::string& file) const;

 private:
  const YamlNode& root_;
  std::vector<Problem> problems_;
  std::set<std::string> wrong_;
};

}  // namespace tunorch
