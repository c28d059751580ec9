// `tunorch failback`.
#include <memory>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb failback_verb() {
  const auto bundle = std::make_shared<std::string>();
  return {
      .name = "failback",
      .summary = "Go back to the tunnels of a higher priority that are up again",
      .details = "For bundles with `failback: hold` or `manual`.",
      .options = {{.names = "bundle",
                   .help = "As status names it",
                   .type = "BUNDLE",
                   .required = true,
                   .value = bundle.get()}},
      .run = [bundle](const Paths& paths) { return ask_daemon(paths, FailbackRequest{*bundle}); }};
}

}  // namespace tunorch
