// What other tools need to know of a cluster file: who listens where, who dials whom. Pure.
#pragma once

#include <nlohmann/json.hpp>

#include "orchestrator/config/cluster.hpp"

namespace tunorch {

/// {"cluster", "nodes": {NODE: {"listens": [{"bundle", "tunnel", "protocols", "port"}, …], "dials":
/// [BUNDLE, …]}}}. A tunnel through a database listens nowhere.
nlohmann::json outline(const Cluster& cluster);

}  // namespace tunorch
