#include "orchestrator/config/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

namespace tunorch {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};

constexpr std::array duration_units = {Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1000},
                                       Unit{"ms", 1}};

// The IEC prefixes are powers of 1024, the SI ones powers of 1000 (IEC 80000-13).
constexpr std::array size_units = {Unit{"GiB", 1LL << 30},
                                   Unit{"MiB", 1LL << 20},
                                   Unit{"KiB", 1LL << 10},
                                   Unit{"G", 1'000'000'000},
                                   Unit{"M", 1'000'000},
                                   Unit{"k", 1000},
                                   Unit{"B", 1}};

std::string names(std::span<const Unit> units) {
  std::string all;
  for (const Unit& unit : units) all += (all.empty() ? "" : ", ") + std::string(unit.name);
  return all;
}

Amount parse_with_unit(std::string_view text, std::span<const Unit> units,
                       std::string_view usual_unit) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  Amount number = parse_whole(text.substr(0, digits));
  if (!number.value) return number;
  const std::string_view name = text.substr(digits);
  if (name.empty()) return {{}, fmt::format("has no unit: {}{}?", text, usual_unit)};
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  if (unit == units.end())
    return {{}, fmt::format("has an unknown unit {}: {}?", shown(name), names(units))};
  if (*number.value > std::numeric_limits<std::int64_t>::max() / unit->factor)
    return {{}, "is too large"};
  return {*number.value * unit->factor, {}};
}

std::string with_unit(std::int64_t value, std::span<const Unit> units) {
  const auto unit = std::find_if(units.begin(), units.end() - 1, [&](const Unit& u) {
    return value != 0 && value % u.factor == 0;
  });
  return fmt::format("{}{}", value / unit->factor, unit->name);
}

/// Levenshtein's distance, one row at a time.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

}  // namespace

Amount parse_whole(std::string_view text) {
  // A leading zero is octal to YAML 1.1 and decimal to YAML 1.2: refuse it rather than guess.
  if (text.empty() || text.find_first_not_of("0123456789") != text.npos ||
      (text.size() > 1 && text.front() == '0'))
    return {{}, "is not a whole number"};
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return {{}, "is too large"};
  return {value, {}};
}

Amount parse_duration(std::string_view text) {
  return parse_with_unit(text, duration_units, "ms");
}

Amount parse_size(std::string_view text) {
  return parse_with_unit(text, size_units, "B");
}

std::string duration_text(std::int64_t milliseconds) {
  return with_unit(milliseconds, duration_units);
}

std::string size_text(std::int64_t bytes) {
  std::array<Unit, 4> binary = {size_units[0], size_units[1], size_units[2], size_units[6]};
  return with_unit(bytes, binary);
}

std::string shown(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string out = "'";
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + (text.size() > longest ? "...'" : "'");
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t longest = 64;
  if (word.size() > longest) return "";
  // A third of the letters wrong is still the same word; more is another word.
  std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    const std::size_t found = distance(word, candidate);
    if (found >= best) continue;
    best = found;
    nearest = candidate;
  }
  return nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest);
}

}  // namespace tunorch
