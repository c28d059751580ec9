// `tunorch restart`.
#include <memory>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb restart_verb() {
  struct Options {
    std::string tunnel;
    bool rolling = false;
    std::chrono::milliseconds deadline{10'000};
  };
  const auto options = std::make_shared<Options>();
  return {.name = "restart",
          .summary = "Restart workers",
          .details =
              "One tunnel is drained first. All of them: one after the other with\n"
              "--rolling, each drained and waited for, else at once.",
          .options = {{.names = "tunnel",
                       .help = "As status names it",
                       .type = "TUNNEL",
                       .value = &options->tunnel},
                      {.names = "--rolling",
                       .help = "All tunnels, one at a time",
                       .value = &options->rolling},
                      {.names = "--deadline",
                       .help = "When what still flows is moved",
                       .type = "TIME",
                       .initial = "10s",
                       .value = &options->deadline}},
          .run = [options](const Paths& paths) {
            return ask_daemon(
                paths, RestartRequest{options->tunnel, options->rolling,
                                      static_cast<std::uint32_t>(options->deadline.count())});
          }};
}

}  // namespace tunorch
