// A machine before the first apply, as a plan sees it.
#pragma once

#include <string>

#include "orchestrator/plan/plan.hpp"

namespace tunorch {

/// A machine with lo and eth0 up and every setting at 0.
inline Observed bare_machine(const Desired& desired) {
  Observed observed;
  for (const char* name : {"lo", "eth0"}) {
    routing::Link link;
    link.name = name;
    link.admin_up = true;
    observed.links.push_back(link);
  }
  for (const std::string& key : sysctl_keys(desired, {}))
    if (key.find(".conf.backbone") == std::string::npos) observed.sysctls[key] = {"0", true, {}};
  return observed;
}

}  // namespace tunorch
