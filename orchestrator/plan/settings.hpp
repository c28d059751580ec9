// The kernel settings that a node should have: what its bundles require, and tuning. Pure.
#pragma once

#include <string>
#include <vector>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/plan/desired.hpp"

namespace tunorch {

/// Socket buffers in bytes that the profile `throughput` sets.
inline constexpr std::uint32_t throughput_buffer_bytes = 16 * 1024 * 1024;

/// Of the node as a whole. `bundle` is any that it has a part in, or null.
std::vector<DesiredSysctl> global_sysctls(const Cluster& cluster, const Node& node,
                                          const Bundle* bundle);

/// Of a tunnel's device.
void add_device_sysctls(const std::string& dev, bool v6, Desired& desired);

}  // namespace tunorch
