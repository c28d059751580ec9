// An optional field of a message whose key is there even without a value.
#pragma once

#include <optional>
#include <utility>

namespace tunorch {

/// Written as null where it has no value; a plain std::optional is left out.
template <class T>
struct OrNull : std::optional<T> {
  using std::optional<T>::optional;
  OrNull(std::optional<T> value) : std::optional<T>(std::move(value)) {}
};

}  // namespace tunorch
