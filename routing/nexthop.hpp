// The nexthop nouns, as ip-nexthop(8) uses the words: an object over one device, and a group of
// them that routes of both families share. Plain data, comparable, printable.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace tunorch::routing {

/// A nexthop with a device and no gateway. It is made as AF_INET6 and so serves IPv4 and IPv6
/// routes alike (kernel: net/ipv4/nexthop.c). The kernel refuses a device without carrier, and
/// deletes the nexthop, in its groups too, when the device loses it.
struct NexthopObject {
  std::uint32_t id = 0;
  std::string dev;

  bool operator==(const NexthopObject&) const = default;
};

struct GroupMember {
  std::uint32_t id = 0;  // of a NexthopObject
  unsigned weight = 1;   // 1…65535; up to 256 before Linux 6.12

  bool operator==(const GroupMember&) const = default;
};

/// A resilient group: a flow's bucket stays with its member until that one goes, or until it was
/// unused for `idle_timer` and another member lacks buckets.
struct NexthopGroup {
  std::uint32_t id = 0;
  std::uint16_t buckets = 256;                    // fixed once the group is made
  std::chrono::milliseconds idle_timer{1000};     // in whole 10 ms, as the kernel keeps it
  std::chrono::milliseconds unbalanced_timer{0};  // 0: busy buckets never move
  std::vector<GroupMember> members;               // in the order given; never empty

  bool operator==(const NexthopGroup&) const = default;
  /// "1164000002 buckets 256 idle_timer 1s member 1160000014 weight 3 …".
  std::string text() const;
};

/// What the kernel here can do with nexthops, found by trying.
struct NexthopAbilities {
  bool resilient = false;     // objects, groups and resilient ones
  bool wide_weights = false;  // weights above 256
  bool counters = false;      // packets counted by member (NHA_GROUP_STATS)
  std::string reason;         // the kernel's words where `resilient` is not there

  bool operator==(const NexthopAbilities&) const = default;
};

/// One member's part in a resilient group.
struct BucketShare {
  std::uint32_t id = 0;  // of the member
  unsigned buckets = 0;
  unsigned busy = 0;  // of them used within the idle timer
};

}  // namespace tunorch::routing
