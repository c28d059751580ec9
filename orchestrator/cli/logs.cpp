// `tunorch logs`.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/client/client.hpp"
#include "protocol/event.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

struct Options {
  std::string tunnel;
  bool follow = false, json = false;
  std::uint32_t lines = 100;
};

std::string log_text(const LogLine& line) {
  const Tone tone = line.level == "info"      ? Tone::plain
                    : line.level == "warning" ? Tone::warning
                    : line.level == "debug"   ? Tone::faint
                                              : Tone::bad;
  return fmt::format("{}  {:<7}  {}", line.time, line.level,
                     toned(terminal_of(STDOUT_FILENO), tone, line.text));
}

int logs(const Options& options, const Paths& paths) {
  if (!Client::connect(paths)) {
    print_error("tunorch: no daemon is running (" + paths.control_socket().string() +
                "). Its log is also in " + paths.log().string() +
                ", what processes print that still run in " + (paths.workers() / "*.log").string() +
                ", and under systemd see `journalctl -u tunorch`");
    return 1;
  }
  return followed(options.follow,
                  ask_daemon(paths, LogsRequest{options.tunnel, options.lines, options.follow},
                             [&](const json& line) {
                               print(options.json ? line.dump() : log_text(log_line_from(line)));
                             }));
}

}  // namespace

Verb logs_verb() {
  const auto options = std::make_shared<Options>();
  return {.name = "logs",
          .summary = "Show the latest log lines of the daemon and its workers",
          .details =
              "Also what other engines' programs print. With a tunnel: what concerns it.\n"
              "The whole log: `journalctl -u tunorch`, without systemd daemon.log.",
          .options = {{.names = "tunnel",
                       .help = "As status names it",
                       .type = "TUNNEL",
                       .value = &options->tunnel},
                      {.names = "--follow,-f",
                       .help = "Continue with the next lines",
                       .value = &options->follow},
                      {.names = "--lines,-n",
                       .help = "How many of the last lines; 0: as many as are kept",
                       .type = "N",
                       .initial = "100",
                       .value = &options->lines},
                      json_flag(options->json, "One JSON object per line")},
          .run = [options](const Paths& paths) { return logs(*options, paths); }};
}

}  // namespace tunorch
