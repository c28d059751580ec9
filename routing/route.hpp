// The route and address nouns, as iproute2 uses the words. Plain data, comparable, printable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "routing/prefix.hpp"

namespace tunorch::routing {

struct Nexthop {
  std::string dev;
  std::optional<Prefix> gateway;  // a host prefix; IPv6 multipath refuses device-only nexthops
  unsigned weight = 1;            // 1…256, as `ip route` counts

  bool operator==(const Nexthop&) const = default;
};

enum class RouteType : std::uint8_t { unicast, unreachable };

struct Route {
  Prefix dst;
  RouteType type = RouteType::unicast;
  std::uint32_t table = 254;  // main
  std::uint32_t metric = 0;   // as the kernel reports it: IPv6 has no 0 (1024 is its default)
  std::optional<Prefix> src;
  std::vector<Nexthop> nexthops;  // sorted by dev; empty for unreachable, and with a nexthop_id
  std::uint32_t nexthop_id = 0;   // of the nexthop group the route uses (RTA_NH_ID); 0: none
  unsigned mtu = 0;               // RTAX_MTU; 0: the device's
  std::uint8_t protocol = 0;      // rtm_protocol; ours is the cluster's `protocol`

  bool operator==(const Route&) const = default;
  /// As `ip route` prints it: "10.0.0.0/8 src 10.77.0.2 metric 5 nexthop dev a-0 weight 3 …".
  std::string text() const;
};

/// An address on a device. Ours carry IFA_PROTO (raw attribute 11) = the cluster's protocol.
struct Address {
  std::string dev;
  Prefix prefix;

  auto operator<=>(const Address&) const = default;
};

}  // namespace tunorch::routing
