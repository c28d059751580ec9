// `tunorch explain`.
#include "orchestrator/daemon/explain.hpp"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb explain_verb() {
  struct Options {
    ExplainRequest request;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  Flow& flow = options->request;
  return {.name = "explain",
          .summary = "Show which tunnel a flow takes, and why",
          .details =
              "Asks the kernel, and the peer how it answers.\n\n"
              "Example:  tunorch explain 10.77.0.2 10.77.0.1 tcp 40000 443",
          .options =
              {{.names = "source", .help = "IP address", .required = true, .value = &flow.source},
               {.names = "destination",
                .help = "IP address",
                .required = true,
                .value = &flow.destination},
               {.names = "protocol", .help = "tcp, udp, icmp, …", .value = &flow.protocol},
               {.names = "source-port", .value = &flow.source_port},
               {.names = "destination-port", .value = &flow.destination_port},
               {.names = "--in",
                .help = "It comes in by the bundle: show how it is answered",
                .value = &options->request.in},
               json_flag(options->json)},
          .run = [options](const Paths& paths) {
            return ask_daemon(paths, options->request, [&](const nlohmann::json& line) {
              std::fputs(options->json ? (line.dump(2) + "\n").c_str()
                                       : explanation_text(explanation_from(line)).c_str(),
                         stdout);
            });
          }};
}

}  // namespace tunorch
