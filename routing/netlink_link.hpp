// Links and addresses as rtnetlink messages tell them (include/uapi/linux/if_link.h, if_addr.h).
// Reads one message; sends nothing. Private to netlink.cpp, apart from it for its size.
#pragma once

#include <cstdint>
#include <optional>

#include "routing/link.hpp"
#include "routing/netlink.hpp"
#include "routing/netlink_socket.hpp"

namespace tunorch::routing {

// include/uapi/linux/if_addr.h; by number, for libnl 3.7 does not know it and headers before 5.18
// lack it. Kernels that do not know it ignore it: such an address is not found by its mark.
inline constexpr int ifa_proto = 11;

struct MarkedAddress {
  Address address;
  std::uint8_t protocol = 0;  // 0: it has no mark
};

/// Nothing for a message that is not whole, here and below: an attribute too short for its type, a
/// text without an end.
std::optional<Link> parse_link(nlmsghdr* header);
/// Of the same message; what it does not tell stays as it was.
void parse_activity(nlmsghdr* header, LinkActivity& activity);

/// Nothing for other families than IPv4 and IPv6.
std::optional<MarkedAddress> parse_address(nlmsghdr* header);

}  // namespace tunorch::routing
