// Loads what was applied: a file's text becomes what this node should have, with its keys. Changes
// nothing.
#pragma once

#include "orchestrator/plan/desired.hpp"
#include "orchestrator/system/files.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

/// Throws ConfigError for what is wrong with the file, std::runtime_error where it has no such
/// node.
Desired load_without_keys(const FileText& file, const Paths& paths);

/// Also throws std::runtime_error for keys and for files that the cluster file names.
Desired load_with_keys(const FileText& file, const Paths& paths);

}  // namespace tunorch
