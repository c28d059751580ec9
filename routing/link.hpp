// The link nouns: a device as the kernel shows it, and a TUN as we want it. Plain data.
#pragma once

#include <cstdint>
#include <string>

namespace tunorch::routing {

/// Any network device (ip-link(8)).
struct Link {
  std::string name;
  int index = 0;
  std::string alias;
  std::string kind;  // IFLA_INFO_KIND: "tun", "veth", …; empty for real hardware and lo
  unsigned mtu = 0;
  unsigned txqueuelen = 0;
  bool admin_up = false;
  bool carrier = false;
};

/// A persistent TUN of ours. `alias` marks it: tunorch:<cluster>/<bundle>/<k>.
struct Tun {
  std::string name;
  std::string alias;
  unsigned mtu = 1500;        // 1280…65535
  unsigned txqueuelen = 500;  // packets
  std::uint32_t owner = 0;    // uid that may attach (TUNSETOWNER); never unset

  bool operator==(const Tun&) const = default;
};

}  // namespace tunorch::routing
