#include "orchestrator/telemetry/log_lines.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tunorch {
namespace {

constexpr std::string_view output_mark = "output tunnel=";

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0;
}

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 1;
  bool valid = false;
};

CodePoint first_code_point(std::string_view text) {
  const std::uint8_t lead = byte_at(text, 0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) return {};
  std::uint32_t value = lead & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte_at(text, i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte_at(text, i) & 0x3fU);
  }
  const bool overlong = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  return {value, bytes, !overlong && !surrogate && value <= 0x10ffff};
}

/// Controls of C0 and C1, and what has no shape but changes that of others.
bool is_harmful(std::uint32_t value) {
  constexpr std::pair<std::uint32_t, std::uint32_t> ranges[] = {
      {0x00, 0x1f},     {0x7f, 0x9f},     {0x200b, 0x200f}, {0x2028, 0x202e},
      {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}};
  return std::ranges::any_of(
      ranges, [&](const auto& range) { return value >= range.first && value <= range.second; });
}

bool is_part_of_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

}  // namespace

std::string harmless(std::string_view text, std::size_t most) {
  constexpr std::string_view ellipsis = "…";
  std::string clean;
  std::size_t fitting = 0;  // of clean, with room for the ellipsis
  while (!text.empty()) {
    const CodePoint first = first_code_point(text);
    if (text.front() == '\t')
      clean += ' ';
    else if (first.valid && !is_harmful(first.value))
      clean += text.substr(0, first.bytes);
    else
      for (std::size_t i = 0; i < first.bytes; ++i)
        clean += fmt::format("\\x{:02x}", byte_at(text, i));
    text.remove_prefix(first.bytes);
    if (clean.size() + ellipsis.size() <= most) fitting = clean.size();
    if (clean.size() > most) return clean.substr(0, fitting).append(ellipsis);
  }
  return clean;
}

bool concerns(std::string_view text, std::string_view tunnel) {
  if (text.starts_with(output_mark)) {
    const std::string_view name = text.substr(output_mark.size());
    return name.substr(0, name.find(':')) == tunnel;
  }
  for (auto at = text.find(tunnel); at != text.npos; at = text.find(tunnel, at + 1)) {
    const auto end = at + tunnel.size();
    // A name may end a sentence, and no name ends with a dot.
    const bool goes_on = end < text.size() && is_part_of_name(text[end]) &&
                         !(text[end] == '.' && (end + 1 == text.size() || text[end + 1] == ' '));
    if ((at == 0 || !is_part_of_name(text[at - 1])) && !goes_on) return true;
  }
  return false;
}

std::string output_line(std::string_view tunnel, std::string_view line) {
  return fmt::format("{}{}: {}", output_mark, tunnel, line);
}

void OutputLines::leave_out(std::uint64_t bytes) {
  bytes_left_out_ += bytes;
  cut_ = false;
}

std::string OutputLines::left_out() {
  const auto lines = std::exchange(lines_left_out_, 0), bytes = std::exchange(bytes_left_out_, 0);
  if (lines == 0 && bytes == 0) return "";
  if (bytes == 0) return fmt::format("{} lines left out", lines);
  return fmt::format("{} lines and {} bytes left out", lines, bytes);
}

bool OutputLines::pass(std::string_view line, Taken& taken) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.find_first_not_of(" \t") == line.npos) return true;
  if (passed_ >= most_a_second) {
    ++lines_left_out_;
    return true;
  }
  taken.more = taken.lines.size() >= most_at_once;
  if (taken.more) return false;
  ++passed_;
  taken.lines.push_back(harmless(line));
  return true;
}

OutputLines::Taken OutputLines::take(std::string_view text, std::chrono::seconds now) {
  Taken taken;
  if (now != second_) {
    if (std::string words = left_out(); !words.empty()) taken.lines.push_back(std::move(words));
    second_ = now;
    passed_ = 0;
  }
  for (;;) {
    const std::string_view rest = text.substr(taken.bytes);
    const auto end = rest.find('\n');
    const bool endless = end == rest.npos && rest.size() >= chunk_bytes;
    if (end == rest.npos && !endless) return taken;
    if (!cut_ && !pass(rest.substr(0, end), taken)) return taken;
    cut_ = endless;
    taken.bytes += endless ? rest.size() : end + 1;
  }
}

}  // namespace tunorch
