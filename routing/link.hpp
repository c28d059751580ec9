// The link nouns: a device as the kernel shows it, and a TUN as we want it. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tunorch::routing {

/// Any network device (ip-link(8)).
/// IPv6 needs packets of this size in bytes to pass whole (RFC 8200, section 5).
inline constexpr unsigned ipv6_least_mtu = 1280;

struct Link {
  std::string name;
  std::vector<std::string> alt_names = {};  // IFLA_ALT_IFNAME: a TUN can have none of these either
  int index = 0;
  std::string alias = {};
  std::string kind;  // IFLA_INFO_KIND: "tun", "veth", …; empty for real hardware and lo
  unsigned mtu = 0;
  unsigned txqueuelen = 0;
  bool admin_up = false;
  bool carrier = false;
  bool multi_queue = false;  // of a TUN
};

/// What a device is doing (IFLA_CARRIER, IFLA_STATS64). Of a TUN, tx is what its process reads.
struct LinkActivity {
  bool carrier = false;
  std::uint64_t rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
};

/// A persistent TUN device of tunorch. `alias` marks it: tunorch:<cluster>/<bundle>/<k>.
struct Tun {
  std::string name;
  std::string alias = {};
  unsigned mtu = 1500;        // 1280…65535
  unsigned txqueuelen = 500;  // packets
  std::uint32_t owner = 0;    // uid that may attach (TUNSETOWNER); never unset
  bool multi_queue = true;    // as its process attaches to it: fixed when it is made

  bool operator==(const Tun&) const = default;
};

}  // namespace tunorch::routing
