// The daemon's log: what spdlog is given goes to stderr, which systemd or daemon.log take, and into
// the ring that `tunorch logs` is served from.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "orchestrator/telemetry/log_ring.hpp"

namespace tunorch {

/// Of RUNTIME/daemon.log, which is in memory: at this size it is put aside as daemon.log.1, in
/// place of the one before.
inline constexpr std::uintmax_t max_daemon_log_bytes = 8 * 1024 * 1024;

/// Makes it spdlog's default logger. Where stderr is `file`, that is kept small. The ring lives as
/// long as the logger or the caller has it.
std::shared_ptr<LogRing> log_to_stderr(const std::filesystem::path& file);

/// What a file of that name was put aside as.
std::filesystem::path put_aside(const std::filesystem::path& file);

}  // namespace tunorch
