// Numbers the link subnets (a slot a tunnel) and the hosts in them, and finds what clashes there.
// The numbers follow from ports and names alone, so that adding a node or a bundle moves no other.
#pragma once

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/report.hpp"
#include "orchestrator/config/reserved.hpp"

namespace tunorch {

/// Fills Tunnel::slot, (port + id) mod 64; reports tunnels of one node that would share a port or
/// a slot.
void assign_slots(Cluster& cluster, Report& report);

/// Fills Node::link_host where the file does not give it; reports nodes that would share one.
void assign_link_hosts(Cluster& cluster, Report& report);

}  // namespace tunorch
