// Reads what we need of an IPv4 or IPv6 header (RFC 791, RFC 8200). Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunorch::worker {

inline constexpr std::uint8_t protocol_tcp = 6, protocol_udp = 17;
/// Without options and extension headers.
inline constexpr std::size_t ipv4_header_bytes = 20, ipv6_header_bytes = 40, udp_header_bytes = 8;

inline bool is_v4(const std::uint8_t* packet) {
  return packet[0] >> 4 == 4;
}

/// Network order.
inline std::uint32_t read16(const std::uint8_t* from) {
  return std::uint32_t{from[0]} << 8 | from[1];
}

inline void write16(std::uint8_t* to, std::uint32_t value) {
  to[0] = static_cast<std::uint8_t>(value >> 8);
  to[1] = static_cast<std::uint8_t>(value);
}

struct IpAddress {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 uses the first four

  bool operator==(const IpAddress&) const = default;
  /// 224.0.0.0/4, 255.255.255.255 and ff00::/8: nothing a tunnel carries.
  bool is_multicast() const;
};

struct Packet {
  IpAddress source, destination;
};

/// Nothing where it is neither, or its length field is not `size`.
std::optional<Packet> parse_packet(const std::uint8_t* packet, std::size_t size);

}  // namespace tunorch::worker
