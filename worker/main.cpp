// tunorch-worker: serves one tunnel for the daemon that launched it. Takes no arguments; everything
// comes over the control socket it inherits (worker/spec.hpp).
#include <fcntl.h>
#include <signal.h>

#include <cstdio>
#include <exception>

#include "worker/worker.hpp"

int main() {
  using namespace tunorch::worker;
  if (::fcntl(control_fd, F_GETFD) < 0) {
    std::fputs(
        "tunorch-worker: started by `tunorch`, not by hand: fd 3 is not its control socket\n",
        stderr);
    return 1;
  }
  ::fcntl(control_fd, F_SETFD, FD_CLOEXEC);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return Worker(Fd(control_fd)).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tunorch-worker: %s\n", error.what());
    return 1;
  }
}
