// `tunorch down`.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/daemon/daemon.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

/// The daemon's answer; without a daemon it is done here.
DownDone take_down(const Paths& paths) {
  auto client = Client::connect(paths);
  if (!client) return {run_down(paths), {}, paths.node};
  DownDone end{false, {}, paths.node};
  client->ask(DownRequest{}, [&](const json& line) {
    const auto answer = parse_daemon_answer(line);
    if (!answer) return;
    if (const auto* step = std::get_if<StepAnswer>(&*answer)) print_change(step->step);
    if (const auto* failure = std::get_if<Failure>(&*answer)) print_failure(*failure);
    if (const auto* done = std::get_if<DownDone>(&*answer)) end = *done;
  });
  return end;
}

int down(const Paths& paths) {
  const DownDone end = take_down(paths);
  for (const std::string& problem : end.problems) print_error("tunorch: " + problem);
  if (end.done) print(fmt::format("node {} is down, and as it was before", end.node));
  return end.done ? 0 : 1;
}

}  // namespace

Verb down_verb() {
  return {.name = "down",
          .summary = "Stop the workers and leave the machine as it was before",
          .details = "Also cleans up after a daemon that was killed.",
          .run = down};
}

}  // namespace tunorch
