// How text looks on a terminal: tones, columns, widths. Pure but for terminal_of(). Knows nothing
// of what it shows.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tunorch {

struct Terminal {
  bool interactive = false;  // what was written can be written over
  bool coloured = false;
  std::size_t columns = 0, lines = 0;  // 0: no limit
};

/// Coloured where it is a terminal, unless NO_COLOR (no-color.org) is set or TERM is dumb. Its size
/// is asked for by TIOCGWINSZ (ioctl_tty(2)); a pipe has no limit.
Terminal terminal_of(int fd);

enum class Tone { plain, heading, good, warning, bad, faint };

/// By SGR sequences (ECMA-48, 8.3.117); the text itself where there are no colours.
std::string toned(const Terminal& terminal, Tone tone, std::string_view text);

/// What it takes of a line: its code points, as long as none of them is wide.
std::size_t width(std::string_view utf8);
/// Cut to `columns` columns, the last one `…` if something is left out.
std::string cut(std::string_view utf8, std::size_t columns);

struct Cell {
  std::string text;
  Tone tone = Tone::plain;
};

struct Column {
  std::string title;
  int rank = 0;  // where not all have room, those of the highest rank are left out first; 0 never
};

/// Lines of aligned cells under their titles, two spaces apart. The last column is cut where that
/// is enough to fit; before it has fewer than 20 columns others are left out.
std::string table(const Terminal& terminal, const std::vector<Column>& columns,
                  const std::vector<std::vector<Cell>>& rows);

/// The same line by line, the titles first: cells and the spaces between them.
std::vector<std::vector<Cell>> table_lines(const Terminal& terminal,
                                           const std::vector<Column>& columns,
                                           const std::vector<std::vector<Cell>>& rows);

/// Redraws the whole screen over the one before, cut at the terminal's last line.
std::string screen(const Terminal& terminal, std::string_view text);

/// For a terminal without UTF-8: bars, dots and arrows by what looks like them, all else as `?`.
std::string in_ascii(std::string_view utf8);

}  // namespace tunorch
