// Reads what we need of an IPv4 or IPv6 header (RFC 791, RFC 8200). Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tunorch::worker {

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
