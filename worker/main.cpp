// tunorch-worker: serves one tunnel for the daemon that launched it. Everything comes over the
// control socket it inherits (worker/spec.hpp). `tunorch-worker postgres-init URL [SCHEMA]`, typed
// by hand, makes the tables of the postgres transport.
#include <fcntl.h>
#include <signal.h>

#include <cstdio>
#include <exception>
#include <string_view>

#include "worker/postgres.hpp"
#include "worker/worker.hpp"

int main(int count, char** words) {
  using namespace tunorch::worker;
  if (count > 1 && std::string_view(words[1]) == "postgres-init") {
    if (count < 3 || count > 4) {
      std::fputs("usage: tunorch-worker postgres-init URL [SCHEMA]\n", stderr);
      return 1;
    }
    return init_database(words[2], count == 4 ? words[3] : DatabaseSpec{}.schema);
  }
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
