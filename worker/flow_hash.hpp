// The hash that keeps a flow on one stream. The kernel computes the same in its steering program
// (routing/steering.cpp), and a test holds the two against each other. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tunorch::worker {

/// 16 bits of hash over addresses, protocol and, for whole TCP and UDP packets, ports; the same for
/// both directions of a flow. 0 for what is neither IPv4 nor IPv6 or is cut short. Fragments have
/// no ports to go by, and IPv6 extension headers are not looked behind.
std::uint32_t flow_hash(const std::uint8_t* packet, std::size_t size);

}  // namespace tunorch::worker
