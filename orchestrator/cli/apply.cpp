// `tunorch apply`.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/status_text.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/client/client.hpp"
#include "orchestrator/plan/desired.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

struct Options {
  std::string file;
  milliseconds timeout{30'000};
  milliseconds confirm{0};
  bool wait_peers = false;
};

/// Where the page is, or why it is not.
void print_page(const PageState& page) {
  if (!page.reason.empty())
    return print_error("tunorch: no page and no metrics yet: " + page.reason);
  print(page_text(page));
}

/// What came back of an apply.
struct Outcome {
  std::size_t steps = 0;
  std::optional<Failure> failure;
  ApplyDone done{false, {}, std::nullopt, std::nullopt};
};

Outcome ask_to_apply(Client& client, const ApplyRequest& request) {
  Outcome outcome;
  Progress progress;
  client.ask(request, [&](const json& line) {
    const auto answer = parse_daemon_answer(line);
    if (!answer) return;
    if (const auto* waiting = std::get_if<WaitingAnswer>(&*answer))
      return progress.show(fmt::format("  waiting for {}: {}", waiting->waiting, waiting->first));
    progress.clear();
    if (const auto* step = std::get_if<StepAnswer>(&*answer)) {
      ++outcome.steps;
      print_change(step->step);
    } else if (const auto* failure = std::get_if<Failure>(&*answer)) {
      outcome.failure = *failure;
      print_failure(*failure);
    } else if (const auto* done = std::get_if<ApplyDone>(&*answer)) {
      outcome.done = *done;
    }
  });
  return outcome;
}

int apply(const Options& options, const Paths& paths) {
  const ClusterFile file = load_file(options.file);
  desired_for(file.cluster, paths.node);
  if (::geteuid() != 0)
    throw std::runtime_error("not permitted: routes and devices need root; run it with sudo");
  auto client = Client::connect(paths);
  const bool started = !client;
  if (started) client = Client::start_daemon(paths);

  const Outcome outcome = ask_to_apply(
      *client, {file.sent, static_cast<std::uint32_t>(options.timeout.count()), options.wait_peers,
                static_cast<std::uint32_t>(options.confirm.count())});
  if (outcome.failure) {
    if (started && outcome.failure->idle)
      down_verb().run(paths);  // leave no daemon behind that serves nothing
    return 1;
  }
  for (const std::string& missing : outcome.done.missing)
    print_error("tunorch: not healthy within the time given: " + missing);
  if (outcome.steps == 0) print("nothing to do: the node is as the file says");
  if (outcome.done.done) print(fmt::format("node {} is up", paths.node));
  if (outcome.done.web) print_page(*outcome.done.web);
  if (options.confirm.count() > 0)
    print(fmt::format("will roll back in {} s unless you run `tunorch confirm`",
                      options.confirm.count() / 1000));
  return outcome.done.done ? 0 : 1;
}

}  // namespace

Verb apply_verb() {
  const auto options = std::make_shared<Options>();
  return {.name = "apply",
          .summary = "Make this node what the file says, and wait until its tunnels are healthy",
          .details =
              "Starts the daemon if none runs. Run it on every node of the file, in any order.\n"
              "A second run changes only what differs. Exits 0 when healthy, 1 if a step failed\n"
              "(then all is undone) or the time is up (then the daemon keeps trying).\n\n"
              "Example:  tunorch pki init cluster.yaml && tunorch apply cluster.yaml --node edge",
          .options = {file_argument(options->file),
                      {.names = "--timeout",
                       .help = "How long to wait for health, e.g. 30s or 500ms",
                       .type = "TIME",
                       .initial = "30s",
                       .value = &options->timeout},
                      {.names = "--confirm",
                       .help = "Roll back unless you run `tunorch confirm` within this time",
                       .type = "TIME",
                       .value = &options->confirm},
                      {.names = "--wait-peers",
                       .help = "On a listener: also wait for every dialer's tunnels",
                       .value = &options->wait_peers}},
          .run = [options](const Paths& paths) { return apply(*options, paths); }};
}

}  // namespace tunorch
