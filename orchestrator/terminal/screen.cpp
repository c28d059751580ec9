#include "orchestrator/terminal/screen.hpp"

#include "orchestrator/terminal/terminal.hpp"

#define NCURSES_NOMACROS  // its macros have names like `clear` and `move`
#include <langinfo.h>
#include <ncurses.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tunorch {
namespace {

constexpr int escape_wait_ms = 25;

/// Where the locale says nothing at all, a terminal of today takes UTF-8.
bool use_unicode() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(::nl_langinfo(CODESET)) == "UTF-8") return true;
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const char* const value = std::getenv(name); value && *value != '\0') return false;
  return std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr;
}

attr_t attribute_of(Tone tone, bool coloured) {
  switch (tone) {
    case Tone::plain:
      return A_NORMAL;
    case Tone::heading:
      return A_BOLD;
    case Tone::faint:
      return A_DIM;
    case Tone::good:
    case Tone::warning:
    case Tone::bad:
      break;
  }
  return coloured             ? static_cast<attr_t>(COLOR_PAIR(static_cast<int>(tone)))
         : tone == Tone::good ? A_NORMAL
                              : A_BOLD;
}

}  // namespace

struct Screen::Terminfo {
  SCREEN* screen;

  Terminfo() : screen(::newterm(nullptr, stdout, stdin)) {
    if (!screen)
      throw std::runtime_error(
          "cannot show a live view: this terminal (TERM) is not known here; `tunorch status "
          "--watch` does with less");
  }
  ~Terminfo() {
    ::endwin();
    ::delscreen(screen);
  }
  Terminfo(const Terminfo&) = delete;
  Terminfo& operator=(const Terminfo&) = delete;
};

Screen::Screen() : unicode_(use_unicode()) {
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  if (!terminal.interactive || ::isatty(STDIN_FILENO) != 1)
    throw std::runtime_error(
        "cannot show a live view: standard input and output are not both a terminal that can move "
        "its cursor; `tunorch status --watch` prints the same anew every second");
  ::set_escdelay(escape_wait_ms);
  terminal_ = std::make_unique<Terminfo>();
  ::cbreak();
  ::noecho();
  ::nonl();
  ::keypad(stdscr, TRUE);
  ::nodelay(stdscr, TRUE);
  ::curs_set(0);
  coloured_ = terminal.coloured && ::has_colors() && ::start_color() == OK;
  if (!coloured_) return;
  ::use_default_colors();
  constexpr short background = -1;
  ::init_pair(static_cast<short>(Tone::good), COLOR_GREEN, background);
  ::init_pair(static_cast<short>(Tone::warning), COLOR_YELLOW, background);
  ::init_pair(static_cast<short>(Tone::bad), COLOR_RED, background);
}

Screen::~Screen() = default;

std::size_t Screen::columns() const {
  return static_cast<std::size_t>(std::max(getmaxx(stdscr), 0));
}

std::size_t Screen::lines() const {
  return static_cast<std::size_t>(std::max(getmaxy(stdscr), 0));
}

void Screen::resize() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return;
  ::resizeterm(size.ws_row, size.ws_col);
  ::clearok(stdscr, TRUE);
}

void Screen::draw(const std::vector<ScreenLine>& lines) {
  ::werase(stdscr);
  for (std::size_t i = 0; i < lines.size() && i < this->lines(); ++i) {
    const attr_t whole = lines[i].inverse ? A_REVERSE : A_NORMAL;
    ::wmove(stdscr, static_cast<int>(i), 0);
    std::size_t left = columns();
    for (const Span& span : lines[i].spans) {
      const std::string text = unicode_ ? span.text : in_ascii(span.text);
      left -= std::min(left, width(text));
      ::wattrset(stdscr, static_cast<int>(attribute_of(span.tone, coloured_) | whole));
      ::waddstr(stdscr, text.c_str());
    }
    ::wattrset(stdscr, static_cast<int>(whole));
    if (lines[i].inverse) ::waddstr(stdscr, std::string(left, ' ').c_str());
  }
  ::wattrset(stdscr, A_NORMAL);
  ::wrefresh(stdscr);
}

std::optional<int> Screen::key() {
  for (;;) {
    const int typed = ::wgetch(stdscr);
    if (typed == ERR) return std::nullopt;
    if (typed == KEY_UP) return up;
    if (typed == KEY_DOWN) return down;
    if (typed < KEY_MIN) return typed;
  }
}

}  // namespace tunorch
