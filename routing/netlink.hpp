// rtnetlink (rtnetlink(7)) through libnl-3 and libnl-route: reads and writes links, addresses,
// routes, rules and nexthops of the network namespace it was opened in. libnl is known only to it
// and to routing/netlink_*, which are private to it but for netlink_monitor.
//
// Every write is acknowledged by the kernel before it returns; failures are std::system_error with
// the kernel's errno and a text "cannot <verb> <object>: <kernel's words>".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "routing/decision.hpp"
#include "routing/link.hpp"
#include "routing/nexthop.hpp"
#include "routing/route.hpp"
#include "routing/rule.hpp"

namespace tunorch::routing {

class Netlink {
 public:
  /// `protocol` marks what we make (rtm_protocol, IFA_PROTO) and filters what we read; not 0.
  explicit Netlink(std::uint8_t protocol);
  ~Netlink();
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  std::vector<Link> links();
  /// Addresses that carry our IFA_PROTO, on any device.
  std::vector<Address> addresses();
  /// Addresses whatever their protocol, on any device (to name conflicts).
  std::vector<Address> all_addresses();
  /// Every IPv4 and IPv6 unicast and unreachable route of `table` (0: of all), ours and foreign,
  /// sorted by dst.
  /// Nexthop flags (dead, linkdown) are not part of it, and a lone nexthop has weight 1.
  std::vector<Route> routes(std::uint32_t table = 254);
  /// Devices that hold an IPv6 default route learned from router advertisements (RTPROT_RA).
  std::vector<std::string> ra_default_devices();

  void set_mtu(const std::string& dev, unsigned mtu);
  void set_txqueuelen(const std::string& dev, unsigned packets);
  void set_alias(const std::string& dev, const std::string& alias);
  /// IN6_ADDR_GEN_MODE_NONE: no link-local address, so no router solicitations into the tunnel.
  void set_no_link_local(const std::string& dev);
  void set_up(const std::string& dev);
  void delete_link(const std::string& dev);

  void add_address(const Address& address);
  void delete_address(const Address& address);

  // Written routes carry the Netlink's protocol, whatever Route::protocol says. `src` must be an
  // address of this host already, and the nexthops' devices up.

  /// CREATE|EXCL: EEXIST where any route has the same prefix, table and metric; the text names it.
  void add_route(const Route& route);
  /// Swaps the whole set of nexthops atomically, or makes the route if the kernel dropped it. Only
  /// for a route known to be ours.
  void replace_route(const Route& route);
  /// Deletes the route with this prefix, type, table and metric if it carries our protocol; ESRCH
  /// where there is none.
  void delete_route(const Route& route);

  // Nexthops (ip-nexthop(8)): objects and resilient groups. Written ones carry the Netlink's
  // protocol, and only those with it are read.

  /// Tries what the kernel takes with nexthops of ids just above `scratch_id` on lo, and leaves
  /// none behind. Never throws for what is missing: that is the answer.
  NexthopAbilities probe_nexthops(std::uint32_t scratch_id);

  std::vector<NexthopObject> nexthops();
  std::vector<NexthopGroup> nexthop_groups();

  /// CREATE|EXCL: EEXIST where the id is taken by anybody.
  void add_nexthop(const NexthopObject& nexthop);
  void add_nexthop_group(const NexthopGroup& group);
  /// Swaps members and timers atomically; the number of buckets stays as it was made.
  void replace_nexthop_group(const NexthopGroup& group);
  /// An object (which leaves its groups; the last one takes a group along) or a group (which takes
  /// its routes along). ENOENT where there is none.
  void delete_nexthop(std::uint32_t id);

  /// How a resilient group's buckets are spread now, by member, sorted by id.
  std::vector<BucketShare> bucket_shares(std::uint32_t group);
  /// Packets since the group was last replaced, by member; empty where the kernel does not count.
  std::map<std::uint32_t, std::uint64_t> group_packets(std::uint32_t group);

  /// Rules of ours (FRA_PROTOCOL), both families, sorted.
  std::vector<Rule> rules();
  /// Everybody else's, both families, sorted.
  std::vector<OtherRule> other_rules();
  void add_rule(const Rule& rule);
  void delete_rule(const Rule& rule);

  /// What the kernel would do with a packet, as `ip route get … fibmatch` and without: the route
  /// that matches and the device it picks.
  Decision decide(const FlowKey& flow);

  /// Throws std::system_error (ENODEV) where there is no such device. To ask makes the kernel act
  /// on a change of its carrier, as with carrier().
  LinkActivity activity(const std::string& dev);
  /// Whether the device has carrier. To ask makes the kernel act at once on a change that it would
  /// else notice up to a second later (net/core/rtnetlink.c, rtnl_getlink: linkwatch_sync_dev).
  bool carrier(const std::string& dev);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tunorch::routing
