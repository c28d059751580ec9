// tunorch-web: a node's metrics and its page, by HTTP. Started by the daemon, as a user who may
// only ask for the status; it outlives the daemon, and says where that is gone.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string_view>

#include "web/server.hpp"

namespace {

constexpr char usage[] =
    R"(usage: tunorch-web SOCKET

Serves a node's metrics for Prometheus at /metrics and a page for people at /, by HTTP
on the listening TCP socket that is its descriptor 3. It asks the daemon behind the
control socket SOCKET, and says where none answers. The daemon of `tunorch` starts it
where the cluster file has `metrics`; it is not to be started by hand.

Exit status:
  1  it was started by hand, or cannot go on; the reason is printed
)";
constexpr int listening = 3;

bool is_listening(int fd) {
  int accepts = 0;
  socklen_t size = sizeof accepts;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) == 0 && accepts == 1;
}

/// It reads strangers' requests: it is to start nothing, to leave no dump, and to be the first that
/// ends where memory is short (proc(5), oom_score_adj; the daemon's is lower).
void give_up_rights() {
  std::ofstream("/proc/self/oom_score_adj") << 500;
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_NPROC, &none);
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view first = argc == 2 ? argv[1] : "";
  if (first == "-h" || first == "--help") {
    std::fputs(usage, stdout);
    return 0;
  }
  if (first.empty() || first.front() == '-' || !is_listening(listening)) {
    std::fputs(usage, stderr);
    return 1;
  }
  try {
    std::signal(SIGPIPE, SIG_IGN);
    give_up_rights();
    boost::asio::io_context io(1);
    tunorch::web::Server server(io, listening, argv[1]);
    io.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tunorch-web: %s\n", error.what());
  }
  return 1;
}
