// Devices as netlink messages (rtnetlink(7)), read. Private to netlink.cpp.
#pragma once

#include <optional>

#include "routing/link.hpp"
#include "routing/netlink_socket.hpp"

namespace tunorch::routing {

/// Nothing for a message that cannot be read.
std::optional<Link> parse_link(nlmsghdr* header);
/// Leaves what the message does not tell as it is.
void parse_activity(nlmsghdr* header, LinkActivity& activity);

}  // namespace tunorch::routing
