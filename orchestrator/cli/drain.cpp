// `tunorch drain` and `tunorch undrain`.
#include <memory>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"

namespace tunorch {
namespace {

Option tunnel_argument(std::string& tunnel) {
  return {.names = "tunnel",
          .help = "As status names it",
          .type = "TUNNEL",
          .required = true,
          .value = &tunnel};
}

}  // namespace

Verb drain_verb() {
  struct Options {
    std::string tunnel;
    std::chrono::milliseconds deadline{60'000};
  };
  const auto options = std::make_shared<Options>();
  return {.name = "drain",
          .summary = "Take a tunnel out of use without hurting a flow",
          .details =
              "New flows take other tunnels at once, on both ends. Old flows stay until they\n"
              "pause or the deadline comes. Waits for that.",
          .options = {tunnel_argument(options->tunnel),
                      {.names = "--deadline",
                       .help = "When what still flows is moved",
                       .type = "TIME",
                       .initial = "60s",
                       .value = &options->deadline}},
          .run = [options](const Paths& paths) {
            const int code = ask_daemon(
                paths, DrainRequest{options->tunnel,
                                    static_cast<std::uint32_t>(options->deadline.count())});
            if (code == 0) print(options->tunnel + " is drained; `tunorch undrain` brings it back");
            return code;
          }};
}

Verb undrain_verb() {
  const auto tunnel = std::make_shared<std::string>();
  return {
      .name = "undrain",
      .summary = "Use a drained tunnel again",
      .options = {tunnel_argument(*tunnel)},
      .run = [tunnel](const Paths& paths) { return ask_daemon(paths, UndrainRequest{*tunnel}); }};
}

}  // namespace tunorch
