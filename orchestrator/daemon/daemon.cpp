#include "orchestrator/daemon/daemon.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

#include "orchestrator/client/client.hpp"
#include "orchestrator/daemon/supervisor.hpp"
#include "orchestrator/system/confinement.hpp"
#include "orchestrator/system/executable.hpp"
#include "orchestrator/system/service_manager.hpp"
#include "orchestrator/telemetry/daemon_log.hpp"

namespace tunorch {
namespace {

/// A daemon that has just answered `down` may need a moment to be gone.
bool in_a_second(const std::function<bool()>& locked) {
  for (int tries = 0; tries < 50; ++tries) {
    if (locked()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

/// One daemon a network namespace: an abstract unix socket belongs to one (unix(7)), and the kernel
/// lets go of it with the process, however that ends.
class NamespaceLock {
 public:
  NamespaceLock() : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    constexpr char name[] = "\0tunorch-daemon";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name, sizeof name - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + sizeof name - 1);
    const auto bound = [&] {
      return ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0;
    };
    if (in_a_second(bound)) {
      ::listen(socket_.get(), SOMAXCONN);
      return;
    }
    if (is_roots(reinterpret_cast<const sockaddr*>(&address), size))
      throw std::runtime_error(
          "another tunorch daemon runs in this network namespace: one serves a node, ask it with "
          "`tunorch status` (and its --runtime-dir)");
    spdlog::warn(
        "somebody who is not root holds the abstract socket \"tunorch-daemon\", by which a "
        "second daemon of this network namespace would be found: going on without");
  }

 private:
  /// Whether it is listened on by root (SO_PEERCRED, unix(7)): anybody may take the name.
  static bool is_roots(const sockaddr* address, socklen_t size) {
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ucred holder{};
    socklen_t length = sizeof holder;
    return ::connect(socket.get(), address, size) == 0 &&
           ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &holder, &length) == 0 &&
           holder.uid == 0;
  }

  Fd socket_;
};

/// One daemon a runtime folder, also where the other is in another network namespace: it would take
/// over the socket and write over the journal. The kernel lets go of a flock(2) with the process.
class RuntimeLock {
 public:
  explicit RuntimeLock(const std::filesystem::path& dir) {
    if (!in_a_second([&] { return take(dir); }))
      throw std::runtime_error("another tunorch daemon uses the runtime folder " + dir.string() +
                               ": give each node its own with --runtime-dir");
  }

 private:
  /// The one before may remove the folder at the end of its `down`: a lock on that is none.
  bool take(const std::filesystem::path& dir) {
    prepare_runtime_dir(dir);
    folder_ = Fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat locked {
    }, there{};
    return folder_.valid() && ::flock(folder_.get(), LOCK_EX | LOCK_NB) == 0 &&
           ::fstat(folder_.get(), &locked) == 0 && ::stat(dir.c_str(), &there) == 0 &&
           locked.st_dev == there.st_dev && locked.st_ino == there.st_ino;
  }

  Fd folder_;
};

void needs_root() {
  if (::geteuid() != 0)
    throw std::runtime_error("not permitted: routes and devices need root; run it with sudo");
}

}  // namespace

void run_daemon(const Paths& paths) {
  needs_root();
  const std::shared_ptr<LogRing> log = log_to_stderr(paths.log());
  const NamespaceLock lock;
  const RuntimeLock runtime(paths.runtime);
  ::signal(SIGPIPE, SIG_IGN);
  confine_daemon();
  boost::asio::io_context io(1);
  Supervisor supervisor(io, paths, worker_executable(), *log);
  std::optional<ControlServer> control;
  control.emplace(io, paths.control_socket(), [&](const auto& request, const auto& client) {
    supervisor.handle(request, client);
  });
  supervisor.resume();
  ServiceManager service(io, "serves node " + paths.node);
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& error, int signal) {
    if (error) return;
    spdlog::info("daemon ends, tunnels go on signal={}", signal);
    service.stopping();
    io.stop();
  });
  supervisor.on_down = [&] {
    control.reset();
    signals.cancel();
    service.stopping();
  };
  spdlog::info("daemon serves node={} runtime_dir={}", paths.node, paths.runtime.string());
  io.run();
}

bool run_down(const Paths& paths) {
  needs_root();
  spdlog::set_default_logger(spdlog::stderr_logger_st("tunorch"));
  spdlog::set_level(spdlog::level::warn);
  const NamespaceLock lock;
  std::optional<RuntimeLock> runtime;
  if (std::filesystem::exists(paths.runtime)) runtime.emplace(paths.runtime);
  boost::asio::io_context io(1);
  LogRing nobody_asks;
  Supervisor supervisor(io, paths, worker_executable(), nobody_asks);
  bool clean = true;
  supervisor.take_down([](const std::string& step) { std::printf("%s\n", step.c_str()); },
                       [&](const std::vector<std::string>& problems) {
                         for (const std::string& problem : problems)
                           std::fprintf(stderr, "tunorch: %s\n", problem.c_str());
                         clean = problems.empty();
                       });
  io.run();
  std::error_code ignored;
  std::filesystem::remove(paths.control_socket(), ignored);
  remove_made_dir(paths.runtime);
  return clean;
}

}  // namespace tunorch
