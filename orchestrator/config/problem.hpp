// What is wrong with a cluster file, and where. Knows nothing of what is read.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

namespace tunorch {

struct Problem {
  std::string file;
  int line = 0;  // from 1; 0: about the whole file
  int column = 0;
  std::string message;  // what is wrong (with the value), and what would be right

  std::string text() const;  // file:line:col: message
};

/// Carries every problem of the file, in its order; what() is their texts, one per line.
class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(std::vector<Problem> problems);
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  std::vector<Problem> problems_;
};

}  // namespace tunorch
