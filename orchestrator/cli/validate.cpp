// `tunorch validate`.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/ask.hpp"
#include "orchestrator/cli/output.hpp"
#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/config/outline.hpp"

namespace tunorch {
namespace {

struct Options {
  std::string file;
  bool json = false;
};

int validate(const Options& options) {
  const Cluster cluster = load_file(options.file).cluster;
  if (options.json) {
    print(outline(cluster).dump(2));
    return 0;
  }
  std::size_t tunnels = 0;
  for (const Bundle& bundle : cluster.bundles) tunnels += bundle.tunnels.size();
  print(fmt::format("{}: valid: cluster {}, nodes {}, bundles {}, tunnels {}", options.file,
                    cluster.name, cluster.nodes.size(), cluster.bundles.size(), tunnels));
  return 0;
}

}  // namespace

Verb validate_verb() {
  const auto options = std::make_shared<Options>();
  return {
      .name = "validate",
      .summary = "Check a cluster file; touches nothing",
      .details =
          "Needs no root and no keys. Prints every problem as\n"
          "file:line:col: what is wrong, and what is allowed; exits 1 then.",
      .options = {file_argument(options->file),
                  json_flag(options->json, "Who listens where and who dials whom, for scripts")},
      .run = [options](const Paths&) { return validate(*options); }};
}

}  // namespace tunorch
