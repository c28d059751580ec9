// The bundles of a cluster file and what their keys mean to each other and to the nodes.
// Ports and link subnets that bundles compete for are link_slots' part.
#pragma once

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/section.hpp"

namespace tunorch {

/// Fills cluster.bundles; cluster.nodes is filled before.
void read_bundles(const Section& file, Cluster& cluster, Report& report);

}  // namespace tunorch
