// An IPv4 or IPv6 address with a prefix length: the one address type of routing and orchestrator.
// Parses and prints; knows nothing of devices or of the kernel.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tunorch::routing {

/// Host bits are kept as given: an interface address is a Prefix too.
struct Prefix {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 uses the first four
  std::uint8_t length = 0;               // 0…32 or 0…128

  /// "10.0.0.0/8", "fd00::/8", or a bare address (then the full length). Nothing for anything else.
  static std::optional<Prefix> parse(std::string_view text);

  std::string text() const;          // "10.0.0.0/8"
  std::string address_text() const;  // "10.0.0.0"
  bool is_host() const { return length == (v6 ? 128 : 32); }
  Prefix network() const;      // the same with the host bits cleared
  bool has_host_bits() const;  // bits set beyond the length
  bool contains(const Prefix& inner) const;

  auto operator<=>(const Prefix&) const = default;
};

}  // namespace tunorch::routing
