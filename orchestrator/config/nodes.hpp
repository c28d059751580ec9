// The nodes of a cluster file: their addresses and prefixes, and what two nodes may not share.
// Knows nothing of bundles.
#pragma once

#include <map>
#include <string>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/section.hpp"

namespace tunorch {

/// Fills cluster.nodes; cluster.link_net is set before.
void read_nodes(const Section& file, Cluster& cluster, Report& report);

/// What the prefix is set aside for ("multicast"), so that it cannot carry a tunnel's traffic; ""
/// for most. Loopback may be `dialed`.
std::string special_use(const Prefix& prefix, bool dialed);

}  // namespace tunorch
