#include "orchestrator/terminal/terminal.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

namespace tunorch {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t least_last = 20;

bool starts_code_point(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
}

/// Byte offset of the code point after `code_points` others.
std::size_t offset_of(std::string_view utf8, std::size_t code_points) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < utf8.size(); ++i)
    if (starts_code_point(utf8[i]) && seen++ == code_points) return i;
  return utf8.size();
}

std::string padded(const std::string& text, std::size_t columns) {
  return text + std::string(columns - std::min(columns, width(text)), ' ');
}

/// The columns that are shown, and how wide.
struct Layout {
  std::vector<std::size_t> shown, widths;

  std::size_t total() const {
    return std::accumulate(widths.begin(), widths.end(), gap * (widths.size() - 1));
  }
};

Layout natural_layout(const std::vector<Column>& columns,
                      const std::vector<std::vector<Cell>>& rows) {
  Layout layout;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::size_t most = width(columns[i].title);
    for (const auto& row : rows) most = std::max(most, width(row[i].text));
    layout.shown.push_back(i);
    layout.widths.push_back(most);
  }
  return layout;
}

Layout layout_of(const Terminal& terminal, const std::vector<Column>& columns,
                 const std::vector<std::vector<Cell>>& rows) {
  Layout layout = natural_layout(columns, rows);
  if (terminal.columns == 0) return layout;
  const std::size_t last = std::min(layout.widths.back(), least_last);
  while (layout.total() - layout.widths.back() + last > terminal.columns) {
    const auto worst =
        std::ranges::max_element(layout.shown, {}, [&](std::size_t i) { return columns[i].rank; });
    if (columns[*worst].rank == 0) break;
    layout.widths.erase(layout.widths.begin() + (worst - layout.shown.begin()));
    layout.shown.erase(worst);
  }
  if (const std::size_t total = layout.total(); total > terminal.columns)
    layout.widths.back() -= std::min(layout.widths.back() - last, total - terminal.columns);
  return layout;
}

}  // namespace

Terminal terminal_of(int fd) {
  if (::isatty(fd) != 1) return {};
  const char* const term = std::getenv("TERM");
  const char* const no_color = std::getenv("NO_COLOR");
  Terminal terminal;
  terminal.interactive = term && std::string_view(term) != "dumb";
  terminal.coloured = terminal.interactive && (!no_color || *no_color == '\0');
  if (winsize size{}; ::ioctl(fd, TIOCGWINSZ, &size) == 0) {
    terminal.columns = size.ws_col;
    terminal.lines = size.ws_row;
  }
  return terminal;
}

std::string toned(const Terminal& terminal, Tone tone, std::string_view text) {
  constexpr std::array<const char*, 6> codes{"", "1", "32", "33", "31", "2"};
  if (!terminal.coloured || tone == Tone::plain || text.empty()) return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", codes[static_cast<std::size_t>(tone)], text);
}

std::size_t width(std::string_view utf8) {
  return static_cast<std::size_t>(std::ranges::count_if(utf8, starts_code_point));
}

std::string cut(std::string_view utf8, std::size_t columns) {
  if (width(utf8) <= columns) return std::string(utf8);
  if (columns == 0) return "";
  return std::string(utf8.substr(0, offset_of(utf8, columns - 1))) + "…";
}

std::vector<std::vector<Cell>> table_lines(const Terminal& terminal,
                                           const std::vector<Column>& columns,
                                           const std::vector<std::vector<Cell>>& rows) {
  const Layout layout = layout_of(terminal, columns, rows);
  const auto line = [&](const auto& cell_of) {
    std::vector<Cell> cells;
    for (std::size_t i = 0; i < layout.shown.size(); ++i) {
      const Cell cell = cell_of(layout.shown[i]);
      cells.push_back({cut(cell.text, layout.widths[i]), cell.tone});
      if (i + 1 < layout.shown.size())
        cells.push_back({padded("", layout.widths[i] - width(cells.back().text) + gap)});
    }
    return cells;
  };
  std::vector<std::vector<Cell>> lines{line([&](std::size_t i) {
    return Cell{columns[i].title, Tone::heading};
  })};
  for (const auto& row : rows) lines.push_back(line([&](std::size_t i) { return row[i]; }));
  return lines;
}

std::string table(const Terminal& terminal, const std::vector<Column>& columns,
                  const std::vector<std::vector<Cell>>& rows) {
  std::string text;
  for (const auto& cells : table_lines(terminal, columns, rows)) {
    std::string line;
    for (const Cell& cell : cells) line += toned(terminal, cell.tone, cell.text);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string screen(const Terminal& terminal, std::string_view text) {
  std::string out = "\033[H";  // CUP: to the first line
  std::size_t lines = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (terminal.lines > 0 && ++lines == terminal.lines) {
      const auto left = std::ranges::count(text, '\n');
      out += fmt::format("… {} more lines\033[K", left);
      break;
    }
    out += text.substr(0, end);
    out += "\033[K\n";  // EL: what was behind it
    text = end == text.npos ? "" : text.substr(end + 1);
  }
  return out + "\033[J";  // ED: what was below
}

std::string in_ascii(std::string_view utf8) {
  constexpr std::array<std::pair<std::string_view, char>, 13> alike{{{"▁", '.'},
                                                                     {"▂", ':'},
                                                                     {"▃", '-'},
                                                                     {"▄", '='},
                                                                     {"▅", '+'},
                                                                     {"▆", '*'},
                                                                     {"▇", '#'},
                                                                     {"█", '@'},
                                                                     {"…", '~'},
                                                                     {"↑", '^'},
                                                                     {"↓", 'v'},
                                                                     {"▲", '^'},
                                                                     {"▼", 'v'}}};
  std::string text;
  while (!utf8.empty()) {
    const auto known =
        std::ranges::find_if(alike, [&](const auto& one) { return utf8.starts_with(one.first); });
    const bool ascii = static_cast<unsigned char>(utf8.front()) < 0x80;
    text += ascii ? utf8.front() : known == alike.end() ? '?' : known->second;
    utf8.remove_prefix(1);
    while (!utf8.empty() && (utf8.front() & 0xc0) == 0x80) utf8.remove_prefix(1);
  }
  return text;
}

}  // namespace tunorch
