#include "orchestrator/system/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

#include "orchestrator/system/files.hpp"
#include "protocol/worker.hpp"

namespace tunorch {
namespace {

namespace process_v2 = boost::process::v2;

/// Boost 1.81 leaves descriptors open that are not on its list, and Asio's sockets are not
/// close-on-exec: a worker must not hold a client's connection or another worker's TUN.
bool close_others_on_exec(int first) {
  return ::close_range(static_cast<unsigned>(first), ~0u, CLOSE_RANGE_CLOEXEC) == 0;
}

bool pass_on(int fd, int as) {
  return fd == as ? ::fcntl(fd, F_SETFD, 0) == 0 : ::dup2(fd, as) >= 0;
}

constexpr int inherited_socket = 3;
static_assert(inherited_socket == worker::control_fd);

/// Runs in the child between fork and exec. posix::bind_fd of Boost 1.81 misses a return, so the
/// control socket is put in place here.
struct WorkerSetup {
  int socket;
  std::uint32_t user, group;

  template <class Launcher>
  boost::system::error_code on_setup(Launcher& launcher, const boost::filesystem::path&,
                                     const char* const*&) {
    launcher.fd_whitelist.push_back(inherited_socket);
    return {};
  }

  template <class Launcher>
  boost::system::error_code on_exec_setup(Launcher&, const boost::filesystem::path&,
                                          const char* const*&) {
    const bool ok = pass_on(socket, inherited_socket) && ::setgroups(0, nullptr) == 0 &&
                    ::setresgid(group, group, group) == 0 && ::setresuid(user, user, user) == 0 &&
                    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::setsid() >= 0 &&
                    close_others_on_exec(inherited_socket + 1);
    return ok ? boost::system::error_code{}
              : boost::system::error_code(errno, boost::system::system_category());
  }
};

/// As whom a foreign program runs. The network rights let it set what it thinks
/// is its device's to be set, mark its packets and bind a low port.
struct ForeignSetup {
  const ForeignProgram& program;
  std::vector<const char*> environment;

  template <class Launcher>
  boost::system::error_code on_setup(Launcher& launcher, const boost::filesystem::path&,
                                     const char* const*&) {
    launcher.env = environment.data();
    if (program.socket >= 0) launcher.fd_whitelist.push_back(inherited_socket);
    return {};
  }

  template <class Launcher>
  boost::system::error_code on_exec_setup(Launcher&, const boost::filesystem::path&,
                                          const char* const*&) {
    const bool passes = program.socket >= 0;
    const bool ok = ::setsid() >= 0 && ::chdir(program.dir.c_str()) == 0 && change_user() &&
                    (!passes || pass_on(program.socket, inherited_socket)) &&
                    close_others_on_exec(passes ? inherited_socket + 1 : STDERR_FILENO + 1);
    return ok ? boost::system::error_code{}
              : boost::system::error_code(errno, boost::system::system_category());
  }

  bool change_user() const {
    constexpr unsigned rights[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE};
    const std::uint32_t user = program.user;
    if (user == 0) return true;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
    for (const unsigned right : rights) sets[0].permitted |= 1U << right;
    sets[0].effective = sets[0].inheritable = sets[0].permitted;
    bool ok = ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
              ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && ::setresuid(user, user, user) == 0 &&
              ::syscall(SYS_capset, &header, sets) == 0;
    for (const unsigned right : rights)
      ok = ok && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, right, 0, 0) == 0;
    return ok && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  }
};

/// As a shell finds it, in the folders of a service rather than in whatever $PATH we were started
/// with.
constexpr const char* usual_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::filesystem::path find_program(const std::string& name) {
  if (name.find('/') != name.npos) {
    if (::access(name.c_str(), X_OK) == 0) return name;
    throw std::runtime_error("cannot start " + name + ": " +
                             std::generic_category().message(errno) +
                             "; install it, or give another path in the file");
  }
  std::istringstream folders(usual_path);
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const auto path = std::filesystem::path(folder) / name; ::access(path.c_str(), X_OK) == 0)
      return path;
  throw std::runtime_error("cannot start " + name + ": there is no such program in " + usual_path +
                           "; install it, or give its path in the file");
}

