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
inline constexpr std::uint8_t gso_none = 0, gso_tcpv4 = 1, gso_tcpv6 = 4, gso_udp_l4 = 5;
inline constexpr std::uint8_t gso_ecn = 0x80;  // a flag beside a TCP type
}  // namespace vnet

inline constexpr std::size_t udp_checksum_offset = 6;
/// UDP_MAX_SEGMENTS of the kernel's include/linux/udp.h.
inline constexpr std::size_t max_udp_segments = 128;

/// The kinds of packets beyond plain ones that a TUN takes, and so what its peers may send.
struct Offloads {
  bool tso = false;  // TCP over IPv4 and IPv6
  bool ecn = false;  // TCP whose first segment has CWR
  bool uso = false;  // UDP over IPv4 and IPv6, Linux 6.2
  bool operator==(const Offloads&) const = default;
  Offloads operator&(const Offloads& other) const {
    return {tso && other.tso, ecn && other.ecn, uso && other.uso};
  }
};

/// Whether a node with these offloads can take the packet behind this header.
bool can_take(const std::uint8_t* header, const Offloads& offloads);

/// Whether the header is true of a well-formed packet, and of a kind that is carried: TCP and UDP
/// segmentation, no UDP fragmentation.
/// Corrects what is only a hint: clears DATA_VALID (our kernel is to judge checksums itself) and
/// recomputes hdr_len.
bool check_vnet_header(VnetHeader& header, const std::uint8_t* packet, std::size_t size);

}  // namespace tunorch::worker
