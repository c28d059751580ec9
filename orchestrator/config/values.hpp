// The scalars of a cluster file as text: whole numbers, durations, sizes, and how to show them.
// Knows neither keys nor positions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tunorch {

/// A number, or why the text is none ("has no unit: 200ms?").
struct Amount {
  std::optional<std::int64_t> value;
  std::string fault;
};

Amount parse_whole(std::string_view text);     // "17"
Amount parse_duration(std::string_view text);  // "200ms", "5s", "1m", "1h": in milliseconds
Amount parse_size(std::string_view text);      // "512KiB", "4MiB", "100k": in bytes

std::string duration_text(std::int64_t milliseconds);  // in the largest unit that needs no fraction
std::string size_text(std::int64_t bytes);

/// A value from the file for a message: in quotes, cut to 60 bytes, control bytes as \xNN (the
/// terminal of who reads the message must not obey them).
std::string shown(std::string_view text);

/// "; did you mean 'tunnels'?" where a candidate is near enough to be a typing error, else "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace tunorch
