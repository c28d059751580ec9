// The file that a tunnel's process prints into, RUNTIME/w/TUNNEL.log: no pipe, so that it neither
// waits for a daemon nor dies with one. What is new there is passed on to the daemon's log.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "orchestrator/telemetry/log_lines.hpp"

namespace tunorch {

class WorkerOutput {
 public:
  using Clock = std::chrono::steady_clock;
  /// Forgotten when it is larger.
  static constexpr std::uint64_t max_bytes = 1024 * 1024;
  /// Of a process that ended: so much of its end is passed on.
  static constexpr std::uint64_t last_bytes = 4096;

  WorkerOutput(std::string tunnel, std::filesystem::path file)
      : tunnel_(std::move(tunnel)), file_(std::move(file)) {}

  const std::filesystem::path& file() const { return file_; }
  /// For a process to append to; what it prints from now on is passed on. Throws
  /// std::system_error.
  Fd open();
  /// Of a process that an earlier daemon started: goes on `before_end` bytes before the file's end.
  void resume(std::uint64_t before_end);
  /// Passes on some KiB of what is new, in whole lines; most often one fstat(2).
  void pass_on(Clock::time_point now);
  /// Forgets what was printed when it is too much: who appends goes on at the new end.
  void trim();
  /// Its process is gone: passes on the last, and removes the file.
  void finish();

  /// Everything that is there; empty where nothing is.
  std::string text() const;
  /// The last that was printed, without empty lines and what is no text.
  std::vector<std::string> last_lines() const;

 private:
  std::string read_from(std::uint64_t position, std::size_t bytes) const;
  std::uint64_t size() const;
  void log(const std::vector<std::string>& lines) const;
  void log_whole(std::string text) const;

  std::string tunnel_;
  std::filesystem::path file_;
  Fd reading_;
  OutputLines lines_;
  std::uint64_t position_ = 0, seen_ = 0;  // passed on up to there; the size at the last look
};

}  // namespace tunorch
