// What verbs print: lines, changes in the colours of a diff, and one line that the next overwrites.
// Knows nothing of what is said.
#pragma once

#include <string>
#include <vector>

#include "orchestrator/terminal/terminal.hpp"

namespace tunorch {

void print(const std::string& line);
/// To standard error.
void print_error(const std::string& text);
/// A line of a plan, coloured as a diff is.
void print_change(const std::string& line);
/// Nothing for no lines.
void print_changes(const std::string& title, const std::vector<std::string>& lines);

/// A line that the next one takes the place of; a line of its own where that cannot be.
class Progress {
 public:
  ~Progress() { clear(); }

  void show(const std::string& text);
  void clear();

 private:
  Terminal terminal_ = terminal_of(1);
  bool shown_ = false;
};

}  // namespace tunorch
