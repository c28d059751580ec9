// Loads a cluster file: YAML in, a checked `Cluster` or all the problems at once out. Opens no key,
// needs no root, touches nothing.
#pragma once

#include <filesystem>
#include <string>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/problem.hpp"

namespace tunorch {

/// Reads at most 1 MiB. Throws ConfigError for a file that is missing, unreadable or too large.
std::string read_cluster_file(const std::filesystem::path& path);

/// `name` stands in the problems' positions; relative paths in the file are relative to `base_dir`.
Cluster parse_cluster(const std::string& text, const std::string& name,
                      const std::filesystem::path& base_dir);

/// Both of the above, base_dir being the file's own folder.
Cluster load_cluster(const std::filesystem::path& path);

}  // namespace tunorch
