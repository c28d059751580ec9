// `tunorch doctor`: looks, judges, prints.
#include "orchestrator/doctor/doctor.hpp"

#include <unistd.h>

#include <cstdio>
#include <optional>

#include "orchestrator/cli/verbs.hpp"
#include "orchestrator/config/load.hpp"
#include "orchestrator/doctor/probe.hpp"

namespace tunorch {

int doctor_verb(const VerbOptions& options) {
  std::optional<Cluster> cluster;
  std::optional<Desired> desired;
  if (!options.file.empty()) {
    cluster = load_cluster(options.file);
    desired = select_node(*cluster, options.paths.node);
  }
  ProbeRequest request{options.paths};
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

}  // namespace tunorch
