// Policy rules as rtnetlink messages and back (include/uapi/linux/fib_rules.h): libnl-route 3.7
// lacks the uid range. Sends nothing. Private to netlink.cpp.
#pragma once

#include <cstdint>
#include <optional>

#include "routing/netlink_socket.hpp"
#include "routing/rule.hpp"

namespace tunorch::routing {

/// RTM_NEWRULE or RTM_DELRULE; it carries the protocol (FRA_PROTOCOL).
Message rule_message(int type, int flags, const Rule& rule, std::uint8_t protocol);
Message dump_rules_message(int family);

/// Nothing for a rule that carries another protocol.
std::optional<Rule> parse_rule(nlmsghdr* header, std::uint8_t protocol);
/// Nothing for a rule that carries this protocol.
std::optional<ForeignRule> parse_foreign_rule(nlmsghdr* header, std::uint8_t protocol);

}  // namespace tunorch::routing
