// Numbers that are reserved for tunorch on a host: users, ids of nexthops, rule preferences, the
// routing table and the mark. What cluster files may use is checked against them.
#pragma once

#include <cstdint>

namespace tunorch {

/// Link subnets that link_net is cut into: one per tunnel of a node.
inline constexpr unsigned link_slots = 64;

/// Uids of the workers: one per link slot, from a range no distribution assigns
/// (systemd.io/UIDS-GIDS: above the container ranges, below 2^31).
inline constexpr std::uint32_t worker_uid_base = 1'880'000'000;

/// The next one is tunorch-web's.
inline constexpr std::uint32_t web_uid = worker_uid_base + link_slots;

/// Ids of nexthops, from a range of our own: one per link slot, and two per peer for its group.
inline constexpr std::uint32_t nexthop_id_base = 1'160'000'000;
inline constexpr std::uint32_t group_id_base = 1'161'000'000;

/// The table of full tunnels (a /0), and the mark of a listener's own connections, which must not
/// go into it.
inline constexpr std::uint32_t full_tunnel_table = 116;
inline constexpr std::uint32_t own_connections_mark = 0x74756e6f;

/// Preferences of our rules, in the order they are asked; before main's 32766.
inline constexpr std::uint32_t own_connections_preference = 11'600;
inline constexpr std::uint32_t way_in_preference = 11'610;
inline constexpr std::uint32_t policy_rule_preference = 11'620;
inline constexpr std::uint32_t specific_routes_preference = 11'630;
inline constexpr std::uint32_t full_tunnel_preference = 11'640;

/// Metric of the `unreachable` fallback: above anything people give their own routes.
inline constexpr std::uint32_t fallback_metric = 4'000'000'116;

}  // namespace tunorch
