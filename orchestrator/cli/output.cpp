#include "orchestrator/cli/output.hpp"

#include <unistd.h>

#include <cstdio>
#include <utility>

namespace tunorch {

void print(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

void print_error(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

void print_change(const std::string& line) {
  const Tone tone = line.starts_with('+')   ? Tone::good
                    : line.starts_with('-') ? Tone::bad
                    : line.starts_with('~') ? Tone::warning
                                            : Tone::plain;
  print("  " + toned(terminal_of(STDOUT_FILENO), tone, line));
}

void print_changes(const std::string& title, const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  print(toned(terminal_of(STDOUT_FILENO), Tone::heading, title));
  for (const std::string& line : lines) print_change(line);
}

void Progress::show(const std::string& text) {
  clear();
  shown_ = terminal_.interactive;
  if (!shown_) return print(text);
  std::fputs(cut(text, terminal_.columns).c_str(), stdout);
  std::fflush(stdout);
}

void Progress::clear() {
  if (std::exchange(shown_, false)) std::fputs("\r\033[K", stdout);
}

}  // namespace tunorch
