// Loads a cluster file: YAML in, a checked `Cluster` or all the problems at once out. Opens no key,
// needs no root, touches nothing.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "orchestrator/cluster.hpp"

namespace tunorch {

struct Problem {
  std::string file;
  int line = 0;  // from 1; 0: about the whole file
  int column = 0;
  std::string message;  // what is wrong (with the value), and what would be right

  std::string text() const;  // file:line:col: message
};

/// Carries every problem of the file, in its order; what() is their texts, one a line.
class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(std::vector<Problem> problems);
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  std::vector<Problem> problems_;
};

/// Reads at most 1 MiB. Throws ConfigError for a file that is missing, unreadable or too large.
std::string read_cluster_file(const std::filesystem::path& path);

/// `name` stands in the problems' positions; relative paths in the file are relative to `base_dir`.
Cluster parse_cluster(const std::string& text, const std::string& name,
                      const std::filesystem::path& base_dir);

/// Both of the above, base_dir being the file's own folder.
Cluster load_cluster(const std::filesystem::path& path);

}  // namespace tunorch
