// What processes of ours are let do: the daemon's own rights, and what the kernel says of each
// worker. Knows libcap-ng and /proc/PID/status; who is started how is process.cpp's.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>

namespace tunorch {

/// Keeps of this process's capabilities what a daemon needs, for what it starts too (the bounding
/// set), and writes no core dump: its memory holds keys. Throws std::runtime_error.
void confine_daemon();

/// {"uid", "capabilities": [names], "no_new_privileges", "seccomp"} of /proc/PID/status (proc(5));
/// null where there is no such process.
nlohmann::json confinement_status(pid_t pid);
/// The same in words: "own user, no capabilities, no_new_privs, seccomp".
std::string confinement_text(const nlohmann::json& confinement);

}  // namespace tunorch
