#include "orchestrator/config/report.hpp"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

/// Where to point for what stands at `pointer`. A collection is pointed at by its key: the
/// collection itself begins with its first entry, often a line below.
const YamlNode& place_of(const YamlNode& root, std::string_view pointer) {
  const YamlNode* node = &root;
  const YamlNode* place = &root;
  while (!pointer.empty()) {
    // A sysctl's name may have slashes of its own: the last step is what is a key as a whole.
    const bool last = node->kind == YamlNode::Kind::map && node->find(pointer) != nullptr;
    const std::size_t slash = last ? pointer.size() : std::min(pointer.find('/'), pointer.size());
    const std::string_view step = pointer.substr(0, slash);
    pointer.remove_prefix(std::min(slash + 1, pointer.size()));
    if (node->kind == YamlNode::Kind::map) {
      const YamlNode* value = node->find(step);
      if (value == nullptr) break;
      const auto at = static_cast<std::size_t>(value - node->items.data());
      place = value->kind == YamlNode::Kind::scalar ? value : &node->keys[at];
      node = value;
    } else {
      const auto at = parse_whole(step).value.value_or(-1);
      if (at < 0 || static_cast<std::size_t>(at) >= node->items.size()) break;
      place = node = &node->items[static_cast<std::size_t>(at)];
    }
  }
  return *place;
}

}  // namespace

void Report::add(const std::string& pointer, std::string message) {
  if (full()) return;
  wrong_.insert(pointer);
  add_at(place_of(root_, pointer), std::move(message));
}

void Report::add_at(const YamlNode& place, std::string message) {
  if (!full()) problems_.push_back({"", place.line, place.column, std::move(message)});
}

std::vector<Problem> Report::sorted(const std::string& file) const {
  std::vector<Problem> problems = problems_;
  for (Problem& problem : problems) problem.file = file;
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  return problems;
}

}  // namespace tunorch
