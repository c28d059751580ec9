// What has to hold of a virtio header that the checks let through.
#pragma once

#include "tests/fuzz/fuzz.hpp"
#include "worker/vnet_header.hpp"

namespace tunorch::worker {

/// What the kernel reads by this header lies within the packet.
inline void require_bounds(const VnetHeader& header, std::size_t bytes) {
  require(!(header.flags & ~vnet::needs_csum));
  if (header.flags)
    require(std::size_t{header.csum_start} + header.csum_offset + 2 <= bytes);
  else
    require(header.csum_start == 0 && header.csum_offset == 0);
  if (header.gso_type == vnet::gso_none) {
    require(header.gso_size == 0 && header.hdr_len == 0);
    return;
  }
  require(header.flags == vnet::needs_csum && header.gso_size > 0);
  require(header.hdr_len > header.csum_start && header.hdr_len <= bytes);
  if (header.gso_type == vnet::gso_udp_l4)
    require(bytes - header.hdr_len <= std::size_t{header.gso_size} * max_udp_segments);
}

}  // namespace tunorch::worker
