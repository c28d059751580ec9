// Private PEM blocks (RFC 7468) and their like in any text, also where only a part of one is left.
// Pure.
#pragma once

#include <string>
#include <string_view>

namespace tunorch {

/// Every block but those whose label is known to be public is replaced by redacted_word, also where
/// its lines have something before them, or are joined by `\n`.
std::string redact_pem(std::string_view text);

}  // namespace tunorch
