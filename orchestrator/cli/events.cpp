// `tunorch events`.
#include "orchestrator/telemetry/events.hpp"

#include <memory>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {

Verb events_verb() {
  struct Options {
    bool follow = false, json = false;
  };
  const auto options = std::make_shared<Options>();
  return {.name = "events",
          .summary = "Show what happened, oldest first",
          .details = "Every transition with its cause and, where it took time, its duration.",
          .options = {{.names = "--follow,-f",
                       .help = "Continue with what happens next",
                       .value = &options->follow},
                      json_flag(options->json, "One JSON object per line")},
          .run = [options](const Paths& paths) {
            return followed(
                options->follow,
                ask_daemon(paths, EventsRequest{options->follow}, [&](const nlohmann::json& line) {
                  print(options->json ? line.dump() : event_line(event_from(line)));
                }));
          }};
}

}  // namespace tunorch
