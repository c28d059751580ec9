// Nexthops as rtnetlink messages and back (include/uapi/linux/nexthop.h): libnl 3.7 knows none of
// it. Sends nothing. Private to netlink.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "routing/netlink_socket.hpp"
#include "routing/nexthop.hpp"

namespace tunorch::routing {

Message new_nexthop_message(const NexthopObject& nexthop, std::uint8_t protocol, int flags);
Message new_group_message(const NexthopGroup& group, std::uint8_t protocol, int flags);
Message delete_nexthop_message(std::uint32_t id);
Message dump_nexthops_message();
Message dump_buckets_message(std::uint32_t group);
/// One group with its members' packet counts.
Message get_counters_message(std::uint32_t group);

/// Nothing for what carries another protocol or is of another kind.
std::optional<NexthopObject> parse_nexthop(nlmsghdr* header, std::uint8_t protocol);
std::optional<NexthopGroup> parse_group(nlmsghdr* header, std::uint8_t protocol);

struct Bucket {
  std::uint32_t member = 0;
  std::chrono::milliseconds idle{0};
};
std::optional<Bucket> parse_bucket(nlmsghdr* header);
/// Packets by member; empty where the kernel did not tell.
std::map<std::uint32_t, std::uint64_t> parse_counters(nlmsghdr* header);

}  // namespace tunorch::routing
