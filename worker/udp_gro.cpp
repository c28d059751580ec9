#include "worker/udp_gro.hpp"

#include <cstring>
#include <utility>

#include "worker/frame.hpp"
#include "worker/packet.hpp"

namespace tunorch::worker {
namespace {

constexpr std::size_t udp_length_offset = 4;

/// RFC 1071: ones' complement sum.
std::uint32_t folded(std::uint32_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/// Bytes of IP and UDP headers where the packet is a whole UDP datagram with plain headers whose
/// checksum is still to be made; else 0. Only these can be segmented without hiding a checksum that
/// was wrong, or a fragment's identity.
std::size_t headers_of(const VnetHeader& header, const std::uint8_t* packet, std::size_t size) {
  const bool v4 = is_v4(packet);
  const std::size_t ip_bytes = v4 ? ipv4_header_bytes : ipv6_header_bytes;
  if (header.gso_type != vnet::gso_none || !(header.flags & vnet::needs_csum) ||
      header.csum_start != ip_bytes || header.csum_offset != udp_checksum_offset)
    return 0;
  // An IPv4 header without options, and "don't fragment": the identification says nothing then
  // (RFC 6864).
  const bool plain =
      v4 ? packet[0] == 0x45 && packet[9] == protocol_udp && read16(packet + 6) == 0x4000
         : packet[6] == protocol_udp;
  const std::size_t headers = ip_bytes + udp_header_bytes;
  if (!plain || size <= headers || read16(packet + ip_bytes + udp_length_offset) != size - ip_bytes)
    return 0;
  return headers;
}

/// All of the headers but lengths, identification and checksums.
bool same_flow(const std::uint8_t* one, const std::uint8_t* other) {
  if (is_v4(one))
    return std::memcmp(one, other, 2) == 0 && std::memcmp(one + 6, other + 6, 4) == 0 &&
           std::memcmp(one + 12, other + 12, 12) == 0;
  return std::memcmp(one, other, 4) == 0 && std::memcmp(one + 6, other + 6, 38) == 0;
}

VnetHeader header_of(const std::uint8_t* payload) {
  VnetHeader header;
  std::memcpy(&header, payload, sizeof header);
  return header;
}

}  // namespace

bool UdpGro::begin(std::uint8_t* payload, std::size_t size) {
  const std::size_t bytes = size - vnet_header_bytes;
  header_bytes_ = headers_of(header_of(payload), payload + vnet_header_bytes, bytes);
  if (header_bytes_ == 0) return false;
  parts_[0] = {payload, size};
  count_ = 1;
  packet_bytes_ = bytes;
  segment_bytes_ = bytes - header_bytes_;
  closed_ = false;
  return true;
}

bool UdpGro::joins(const std::uint8_t* payload, std::size_t size) const {
  const std::uint8_t* packet = payload + vnet_header_bytes;
  const std::size_t bytes = size - vnet_header_bytes;
  const std::uint8_t* first = static_cast<std::uint8_t*>(parts_[0].iov_base) + vnet_header_bytes;
  return !closed_ && count_ < max_udp_segments &&
         packet_bytes_ + bytes - count_ * header_bytes_ <= max_packet_bytes &&
         headers_of(header_of(payload), packet, bytes) == header_bytes_ &&
         bytes - header_bytes_ <= segment_bytes_ && same_flow(first, packet);
}

bool UdpGro::add(std::uint8_t* payload, std::size_t size) {
  if (count_ == 0) return begin(payload, size);
  if (!joins(payload, size)) return false;
  const std::size_t headers = vnet_header_bytes + header_bytes_;
  parts_[count_++] = {payload + headers, size - headers};
  packet_bytes_ += size - vnet_header_bytes;
  closed_ = size - headers < segment_bytes_;
  return true;
}

std::span<const iovec> UdpGro::finish() {
  const std::size_t count = std::exchange(count_, 0);
  if (count == 1) return {parts_.data(), 1};
  auto* payload = static_cast<std::uint8_t*>(parts_[0].iov_base);
  std::uint8_t* packet = payload + vnet_header_bytes;
  const bool v4 = is_v4(packet);
  const std::size_t ip_bytes = header_bytes_ - udp_header_bytes;
  const std::size_t total = packet_bytes_ - (count - 1) * header_bytes_;

  std::uint8_t* udp_header = packet + ip_bytes;
  const auto udp_bytes = static_cast<std::uint32_t>(total - ip_bytes);
  // What stands there is the sum over the pseudo-header, and the length is part of it.
  const std::uint32_t old_bytes = read16(udp_header + udp_length_offset);
  const std::uint32_t sum =
      folded(read16(udp_header + udp_checksum_offset) + udp_bytes + (0xffff - old_bytes));
  write16(udp_header + udp_length_offset, udp_bytes);
  write16(udp_header + udp_checksum_offset, sum);
  if (v4) {
    write16(packet + 2, static_cast<std::uint32_t>(total));
    write16(packet + 10, 0);
    std::uint32_t header_sum = 0;
    for (std::size_t i = 0; i < ipv4_header_bytes; i += 2) header_sum += read16(packet + i);
    write16(packet + 10, 0xffff - folded(header_sum));
  } else {
    write16(packet + 4, udp_bytes);
  }
  VnetHeader header = header_of(payload);
  header.gso_type = vnet::gso_udp_l4;
  header.gso_size = static_cast<std::uint16_t>(segment_bytes_);
  header.hdr_len = static_cast<std::uint16_t>(header_bytes_);
  std::memcpy(payload, &header, sizeof header);
  return {parts_.data(), count};
}

}  // namespace tunorch::worker
