#include "orchestrator/tunnels/worker_output.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <system_error>

#include "orchestrator/system/files.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

std::chrono::seconds second_of(WorkerOutput::Clock::time_point now) {
  return std::chrono::floor<std::chrono::seconds>(now.time_since_epoch());
}

}  // namespace

Fd WorkerOutput::open() {
  Fd fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid())
    throw std::system_error(errno, std::generic_category(), "cannot write " + file_.string());
  if (!reading_.valid()) resume(0);
  return fd;
}

void WorkerOutput::resume(std::uint64_t before_end) {
  reading_ = Fd(::open(file_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  lines_ = {};
  position_ = seen_ = size();
  position_ -= std::min(position_, before_end);
}

std::uint64_t WorkerOutput::size() const {
  struct stat about {};
  return reading_.valid() && ::fstat(reading_.get(), &about) == 0
             ? static_cast<std::uint64_t>(about.st_size)
             : 0;
}

std::string WorkerOutput::read_from(std::uint64_t position, std::size_t bytes) const {
  std::string text(bytes, '\0');
  const ssize_t got =
      ::pread(reading_.get(), text.data(), text.size(), static_cast<off_t>(position));
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

void WorkerOutput::log(const std::vector<std::string>& lines) const {
  for (const std::string& line : lines) spdlog::info("{}", output_line(tunnel_, line));
}

void WorkerOutput::pass_on(Clock::time_point now) {
  if (!reading_.valid()) return;
  const std::uint64_t now_there = size();
  if (now_there < position_) position_ = 0;  // the file was truncated
  // A line that has not ended yet is looked at again when more is there.
  if (now_there == seen_ && !lines_.owes()) return;
  const std::string text =
      now_there == position_ ? "" : read_from(position_, OutputLines::chunk_bytes);
  const OutputLines::Taken taken = lines_.take(text, second_of(now));
  position_ += taken.bytes;
  const bool all = !taken.more && position_ + text.size() - taken.bytes >= now_there;
  seen_ = all ? now_there : position_;
  log(taken.lines);
}

/// The end of a flood matters more than its start: the limit starts over for it.
void WorkerOutput::log_whole(std::string text) const {
  constexpr std::chrono::seconds any{0};
  if (!text.ends_with('\n')) text += '\n';
  OutputLines lines;
  for (bool more = true; more;) {
    const OutputLines::Taken taken = lines.take(text, any);
    log(taken.lines);
    text.erase(0, taken.bytes);
    more = taken.more;
  }
  if (const std::string words = lines.left_out(); !words.empty()) log({words});
}

void WorkerOutput::trim() {
  const std::uint64_t now_there = size();
  if (now_there <= max_bytes) return;
  std::error_code gone;
  fs::resize_file(file_, 0, gone);
  if (gone) return;
  lines_.leave_out(now_there - std::min(now_there, position_));
  position_ = seen_ = 0;
}

void WorkerOutput::finish() {
  if (reading_.valid()) {
    const std::uint64_t end = size();
    const std::uint64_t from = std::max(position_, end - std::min(end, last_bytes));
    lines_.leave_out(from - position_);
    if (const std::string words = lines_.left_out(); !words.empty()) log({words});
    log_whole(read_from(from, last_bytes));
  }
  reading_.reset();
  std::error_code ignored;
  fs::remove(file_, ignored);
}

std::string WorkerOutput::text() const {
  return read_text(file_).value_or("");
}

std::vector<std::string> WorkerOutput::last_lines() const {
  const std::uint64_t end = size();
  std::istringstream in(reading_.valid() ? read_from(end - std::min(end, last_bytes), last_bytes)
                                         : "");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    std::erase_if(line, [](unsigned char c) { return c < ' ' || c >= 127; });
    if (line.find_first_not_of(' ') != line.npos) lines.push_back(line);
  }
  return lines;
}

}  // namespace tunorch
