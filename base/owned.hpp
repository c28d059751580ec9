// A C library's object, freed by the library's own function. Knows no library.
#pragma once

#include <memory>

namespace tunorch {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, FreeWith<Free>>;

}  // namespace tunorch
