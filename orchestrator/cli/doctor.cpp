// `tunorch doctor`: looks, judges, prints.
#include "orchestrator/doctor/doctor.hpp"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/config/load.hpp"
#include "orchestrator/doctor/probe.hpp"

namespace tunorch {

namespace {

struct Options {
  std::string file;
  bool json = false;
};

int examine(const Options& options, const Paths& paths) {
  std::optional<Cluster> cluster;
  std::optional<Desired> desired;
  if (!options.file.empty()) {
    cluster = load_cluster(options.file);
    desired = desired_for(*cluster, paths.node);
  }
  ProbeRequest request{paths};
  if (cluster) request.cluster = &*cluster;
  if (desired) request.desired = &*desired;
  Examined examined{probe_host(request), options.file};
  if (desired) examined.desired = &*desired;
  const std::vector<Finding> findings = judge(examined);
  const std::string text = options.json ? findings_json(findings).dump(2) + "\n"
                                        : findings_text(terminal_of(STDOUT_FILENO), findings);
  std::fputs(text.c_str(), stdout);
  return exit_code(findings);
}

}  // namespace

Verb doctor_verb() {
  const auto options = std::make_shared<Options>();
  return {.name = "doctor",
          .summary = "Look for what this host lacks, or has wrong",
          .details =
              "Kernel, settings, limits, clock, links, keys, and what other programs do; each\n"
              "finding with what it means and the command that fixes it. With a file also\n"
              "what this node of it needs. Changes nothing: what has to be tried is tried in\n"
              "a network namespace of its own. Exits 0 if nothing needs fixing (notes do not\n"
              "count), 2 with warnings, 3 with errors; 1 if it could not look: a wrong\n"
              "command line, or a file that is not valid.",
          .options = {{.names = "file",
                       .help = "The cluster file",
                       .type = "cluster.yaml",
                       .value = &options->file},
                      json_flag(options->json)},
          .run = [options](const Paths& paths) { return examine(*options, paths); }};
}

}  // namespace tunorch
