// Runs a supervisor as a process: the lock, the signals, the log and the control socket around it.
// Only `run_down` works without a daemon beside it.
#pragma once

#include "orchestrator/system/files.hpp"

namespace tunorch {

/// Serves until SIGTERM or SIGINT (then workers, links and routes stay as they are) or `down`.
/// Throws std::runtime_error where another daemon holds this network namespace.
void run_daemon(const Paths& paths);

/// Takes down what a daemon that is gone has left. Prints each step; returns false where something
/// could not be undone.
bool run_down(const Paths& paths);

}  // namespace tunorch
