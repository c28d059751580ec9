// What our processes may do: the daemon's own rights, and what the kernel says of each
// worker. Knows libcap-ng and /proc/PID/status; who is started how is process.cpp's.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "protocol/status.hpp"

namespace tunorch {

/// Keeps of this process's capabilities what a daemon needs, for what it starts too (the bounding
/// set), and writes no core dump: its memory holds keys. Throws std::runtime_error.
void confine_daemon();

/// Nothing where there is no such process.
std::optional<Confinement> confinement_of(pid_t pid);
/// The same in words: "own user, no capabilities, no_new_privs, seccomp".
std::string confinement_text(const std::optional<Confinement>& confinement);

}  // namespace tunorch
