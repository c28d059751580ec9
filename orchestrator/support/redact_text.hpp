// Takes secrets out of lines of text by how they are written: PEM blocks, passwords in URLs, and
// values of names that say it. Pure; rather too much than too little. Structure is redact.hpp's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tunorch {

inline constexpr std::string_view redacted_word = "[redacted]";

/// Of a key, a variable or an option: `password`, `X_TOKEN`, `--private-key`, and `env`, which has
/// such names in it.
bool is_secret_name(std::string_view name);

/// An option whose value is the next word: `--password`, but not `--password=…`.
bool takes_secret(std::string_view word);

/// In lines a quote ends an unquoted word, as one of JSON's may; a value is one text to its end.
enum class TextKind : std::uint8_t { lines, value };

/// Takes time in proportion to the text.
std::string redact_text(std::string_view text, TextKind kind = TextKind::lines);

}  // namespace tunorch
