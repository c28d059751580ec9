// The FNV-1a hash, 64 bits. Not for anything that an attacker may choose.
#pragma once

#include <cstdint>
#include <string_view>

namespace tunorch {

/// draft-eastlake-fnv: the same over builds and machines, unlike std::hash.
std::uint64_t fnv1a(std::string_view text);

}  // namespace tunorch