Fd open_pidfd(pid_t pid) {
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

/// Field `number` of /proc/PID/stat, from 3 on (proc(5)); empty where there is none.
std::string stat_field(pid_t pid, int number) {
  const std::string stat = read_text("/proc/" + std::to_string(pid) + "/stat").value_or("");
  // The name in field 2 may hold spaces and brackets: count from its last bracket.
  const auto end_of_name = stat.rfind(')');
  if (end_of_name == std::string::npos) return "";
  std::istringstream fields(stat.substr(end_of_name + 1));
  std::string field;
  for (int i = 3; i <= number; ++i) fields >> field;
  return field;
}

std::uint64_t start_ticks_of(pid_t pid) {
  const std::string ticks = stat_field(pid, 22);
  return ticks.empty() ? 0 : std::stoull(ticks);
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

/// Boost.Process tells the io_context of the fork in the child too, which throws where that has no
/// descriptors left: the child is not to come back as a second daemon.
template <class Setup>
process_v2::process launched(const boost::asio::any_io_executor& executor,
                             boost::system::error_code& error,
                             const std::filesystem::path& executable,
                             const std::vector<std::string>& arguments,
                             process_v2::process_stdio stdio, Setup setup) {
  constexpr int could_not_be_run = 127;  // as sh(1) has it
  const pid_t ours = ::getpid();
  try {
    process_v2::default_process_launcher launch;
    return launch(executor, error, boost::filesystem::path(executable.string()), arguments, stdio,
                  setup);  // lvalues: what is const is passed over
  } catch (...) {
    if (::getpid() != ours) ::_exit(could_not_be_run);
    throw;
  }
}

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
                      const std::filesystem::path& executable, std::uint32_t user, int control,
                      int errors) {
  boost::system::error_code error;
  auto child =
      launched(executor, error, executable, {}, process_v2::process_stdio{nullptr, nullptr, errors},
               WorkerSetup{control, user, user});
  return watched(child, error, executable);
}

Process launch_web(const boost::asio::any_io_executor& executor,
                   const std::filesystem::path& executable,
                   const std::filesystem::path& control_socket, std::uint32_t user,
                   std::uint32_t group, int listening) {
  boost::system::error_code error;
  auto child = launched(executor, error, executable, {control_socket.string()},
                        process_v2::process_stdio{nullptr, nullptr, {}},
                        WorkerSetup{listening, user, group});
  return watched(child, error, executable);
}

Process launch_daemon(const boost::asio::any_io_executor& executor,
                      const std::filesystem::path& executable,
                      const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  const Fd output(
      ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!output.valid())
    throw std::system_error(errno, std::generic_category(), "cannot write " + log.string());
  boost::system::error_code error;
  auto child =
      launched(executor, error, executable, arguments,
               process_v2::process_stdio{nullptr, output.get(), output.get()}, OwnSession{});
  return watched(child, error, executable);
}

Process launch_foreign(const boost::asio::any_io_executor& executor,
                       const ForeignProgram& program) {
  const std::filesystem::path executable = find_program(program.argv.front());
  const std::string path = std::string("PATH=") + usual_path;
  ForeignSetup setup{program, {path.c_str()}};
  for (const std::string& variable : program.environment)
    setup.environment.push_back(variable.c_str());
  setup.environment.push_back(nullptr);
  const int errors = program.errors >= 0 ? program.errors : program.output;
  boost::system::error_code error;
  auto child = launched(executor, error, executable,
                        std::vector<std::string>(program.argv.begin() + 1, program.argv.end()),
                        process_v2::process_stdio{nullptr, program.output, errors}, setup);
  return watched(child, error, executable);
}

namespace {

/// A file in /proc/PID/net is another one in each network namespace, and can be looked at without
/// rights over the process, which /proc/PID/ns asks for.
int end_strays_once(std::uint32_t user) {
  struct stat ours {
  }, theirs{}, owner{};
  if (user == 0 || ::stat("/proc/self/net/unix", &ours) != 0) return 0;
  int ended = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename();
    const std::filesystem::path net = entry.path() / "net/unix";
    if (name.find_first_not_of("0123456789") != name.npos ||
        ::stat(entry.path().c_str(), &owner) != 0 || owner.st_uid != user ||
        ::stat(net.c_str(), &theirs) != 0 || theirs.st_ino != ours.st_ino)
      continue;
    if (::kill(std::stoi(name), SIGKILL) == 0) ++ended;
  }
  return ended;
}

}  // namespace

/// Again until none is found: one may have made another meanwhile.
int end_strays(std::uint32_t user) {
  int ended = 0;
  for (int rounds = 0; rounds < 20; ++rounds) {
    const int more = end_strays_once(user);
    if (more == 0) break;
    ended += more;
  }
  return ended;
}

std::vector<Fd> open_threads(const Process& process, std::size_t most) {
  constexpr unsigned pidfd_thread = O_EXCL;  // PIDFD_THREAD of linux/pidfd.h
  std::vector<Fd> threads;
  std::error_code gone;
  const std::string first = std::to_string(process.id.pid);
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + first + "/task", gone)) {
    const std::string thread = entry.path().filename();
    if (thread == first || threads.size() == most) continue;
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, std::stoi(thread), pidfd_thread)));
    if (fd.valid()) threads.push_back(std::move(fd));
  }
  return threads;
}

bool is_dying(const Process& process) {
  constexpr unsigned long exiting = 0x4;  // PF_EXITING of the kernel's linux/sched.h
  const std::string flags = stat_field(process.id.pid, 9);
  if (flags.empty() || (std::stoul(flags) & exiting) != 0) return true;
  // Killed, and its first thread has not run since.
  std::istringstream status(
      read_text("/proc/" + std::to_string(process.id.pid) + "/status").value_or(""));
  for (std::string line; std::getline(status, line);)
    if ((line.starts_with("SigPnd:") || line.starts_with("ShdPnd:")) &&
        (std::stoull(line.substr(line.find('\t')), nullptr, 16) & 1ULL << (SIGKILL - 1)) != 0)
      return true;
  return false;
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
  const std::string state = stat_field(process.id.pid, 3);
  if (!state.empty()) now.state = state[0];
  // Nanoseconds on a CPU come first (kernel: Documentation/scheduler/sched-stats.rst).
  std::int64_t ran = 0;
  std::ifstream(proc + "/schedstat") >> ran;
  now.ran = std::chrono::nanoseconds(ran);
  return now;
}

void signal_process(const Process& process, int number) {
  ::syscall(SYS_pidfd_send_signal, process.pidfd.get(), number, nullptr, 0);
}

void kill_process(const Process& process) {
  signal_process(process, SIGKILL);
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
