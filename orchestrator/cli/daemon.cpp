// `tunorch daemon`.
#include "orchestrator/daemon/daemon.hpp"

#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb daemon_verb() {
  return {.name = "daemon",
          .summary = "Supervise this node in the foreground",
          .details =
              "`tunorch apply` starts it if none runs. Adopts workers that run and loads the\n"
              "last applied file. SIGTERM ends it and leaves the tunnels running; only\n"
              "`tunorch down` removes them.",
          .run = [](const Paths& paths) {
            run_daemon(paths);
            return 0;
          }};
}

}  // namespace tunorch
