// Launches the processes of tunorch (workers, tunorch-web, other engines' programs, the daemon) and
// holds them by their pidfds. The only file pair that knows Boost.Process; it restarts nothing.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"

namespace tunorch {

/// A running process that cannot be mistaken for a later one with the same pid.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // field 22 of /proc/PID/stat (proc(5)): since boot

  std::string text() const;  // "pid start_ticks"
  static std::optional<ProcessId> parse(const std::string& text);
};

struct Process {
  ProcessId id;
  Fd pidfd;  // readable when the process has ended (pidfd_open(2))
};

/// Runs `executable` as uid and gid `user` with `control` as its fd 3 and `errors` as its stderr,
/// and nothing else inherited. Throws std::system_error: "cannot start …".
Process launch_worker(const boost::asio::any_io_executor& executor,
                      const std::filesystem::path& executable, std::uint32_t user, int control,
                      int errors);

/// Runs tunorch-web as that user, of the group that may ask at the control socket, with a listening
/// TCP socket as its fd 3. Throws as above.
Process launch_web(const boost::asio::any_io_executor& executor,
                   const std::filesystem::path& executable,
                   const std::filesystem::path& control_socket, std::uint32_t user,
                   std::uint32_t group, int listening);

/// A program that is not ours.
struct ForeignProgram {
  std::vector<std::string> argv;         // argv[0] is looked up in the usual folders
  std::vector<std::string> environment;  // besides PATH
  std::filesystem::path dir;             // it starts there
  std::uint32_t user = 0;                // uid and gid; 0: root
  int output = -1;                       // for what it prints
  int socket = -1;                       // its fd 3; -1: none
  int errors = -1;                       // for what it prints to stderr; -1: as output
};

/// Runs it; as another user it keeps CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE. Throws
/// std::runtime_error or std::system_error: "cannot start …".
Process launch_foreign(const boost::asio::any_io_executor& executor, const ForeignProgram& program);

/// Ends every process of this user in our network namespace: what a program that went into the
/// background left behind. The user is one of ours alone (worker_uid_base). Returns how many.
int end_strays(std::uint32_t user);

/// Runs `executable` in a session of its own with both outputs appended to `log`, to outlive us.
Process launch_daemon(const boost::asio::any_io_executor& executor,
                      const std::filesystem::path& executable,
                      const std::vector<std::string>& arguments, const std::filesystem::path& log);

/// Whether it has ended within the limit.
bool ended_within(const Process& process, std::chrono::milliseconds limit);

/// Some threads of the process other than its first, each readable when it has ended (PIDFD_THREAD,
/// Linux 6.9). Of a process that is killed they end at once, all but the last, which gives its
/// memory back first: that can take ten milliseconds. Empty where there are none.
std::vector<Fd> open_threads(const Process& process, std::size_t most);
/// Whether it is gone or on its way out: killed, or ending (proc(5): SigPnd, ShdPnd, flags).
bool is_dying(const Process& process);

/// A process that an earlier daemon started; nothing where it is gone.
std::optional<Process> adopt_process(const ProcessId& id);

void signal_process(const Process& process, int number);
void kill_process(const Process& process);

/// What a process is doing: the state letter of /proc/PID/stat (proc(5)), and how long it ran.
struct Activity {
  char state = '?';
  std::chrono::nanoseconds ran{0};
};
Activity activity(const Process& process);

/// How an ended process ended, in words: "killed by signal 9 (Killed)", "exited with status 1", and
/// for an adopted one, whose status only its parent could have read, "status unknown".
std::string exit_reason(const Process& process);

}  // namespace tunorch
