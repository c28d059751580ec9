// The virtio_net_hdr before each packet (virtio 1.2, section 5.1.6; kernel
// include/uapi/linux/virtio_net.h): checked against its packet before the kernel sees it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tunorch::worker {

/// Little-endian on the wire and at the TUN. Declared here because the kernel's header has a field
/// named `class`.
struct VnetHeader {
  std::uint8_t flags;
  std::uint8_t gso_type;
  std::uint16_t hdr_len;  // bytes of headers before the first segment's payload
  std::uint16_t gso_size;
  std::uint16_t csum_start;   // from the packet's start
  std::uint16_t csum_offset;  // from csum_start
};
static_assert(sizeof(VnetHeader) == 10);

namespace vnet {
inline constexpr std::uint8_t needs_csum = 1, data_valid = 2;
inline constexpr std::uint8_t gso_none = 0, gso_tcpv4 = 1, gso_tcpv6 = 4;
}  // namespace vnet

/// Whether the header is one that wire version 1 allows and that is true of a well-formed packet.
/// Corrects what is only a hint: clears DATA_VALID (our kernel is to judge checksums itself) and
/// recomputes hdr_len.
bool check_vnet_header(VnetHeader& header, const std::uint8_t* packet, std::size_t size);

}  // namespace tunorch::worker
