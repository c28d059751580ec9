#include "worker/packet.hpp"

#include <cstring>

namespace tunorch::worker {
namespace {

IpAddress address(bool v6, const std::uint8_t* from) {
  IpAddress address{v6, {}};
  std::memcpy(address.bytes.data(), from, v6 ? 16 : 4);
  return address;
}

}  // namespace

bool IpAddress::is_multicast() const {
  if (v6) return bytes[0] == 0xff;
  return bytes[0] >= 224 && (bytes[0] < 240 || bytes[0] == 255);
}

std::optional<Packet> parse_packet(const std::uint8_t* packet, std::size_t size) {
  if (size < ipv4_header_bytes) return std::nullopt;
  const int version = packet[0] >> 4;
  if (version == 4) {
    const std::size_t header = (packet[0] & 15u) * 4u;
    if (header < ipv4_header_bytes || header > size || read16(packet + 2) != size)
      return std::nullopt;
    return Packet{address(false, packet + 12), address(false, packet + 16)};
  }
  if (version != 6 || size < ipv6_header_bytes || read16(packet + 4) + ipv6_header_bytes != size)
    return std::nullopt;
  return Packet{address(true, packet + 8), address(true, packet + 24)};
}

}  // namespace tunorch::worker
