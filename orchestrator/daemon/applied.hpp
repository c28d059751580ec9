// The cluster file a node last applied, kept where it survives a reboot: the daemon loads it at its
// start. Knows how it is kept, not what it says.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "orchestrator/system/files.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

/// What is applied, and, while an `apply --confirm` is open, what to go back to and when. No file
/// to go back to: nothing was applied before.
struct Applied {
  FileText file;
  bool unconfirmed = false;
  std::optional<FileText> before;
  std::chrono::system_clock::time_point confirm_by{};
};

/// Throws std::system_error where it cannot be written.
void save_applied(const Paths& paths, const Applied& applied);
std::optional<Applied> load_applied(const Paths& paths);
void forget_applied(const Paths& paths);

}  // namespace tunorch
