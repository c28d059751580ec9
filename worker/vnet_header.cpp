#include "worker/vnet_header.hpp"

#include "worker/packet.hpp"

namespace tunorch::worker {
namespace {

constexpr std::size_t tcp_header_bytes = 20, tcp_checksum_offset = 16;

/// Whether the transport header can begin there. An IPv6 packet with extension headers tells it by
/// csum_start alone.
bool transport_begins_at(std::size_t start, std::uint8_t protocol, const std::uint8_t* packet) {
  if (is_v4(packet)) return packet[9] == protocol && start == (packet[0] & 15u) * 4u;
  return packet[6] == protocol ? start == ipv6_header_bytes : start > ipv6_header_bytes;
}

/// The segments' checksums are made from the one that is asked for.
bool check_tcp_gso(VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  const bool v4 = is_v4(packet);
  const std::uint8_t type = header.gso_type & static_cast<std::uint8_t>(~vnet::gso_ecn);
  if (type != (v4 ? vnet::gso_tcpv4 : vnet::gso_tcpv6)) return false;
  const std::size_t start = header.csum_start;
  if (header.csum_offset != tcp_checksum_offset || start + tcp_header_bytes > size ||
      !transport_begins_at(start, protocol_tcp, packet))
    return false;
  const std::size_t tcp_bytes = (packet[start + 12] >> 4) * 4u;
  if (tcp_bytes < tcp_header_bytes || start + tcp_bytes > size) return false;
  header.hdr_len = static_cast<std::uint16_t>(start + tcp_bytes);
  return true;
}

bool check_udp_gso(VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  const std::size_t start = header.csum_start;
  if (header.csum_offset != udp_checksum_offset || start + udp_header_bytes > size ||
      !transport_begins_at(start, protocol_udp, packet))
    return false;
  const std::size_t payload = size - start - udp_header_bytes;
  if (payload > header.gso_size * max_udp_segments) return false;
  header.hdr_len = static_cast<std::uint16_t>(start + udp_header_bytes);
  return true;
}

bool check_gso(VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  if (!(header.flags & vnet::needs_csum) || header.gso_size == 0) return false;
  return header.gso_type == vnet::gso_udp_l4 ? check_udp_gso(header, packet, size)
                                             : check_tcp_gso(header, packet, size);
}

}  // namespace

bool can_take(const std::uint8_t* header, const Offloads& offloads) {
  const std::uint8_t type = header[1];
  if (type == vnet::gso_none) return true;
  if (type == vnet::gso_udp_l4) return offloads.uso;
  return offloads.tso && (offloads.ecn || !(type & vnet::gso_ecn));
}

bool check_vnet_header(VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  if (header.flags & ~(vnet::needs_csum | vnet::data_valid)) return false;
  header.flags &= vnet::needs_csum;
  if (header.flags) {
    const std::size_t ip_bytes = is_v4(packet) ? (packet[0] & 15u) * 4u : ipv6_header_bytes;
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
