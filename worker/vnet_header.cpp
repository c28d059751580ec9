#include "worker/vnet_header.hpp"

namespace tunorch::worker {
namespace {

constexpr std::uint8_t tcp = 6;
constexpr std::size_t tcp_header_bytes = 20, tcp_checksum_offset = 16;
constexpr std::size_t ipv6_header_bytes = 40;

/// Where TCP must begin; 0 where the packet is not plain TCP of this GSO type. An IPv6 packet with
/// extension headers tells it by csum_start alone.
bool tcp_begins_at(std::uint8_t gso_type, const std::uint8_t* packet, std::size_t start) {
  const int version = packet[0] >> 4;
  if (gso_type == vnet::gso_tcpv4)
    return version == 4 && packet[9] == tcp && start == (packet[0] & 15u) * 4u;
  if (gso_type != vnet::gso_tcpv6 || version != 6) return false;
  return packet[6] == tcp ? start == ipv6_header_bytes : start > ipv6_header_bytes;
}

bool check_gso(VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  // The segments' checksums are made from the one that is asked for.
  if (!(header.flags & vnet::needs_csum) || header.csum_offset != tcp_checksum_offset) return false;
  const std::size_t start = header.csum_start;
  if (start + tcp_header_bytes > size || !tcp_begins_at(header.gso_type, packet, start))
    return false;
  const std::size_t tcp_bytes = (packet[start + 12] >> 4) * 4u;
  if (tcp_bytes < tcp_header_bytes || start + tcp_bytes > size) return false;
  header.hdr_len = static_cast<std::uint16_t>(start + tcp_bytes);
  return header.gso_size > 0;
}

}  // namespace

bool check_vnet_header(VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  if (header.flags & ~(vnet::needs_csum | vnet::data_valid)) return false;
  header.flags &= vnet::needs_csum;
  if (header.flags) {
    const std::size_t ip_bytes = packet[0] >> 4 == 4 ? (packet[0] & 15u) * 4u : ipv6_header_bytes;
    const std::size_t field = std::size_t{header.csum_start} + header.csum_offset;
    if (header.csum_start < ip_bytes || field + 2 > size) return false;
  } else {
    header.csum_start = header.csum_offset = 0;
  }
  if (header.gso_type != vnet::gso_none) return check_gso(header, packet, size);
  header.gso_size = header.hdr_len = 0;
  return true;
}

}  // namespace tunorch::worker
