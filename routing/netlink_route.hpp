// Route as libnl-route's rtnl_route and back: a pure translation but for the device names, which
// the kernel looks up. Sends nothing. Private to netlink.cpp, apart from it for its size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "routing/decision.hpp"
#include "routing/netlink_socket.hpp"
#include "routing/route.hpp"

namespace tunorch::routing {

/// RTM_NEWROUTE with these flags (NLM_F_CREATE, …). Throws ENODEV for a nexthop without device.
Message new_route_message(const Route& route, std::uint8_t protocol, int flags);
/// RTM_DELROUTE for the route of this prefix, type, table, metric and protocol.
Message delete_route_message(const Route& route, std::uint8_t protocol);
/// A dump of one family's routes of one table; 0: of all tables.
Message dump_routes_message(int family, std::uint32_t table);

/// The route that a packet would take: with `whole` the one that matches, else the nexthop of it.
Message decide_message(const FlowKey& flow, bool whole);

/// Nothing for what routes() does not list: other types, other tables (0: none is), cached
/// exceptions.
std::optional<Route> parse_route(nlmsghdr* header, std::uint32_t table);

/// RTA_OIF by name, of an answer to decide_message(); nothing where it has none.
std::optional<std::string> parse_device(nlmsghdr* header);

std::string device_name(unsigned index);  // "if7" for one that is gone, as iproute2 prints it

}  // namespace tunorch::routing
