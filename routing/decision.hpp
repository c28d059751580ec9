// A flow as the kernel's route lookup sees it, and what the kernel decides for it. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "routing/prefix.hpp"
#include "routing/route.hpp"

namespace tunorch::routing {

struct FlowKey {
  Prefix source, destination;  // host prefixes of one family
  std::uint8_t protocol = 0;   // IPPROTO_TCP, _UDP, _ICMP, …; 0: not given
  std::uint16_t source_port = 0, destination_port = 0;  // 0: not given
  std::uint32_t mark = 0;
  std::string in_dev;  // it comes in by this device; empty: it is sent by this host
};

struct Decision {
  int error = 0;               // errno of the lookup: ENETUNREACH, EHOSTUNREACH, …; 0: routed
  std::optional<Route> route;  // the route that matches (RTM_F_FIB_MATCH)
  std::string dev;             // the device picked among its nexthops for this flow
};

}  // namespace tunorch::routing
