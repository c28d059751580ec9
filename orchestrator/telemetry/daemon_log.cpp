#include "orchestrator/telemetry/daemon_log.hpp"

#include <fcntl.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <system_error>

#include "base/fd.hpp"
#include "orchestrator/telemetry/utc.hpp"

namespace tunorch {
namespace {

using spdlog::details::null_mutex;  // the daemon has one thread

bool is_open_as(int fd, const std::filesystem::path& file) {
  struct stat ours {
  }, named{};
  return ::fstat(fd, &ours) == 0 && ::lstat(file.c_str(), &named) == 0 &&
         ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

/// Only daemon.log is ours to keep small; the journal keeps itself.
void keep_small(const std::filesystem::path& file) {
  std::error_code error;
  const bool stdout_too = is_open_as(STDOUT_FILENO, file);
  if (!is_open_as(STDERR_FILENO, file) ||
      std::filesystem::file_size(file, error) < max_daemon_log_bytes)
    return;
  std::filesystem::rename(file, put_aside(file), error);
  const Fd fresh(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (error || !fresh.valid()) return;
  if (stdout_too) ::dup2(fresh.get(), STDOUT_FILENO);
  ::dup2(fresh.get(), STDERR_FILENO);
}

class StderrSink final : public spdlog::sinks::stderr_sink_st {
 public:
  explicit StderrSink(std::filesystem::path file) : file_(std::move(file)) {}

  void log(const spdlog::details::log_msg& message) override {
    spdlog::sinks::stderr_sink_st::log(message);
    written_ += message.payload.size();
    if (written_ < look_after_bytes) return;
    written_ = 0;
    keep_small(file_);
  }

 private:
  static constexpr std::size_t look_after_bytes = 64 * 1024;
  std::filesystem::path file_;
  std::size_t written_ = look_after_bytes;  // the one before us may have left much
};

class RingSink final : public spdlog::sinks::base_sink<null_mutex> {
 public:
  explicit RingSink(std::shared_ptr<LogRing> ring) : ring_(std::move(ring)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const auto level = spdlog::level::to_string_view(message.level);
    ring_->add({utc_milliseconds(message.time), std::string(level.data(), level.size()),
                std::string(message.payload.data(), message.payload.size())});
  }
  void flush_() override {}

  std::shared_ptr<LogRing> ring_;
};

}  // namespace

std::filesystem::path put_aside(const std::filesystem::path& file) {
  return file.string() + ".1";
}

std::shared_ptr<LogRing> log_to_stderr(const std::filesystem::path& file) {
  auto ring = std::make_shared<LogRing>();
  const auto to_stderr = std::make_shared<StderrSink>(file);
  const auto to_ring = std::make_shared<RingSink>(ring);
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("tunorch", spdlog::sinks_init_list{to_stderr, to_ring}));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::flush_on(spdlog::level::info);
  return ring;
}

}  // namespace tunorch
