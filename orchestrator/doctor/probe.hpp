// Reads off the machine what doctor.hpp judges. Changes nothing: what has to be tried is tried by a
// child in a network namespace of its own, which goes with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "orchestrator/doctor/facts.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/system/files.hpp"

namespace tunorch {

struct ProbeRequest {
  Paths paths;
  const Cluster* cluster = nullptr;  // none: what any host needs
  const Desired* desired = nullptr;  // this node's part of it
};

/// What cannot be looked at is named in `unseen`; nothing is thrown for it.
HostFacts probe_host(const ProbeRequest& request);

// Its parts.

/// Forks. Waits 10 s at most.
void probe_kernel(HostFacts& host);
void probe_limits(HostFacts& host);
void probe_network(const ProbeRequest& request, HostFacts& host);
void probe_keys(const ProbeRequest& request, HostFacts& host);
void probe_services(const ProbeRequest& request, HostFacts& host);
void probe_listeners(const ProbeRequest& request, HostFacts& host);

/// Processes of this network namespace, as far as they can be seen.
std::vector<int> processes_here();
std::string process_name(int pid);

}  // namespace tunorch
