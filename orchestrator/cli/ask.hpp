// Asks the daemon of this node for a verb, and prints steps and failures as they come. Starts no
// daemon.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/system/files.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

/// A config error begins with its position; every other with who says it.
void print_failure(const Failure& failure);

/// Why no daemon answers, and what to type.
std::string no_daemon(const Paths& paths);

/// Asks the daemon that must be there. Steps and failures are printed. Documents (status, events,
/// lines of the log, explanations) go to `on_document`. Returns the exit code: 1 for a failure, or
/// if it was not done.
int ask_daemon(
    const Paths& paths, const DaemonRequest& request,
    const std::function<void(const nlohmann::json&)>& on_document = [](const nlohmann::json&) {});

/// The exit code of a verb that follows what comes: only the daemon's end ends it.
int followed(bool follow, int code);

struct ClusterFile {
  FileText sent;
  Cluster cluster;
};
/// Throws ConfigError with every problem of the file.
ClusterFile load_file(const std::string& path);

}  // namespace tunorch
