// Steps that turn the objects there are into the objects that are wanted: what changed, then what
// is gone. Knows no kind of object; plan.cpp and multipath.cpp have the order of the kinds.
#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "orchestrator/plan/step.hpp"

namespace tunorch {

/// Of one kind of object.
template <class T>
struct Diff {
  std::vector<Change<T>> changed;  // made, or changed in place; in the order of `wanted`
  std::vector<Change<T>> gone;     // in the order of `now`
};

/// The first object of each key.
template <class T, class Key>
auto by_key(const std::vector<T>& objects, const Key& key) {
  std::map<std::decay_t<std::invoke_result_t<const Key&, const T&>>, const T*> index;
  for (const T& object : objects) index.emplace(std::invoke(key, object), &object);
  return index;
}

/// Objects with the same key are one object; `same` says that it needs no change.
template <class T, class Key = std::identity, class Same = std::equal_to<>>
Diff<T> diff(const std::vector<T>& now, const std::vector<T>& wanted, const Key& key = {},
             const Same& same = {}) {
  const auto now_by_key = by_key(now, key), wanted_by_key = by_key(wanted, key);
  Diff<T> steps;
  for (const T& object : wanted) {
    const auto found = now_by_key.find(std::invoke(key, object));
    if (found == now_by_key.end())
      steps.changed.push_back({std::nullopt, object});
    else if (!same(*found->second, object))
      steps.changed.push_back({*found->second, object});
  }
  for (const T& object : now)
    if (!wanted_by_key.contains(std::invoke(key, object)))
      steps.gone.push_back({object, std::nullopt});
  return steps;
}

/// The same for a kind of which there is one object or none.
template <class T>
Diff<T> diff(const std::optional<T>& now, const std::optional<T>& wanted) {
  Diff<T> steps;
  if (wanted && wanted != now) steps.changed.push_back({now, wanted});
  if (now && !wanted) steps.gone.push_back({now, std::nullopt});
  return steps;
}

/// Of several kinds, each built on the ones before it. Additions and changes are performed before
/// removals, so that no prefix is without a route meanwhile.
struct Steps {
  std::vector<Step> additions, removals;

  /// The next kind: added after all others, removed before them.
  template <class T>
  void append(Diff<T> next) {
    std::ranges::move(next.changed, std::back_inserter(additions));
    removals.insert(removals.begin(), std::make_move_iterator(next.gone.begin()),
                    std::make_move_iterator(next.gone.end()));
  }
  void append(Steps next) {
    std::ranges::move(next.additions, std::back_inserter(additions));
    std::ranges::move(removals, std::back_inserter(next.removals));
    removals = std::move(next.removals);
  }

  std::vector<Step> in_order() && {
    std::ranges::move(removals, std::back_inserter(additions));
    return std::move(additions);
  }
};

}  // namespace tunorch
