// The terminal as a whole screen: lines of toned text out, keys in, and the terminal as it was
// before at the end. The only file pair that knows ncurses; what is shown it does not know.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/terminal/terminal.hpp"

namespace tunorch {

struct Span {
  std::string text;
  Tone tone = Tone::plain;
};

struct ScreenLine {
  std::vector<Span> spans;
  bool inverse = false;  // over the whole width
};

class Screen {
 public:
  /// Takes over standard input and output. Throws std::runtime_error where they are no terminal, or
  /// one that cannot move its cursor.
  Screen();
  /// The terminal is as it was before.
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  std::size_t columns() const;
  std::size_t lines() const;
  /// After SIGWINCH.
  void resize();
  void draw(const std::vector<ScreenLine>& lines);

  enum Key : int { up = 0x110000, down };  // beyond Unicode; all else are characters
  /// What was typed; nothing: no more is there.
  std::optional<int> key();

 private:
  struct Terminfo;  // of ncurses
  std::unique_ptr<Terminfo> terminal_;
  bool coloured_ = false, unicode_ = true;
};

}  // namespace tunorch
