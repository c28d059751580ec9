// Runs a program to its end and keeps what it prints, within limits of time and size. Knows no
// program; the process itself is process.hpp's.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace tunorch {

struct Captured {
  std::string output, errors;
  int status = -1;      // its exit status; -1: it has none
  std::string problem;  // why not, in words: not started, killed, out of time
  bool cut = false;     // it printed more than was kept; it was ended then
};

struct CaptureLimits {
  std::chrono::milliseconds time{10'000};
  std::size_t bytes = 4 * 1024 * 1024;  // of stdout and of stderr
};

/// As our own user, in `/`, with an environment of PATH and LC_ALL=C alone and nothing to read.
/// What has not ended in time is killed, with what it started. Throws nothing for what the program
/// does, std::system_error where there are no descriptors.
Captured run_captured(const std::vector<std::string>& argv, const CaptureLimits& limits);

}  // namespace tunorch
