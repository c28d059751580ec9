#include "orchestrator/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/process/v2/process.hpp>
#include <boost/process/v2/stdio.hpp>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "orchestrator/files.hpp"
#include "worker/spec.hpp"

namespace tunorch {
namespace {

namespace process_v2 = boost::process::v2;

/// Boost 1.81 leaves descriptors open that are not on its list, and Asio's sockets are not
/// close-on-exec: a worker must not hold a client's connection or another worker's TUN.
bool close_others_on_exec(int first) {
  return ::close_range(static_cast<unsigned>(first), ~0u, CLOSE_RANGE_CLOEXEC) == 0;
}

/// Runs in the child between fork and exec. posix::bind_fd of Boost 1.81 misses a return, so the
/// control socket is put in place here.
struct WorkerSetup {
  int control;
  std::uint32_t user;

  template <class Launcher>
  boost::system::error_code on_setup(Launcher& launcher, const boost::filesystem::path&,
                                     const char* const*&) {
    launcher.fd_whitelist.push_back(worker::control_fd);
    return {};
  }

  template <class Launcher>
  boost::system::error_code on_exec_setup(Launcher&, const boost::filesystem::path&,
                                          const char* const*&) {
    const bool ok = ::dup2(control, worker::control_fd) >= 0 &&
                    (control != worker::control_fd || ::fcntl(control, F_SETFD, 0) == 0) &&
                    ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
                    ::setresuid(user, user, user) == 0 &&
                    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::setsid() >= 0 &&
                    close_others_on_exec(worker::control_fd + 1);
    return ok ? boost::system::error_code{}
              : boost::system::error_code(errno, boost::system::system_category());
  }
};

routing::Fd open_pidfd(pid_t pid) {
  return routing::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

std::uint64_t start_ticks_of(pid_t pid) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat").value_or("");
  // The name in field 2 may hold spaces and brackets: count from its last bracket.
  const auto end_of_name = stat.rfind(')');
  if (end_of_name == std::string::npos) return 0;
  std::istringstream fields(stat.substr(end_of_name + 1));
  std::string field;
  for (int i = 3; i < 22; ++i) fields >> field;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return ticks;
}

struct OwnSession {
  template <class Launcher>
  boost::system::error_code on_exec_setup(Launcher&, const boost::filesystem::path&,
                                          const char* const*&) {
    ::setsid();  // fails only for a process that leads a session already
    close_others_on_exec(STDERR_FILENO + 1);
    return {};
  }
};

/// From here on we hold the child by a pidfd of our own.
Process watched(process_v2::process& child, const boost::system::error_code& error,
                const std::filesystem::path& executable) {
  if (error)
    throw std::system_error(error.value(), std::generic_category(),
                            "cannot start " + executable.string());
  Process process;
  process.id.pid = child.id();
  process.pidfd = open_pidfd(process.id.pid);
  process.id.start_ticks = start_ticks_of(process.id.pid);
  child.detach();  // the destructor of a process that is not detached kills it
  if (!process.pidfd.valid())
    throw std::system_error(errno, std::generic_category(), "cannot watch " + executable.string());
  return process;
}

}  // namespace

std::string ProcessId::text() const {
  return std::to_string(pid) + " " + std::to_string(start_ticks);
}

std::optional<ProcessId> ProcessId::parse(const std::string& text) {
  std::istringstream in(text);
  ProcessId id;
  if (!(in >> id.pid >> id.start_ticks) || id.pid <= 1) return std::nullopt;
  return id;
}

Process launch_worker(const boost::asio::any_io_executor& executor,
                      const std::filesystem::path& executable, std::uint32_t user, int control) {
  boost::system::error_code error;
  process_v2::default_process_launcher launch;
  auto child = launch(executor, error, boost::filesystem::path(executable.string()),
                      std::vector<std::string>{}, process_v2::process_stdio{nullptr, nullptr, {}},
                      WorkerSetup{control, user});
  return watched(child, error, executable);
}

Process launch_daemon(const boost::asio::any_io_executor& executor,
                      const std::filesystem::path& executable,
                      const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  const routing::Fd output(
      ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!output.valid())
    throw std::system_error(errno, std::generic_category(), "cannot write " + log.string());
  boost::system::error_code error;
  process_v2::default_process_launcher launch;
  auto child = launch(executor, error, boost::filesystem::path(executable.string()), arguments,
                      process_v2::process_stdio{nullptr, output.get(), output.get()}, OwnSession{});
  return watched(child, error, executable);
}

bool ended_within(const Process& process, std::chrono::milliseconds limit) {
  pollfd wait{process.pidfd.get(), POLLIN, 0};
  return ::poll(&wait, 1, static_cast<int>(limit.count())) > 0;
}

std::optional<Process> adopt_process(const ProcessId& id) {
  Process process{id, open_pidfd(id.pid)};
  // The pidfd is open now, so a matching start time belongs to the process it refers to.
  if (!process.pidfd.valid() || start_ticks_of(id.pid) != id.start_ticks) return std::nullopt;
  return process;
}

Activity activity(const Process& process) {
  const std::string proc = "/proc/" + std::to_string(process.id.pid);
  Activity now;
  std::string text;
  std::getline(std::ifstream(proc + "/stat"), text);
  // The name before it is in parentheses and may hold anything.
  if (const auto end = text.rfind(')'); end != text.npos && end + 2 < text.size())
    now.state = text[end + 2];
  // Nanoseconds on a CPU come first (kernel: Documentation/scheduler/sched-stats.rst).
  std::int64_t ran = 0;
  std::ifstream(proc + "/schedstat") >> ran;
  now.ran = std::chrono::nanoseconds(ran);
  return now;
}

void kill_process(const Process& process) {
  ::syscall(SYS_pidfd_send_signal, process.pidfd.get(), SIGKILL, nullptr, 0);
}

std::string exit_reason(const Process& process) {
  siginfo_t info{};
  if (::waitid(P_PIDFD, static_cast<id_t>(process.pidfd.get()), &info, WEXITED | WNOHANG) != 0)
    return "status unknown";
  if (info.si_code == CLD_EXITED) return "exited with status " + std::to_string(info.si_status);
  return "killed by signal " + std::to_string(info.si_status) + " (" + strsignal(info.si_status) +
         ")";
}

}  // namespace tunorch
