// `tunorch status`.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/status_text.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/client/client.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

struct Options {
  bool json = false, watch = false;
};

int ask_for_status(const Paths& paths, const std::function<void(const json&)>& show) {
  bool problem = false;
  const int code = ask_daemon(paths, StatusRequest{}, [&](const json& line) {
    show(line);
    problem = line.contains("problem");
  });
  return problem ? 1 : code;
}

/// Until it is interrupted; a daemon that is away for a while is waited for.
[[noreturn]] void watch(const Options& options, const Paths& paths) {
  constexpr std::chrono::seconds interval{1};
  const Terminal terminal = terminal_of(STDOUT_FILENO);
  const bool anew = terminal.interactive && !options.json;
  for (;; std::this_thread::sleep_for(interval)) {
    std::string text;
    if (anew && !Client::connect(paths))
      text = toned(terminal, Tone::bad, no_daemon(paths)) + "\n";
    else
      ask_for_status(paths, [&](const json& line) {
        text = options.json ? line.dump() + "\n" : status_text(terminal, status_from(line));
      });
    std::fputs((anew ? screen(terminal, text) : text).c_str(), stdout);
    std::fflush(stdout);
  }
}

int status(const Options& options, const Paths& paths) {
  if (options.watch) watch(options, paths);
  return ask_for_status(paths, [&](const json& line) {
    const Terminal terminal = terminal_of(STDOUT_FILENO);
    std::fputs(
        (options.json ? line.dump(2) + "\n" : status_text(terminal, status_from(line))).c_str(),
        stdout);
  });
}

}  // namespace

Verb status_verb() {
  const auto options = std::make_shared<Options>();
  return {.name = "status",
          .summary = "Show this node's bundles, tunnels and their health",
          .details =
              "Asks the daemon. Exits 1 if none answers, or if it could not load what was\n"
              "applied; a bundle being down does not change the exit code.",
          .options = {json_flag(options->json),
                      {.names = "--watch,-w",
                       .help = "Again every second, until interrupted",
                       .value = &options->watch}},
          .run = [options](const Paths& paths) { return status(*options, paths); }};
}

}  // namespace tunorch
