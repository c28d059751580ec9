// tunorch-worker: serves one tunnel for the daemon that launched it. Everything comes over the
// control socket it inherits (protocol/worker.hpp). `tunorch-worker postgres-init URL [SCHEMA]`,
// typed by hand, makes the tables of the postgres transport.
#include <fcntl.h>
#include <signal.h>

#include <cstdio>
#include <exception>
#include <string_view>

#include "worker/postgres.hpp"
#include "worker/worker.hpp"

namespace {

/// tunorch-worker(8) is made from it: a synopsis, paragraphs, and parts below a line that ends with
/// a colon (packaging/from_help.py).
constexpr const char* usage =
    R"(usage: tunorch-worker postgres-init URL [SCHEMA]

Serves one tunnel. The daemon of `tunorch` starts one such process for each tunnel
of its own engine; it is not to be started by hand.

`postgres-init` makes the tables of the postgres transport in SCHEMA (tunorch
unless given) of the database at URL, as postgresql://owner@host:5432/db. It is to
be run once, by a role that may create schemas there. Where the tables are there
already it changes nothing.

Exit status:
  0  the tables are there
  1  they cannot be made, or it was started by hand; the reason is printed
)";

}  // namespace

int main(int count, char** words) {
  using namespace tunorch::worker;
  const std::string_view verb = count > 1 ? words[1] : "";
  const std::string_view last = words[count - 1];
  if (last == "--help" || last == "-h") return std::fputs(usage, stdout) < 0;
  if (verb == "postgres-init") {
    if (count < 3 || count > 4) {
      std::fputs(usage, stderr);
      return 1;
    }
    return init_database(words[2], count == 4 ? words[3] : DatabaseSpec{}.schema);
  }
  if (::fcntl(control_fd, F_GETFD) < 0) {
    std::fputs(
        "tunorch-worker: started by `tunorch`, not by hand: fd 3 is not its control socket "
        "(tunorch-worker --help)\n",
        stderr);
    return 1;
  }
  ::fcntl(control_fd, F_SETFD, FD_CLOEXEC);
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return Worker(tunorch::Fd(control_fd)).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tunorch-worker: %s\n", error.what());
    return 1;
  }
}
