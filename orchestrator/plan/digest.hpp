// Digests of what a tunnel's process serves: they tell whether a running one is what is wanted, can
// be brought to it live, or has to be restarted. Pure.
#pragma once

#include <string>

#include "orchestrator/pki/node_keys.hpp"
#include "orchestrator/plan/launch.hpp"
#include "protocol/worker.hpp"

namespace tunorch {

/// The spec with keys (but those of its database, which are in it) and its digest: "<what needs a
/// restart>-<what can be updated live>". A foreign process's digest is made from its launch.
worker::Spec with_keys(worker::Spec spec, const NodeKeys& keys);

std::string digest_of(const Launch& launch);

/// Whether a worker that serves `running` can be brought to `wanted` without a restart.
bool updates_live(const std::string& running_digest, const std::string& wanted_digest);

}  // namespace tunorch
