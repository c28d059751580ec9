// `tunorch top`.
#include "orchestrator/top/top.hpp"

#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb top_verb() {
  return {.name = "top",
          .summary = "Show the tunnels live, on the whole screen",
          .details =
              "Anew every second: state, throughput, round trip, loss, share of the traffic, and\n"
              "the newest events. A script takes status or events, with --json.\n\n"
              "Keys: n t r l s R sort by name, traffic, round trip, loss, share, restarts, and\n"
              "turn the order around; up and down select a tunnel; d drains it, u undrains,\n"
              "x restarts it, each after a question; p pauses, ? explains, q quits.",
          .run = [](const Paths& paths) {
            run_top(paths);
            return 0;
          }};
}

}  // namespace tunorch
