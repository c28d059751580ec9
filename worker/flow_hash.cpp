#include "worker/flow_hash.hpp"

#include "worker/packet.hpp"

namespace tunorch::worker {
namespace {

std::uint32_t read32(const std::uint8_t* from) {
  return read16(from) << 16 | read16(from + 2);
}

std::uint32_t mix_pair(std::uint32_t hash, std::uint32_t left, std::uint32_t right) {
  return (hash + (left ^ right)) * 0x9e3779b1u + (left + right) * 0x85ebca6bu;
}

std::uint32_t address6(const std::uint8_t* from) {
  std::uint32_t folded = 0;
  for (std::size_t word = 0; word < 16; word += 4)
    folded = folded * 0xc2b2ae35u ^ read32(from + word);
  return folded;
}

}  // namespace

std::uint32_t flow_hash(const std::uint8_t* packet, std::size_t size) {
  if (size < ipv4_header_bytes) return 0;
  const int version = packet[0] >> 4;
  std::uint32_t hash = 0;
  std::uint8_t protocol = 0;
  std::size_t ports_at = 0;
  bool fragment = false;
  if (version == 4) {
    ports_at = (packet[0] & 15u) * 4u;
    protocol = packet[9];
    hash = mix_pair(0, read32(packet + 12), read32(packet + 16));
    fragment = (read16(packet + 6) & 0x3fff) != 0;
  } else if (version == 6 && size >= ipv6_header_bytes) {
    ports_at = ipv6_header_bytes;
    protocol = packet[6];
    hash = mix_pair(0, address6(packet + 8), address6(packet + 24));
  } else {
    return 0;
  }
  if (!fragment && (protocol == protocol_tcp || protocol == protocol_udp)) {
    if (ports_at + 4 > size) return 0;
    hash = mix_pair(hash, read16(packet + ports_at), read16(packet + ports_at + 2));
  }
  hash += protocol;
  return ((hash ^ hash >> 15) * 0x27d4eb2fu) >> 16;
}

}  // namespace tunorch::worker
