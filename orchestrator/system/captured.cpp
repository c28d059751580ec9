#include "orchestrator/system/captured.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/fd.hpp"
#include "orchestrator/system/process.hpp"

namespace tunorch {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// For the end of what was killed; one in the kernel's hands is left to it.
constexpr milliseconds end_limit{1000};

struct Pipe {
  Fd read, write;

  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      throw std::system_error(errno, std::generic_category(), "cannot make a pipe");
    read = Fd(ends[0]);
    write = Fd(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
};

/// One of its outputs, until it is closed or full.
struct Stream {
  Pipe pipe;
  bool open = true;

  /// What is there now. False where there is more than may be kept.
  bool drain(std::string& kept, std::size_t most) {
    std::array<char, 65536> buffer;
    while (open) {
      const ssize_t got = ::read(pipe.read.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return true;
      open = got > 0;
      kept.append(buffer.data(), static_cast<std::size_t>(got));
      if (kept.size() <= most) continue;
      kept.resize(most);
      return false;
    }
    return true;
  }
};

void note_end(const Process& process, Captured& captured) {
  siginfo_t info{};
  if (!ended_within(process, end_limit) ||
      ::waitid(P_PIDFD, static_cast<id_t>(process.pidfd.get()), &info, WEXITED | WNOHANG) != 0)
    return;
  if (info.si_code == CLD_EXITED)
    captured.status = info.si_status;
  else if (captured.problem.empty() && !captured.cut)
    captured.problem =
        fmt::format("killed by signal {} ({})", info.si_status, ::strsignal(info.si_status));
}

/// Until it ends, is out of time, or has printed too much.
void gather(const Process& process, const CaptureLimits& limits, Stream& output, Stream& errors,
            Captured& captured) {
  const auto until = steady_clock::now() + limits.time;
  for (bool ended = false; !ended;) {
    const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0) {
      captured.problem = fmt::format("not done within {} ms", limits.time.count());
      return;
    }
    std::array<pollfd, 3> wait{pollfd{process.pidfd.get(), POLLIN, 0},
                               pollfd{output.open ? output.pipe.read.get() : -1, POLLIN, 0},
                               pollfd{errors.open ? errors.pipe.read.get() : -1, POLLIN, 0}};
    ::poll(wait.data(), wait.size(), static_cast<int>(left.count()));
    // What it started may hold the pipes: its own end is what counts.
    ended = (wait[0].revents & POLLIN) != 0;
    const bool whole =
        output.drain(captured.output, limits.bytes) && errors.drain(captured.errors, limits.bytes);
    captured.cut = !whole;
    if (captured.cut) return;
  }
}

}  // namespace

Captured run_captured(const std::vector<std::string>& argv, const CaptureLimits& limits) {
  Captured captured;
  Stream output, errors;
  boost::asio::io_context io;
  ForeignProgram program{.argv = argv,
                         .environment = {"LC_ALL=C"},
                         .dir = "/",
                         .output = output.pipe.write.get(),
                         .errors = errors.pipe.write.get()};
  Process process;
  try {
    process = launch_foreign(io.get_executor(), program);
  } catch (const std::exception& error) {
    const std::string words = error.what();
    captured.problem = words.substr(0, words.find(';'));
    return captured;
  }
  output.pipe.write.reset();
  errors.pipe.write.reset();
  gather(process, limits, output, errors, captured);
  ::kill(-process.id.pid, SIGKILL);  // it leads a session: with all that it started
  note_end(process, captured);
  return captured;
}

}  // namespace tunorch
