#include "routing/netlink_route.hpp"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/attr.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>
#include <tuple>

namespace tunorch::routing {

namespace {

constexpr int rta_nh_id = 30;  // RTA_NH_ID, which libnl 3.7 does not know

using NlAddr = Owned<nl_addr, nl_addr_put>;
using NlRoute = Owned<rtnl_route, rtnl_route_put>;

template <class T>
T* allocated(T* object) {
  if (!object) throw std::bad_alloc();
  return object;
}

int family_of(const Prefix& prefix) {
  return prefix.v6 ? AF_INET6 : AF_INET;
}

NlAddr to_nl(const Prefix& prefix) {
  NlAddr address(
      allocated(nl_addr_build(family_of(prefix), prefix.bytes.data(), prefix.v6 ? 16 : 4)));
  nl_addr_set_prefixlen(address.get(), prefix.length);
  return address;
}

/// An attribute of a whole message with an rtmsg.
std::optional<std::uint32_t> find_number(nlmsghdr* header, int type) {
  if (!nlmsg_valid_hdr(header, sizeof(rtmsg))) return std::nullopt;
  const nlattr* attribute = nlmsg_find_attr(header, sizeof(rtmsg), type);
  if (!attribute || nla_len(attribute) < static_cast<int>(sizeof(std::uint32_t)))
    return std::nullopt;
  return nla_get_u32(attribute);
}

// What libnl 3.7 takes as it comes (lib/route/route_obj.c): a gateway of another family without
// room for one, metrics that are no numbers, and a nexthop of length 0, which it reads for ever.
constexpr auto route_policy = [] {
  std::array<nla_policy, RTA_MAX + 1> policy{};
  policy[RTA_VIA].minlen = sizeof(rtvia) + 4;
  return policy;
}();

bool attributes_are_whole(nlattr* first, int bytes) {
  std::array<nlattr*, RTA_MAX + 1> attributes{};
  if (nla_parse(attributes.data(), RTA_MAX, first, bytes, route_policy.data()) < 0) return false;
  if (!attributes[RTA_METRICS]) return true;
  nlattr* metric = nullptr;
  int left = 0;
  nla_for_each_nested(metric, attributes[RTA_METRICS], left) {
    const bool is_text = nla_type(metric) == RTAX_CC_ALGO;
    if (nla_len(metric) < static_cast<int>(is_text ? 1 : sizeof(std::uint32_t))) return false;
  }
  return true;
}

bool nexthops_are_whole(nlattr* multipath) {
  auto* bytes = static_cast<char*>(nla_data(multipath));
  for (auto left = static_cast<std::size_t>(nla_len(multipath)); left > 0;) {
    rtnexthop nexthop{};
    if (left < sizeof nexthop) return false;
    std::memcpy(&nexthop, bytes, sizeof nexthop);
    if (nexthop.rtnh_len < sizeof nexthop || nexthop.rtnh_len > left ||
        !attributes_are_whole(reinterpret_cast<nlattr*>(bytes + sizeof nexthop),
                              static_cast<int>(nexthop.rtnh_len - sizeof nexthop)))
      return false;
    const std::size_t whole =
        std::min(left, static_cast<std::size_t>(RTNH_ALIGN(nexthop.rtnh_len)));
    bytes += whole;
    left -= whole;
  }
  return true;
}

bool route_is_whole(nlmsghdr* header) {
  if (!nlmsg_valid_hdr(header, sizeof(rtmsg)) ||
      !attributes_are_whole(nlmsg_attrdata(header, sizeof(rtmsg)),
                            nlmsg_attrlen(header, sizeof(rtmsg))))
    return false;
  nlattr* attribute = nullptr;
  int left = 0;
  // libnl takes the last, whatever came before.
  nlmsg_for_each_attr(attribute, header, sizeof(rtmsg), left) {
    if (nla_type(attribute) == RTA_MULTIPATH && !nexthops_are_whole(attribute)) return false;
  }
  return true;
}

// A default route's destination has no bytes at all, only a family.
std::optional<Prefix> from_nl(nl_addr* address) {
  if (!address) return std::nullopt;
  const int family = nl_addr_get_family(address);
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  Prefix prefix;
  prefix.v6 = family == AF_INET6;
  const unsigned size = nl_addr_get_len(address), whole = prefix.v6 ? 16 : 4;
  const unsigned length = nl_addr_get_prefixlen(address);
  if ((size != whole && size != 0) || length > 8 * size) return std::nullopt;
  prefix.length = static_cast<std::uint8_t>(length);
  if (size > 0) std::memcpy(prefix.bytes.data(), nl_addr_get_binary_addr(address), size);
  return prefix;
}

// The kernel counts hops from 0 where `ip route` counts weights from 1 (rtnh_hops), and
// rtnl_route_nh_set_weight() passes hops. These two are the only place that knows.
std::uint8_t hops_of_weight(unsigned weight) {
  if (weight < 1 || weight > 256)
    throw std::system_error(EINVAL, std::generic_category(),
                            "cannot use nexthop weight " + std::to_string(weight));
  return static_cast<std::uint8_t>(weight - 1);
}
unsigned weight_of_hops(std::uint8_t hops) {
  return hops + 1U;
}

void add_nexthop(rtnl_route* route, const Nexthop& nexthop) {
  const unsigned index = if_nametoindex(nexthop.dev.c_str());
  if (index == 0)
    throw std::system_error(ENODEV, std::generic_category(), "cannot route to " + nexthop.dev);
  rtnl_nexthop* raw = allocated(rtnl_route_nh_alloc());
  rtnl_route_add_nexthop(route, raw);  // owns it from here
  rtnl_route_nh_set_ifindex(raw, static_cast<int>(index));
  rtnl_route_nh_set_weight(raw, hops_of_weight(nexthop.weight));
  if (nexthop.gateway) rtnl_route_nh_set_gateway(raw, to_nl(*nexthop.gateway).get());
}

// To an IPv6 delete metric 0 means "any" (net/ipv6/route.c, ip6_route_del), and a new route gets
// the default for it.
std::uint32_t metric_of(const Route& route) {
  constexpr std::uint32_t ipv6_default = 1024;  // IP6_RT_PRIO_USER
  return route.dst.v6 && route.metric == 0 ? ipv6_default : route.metric;
}

// What names a route: prefix, type, table, metric, and whose it is.
NlRoute to_nl_identity(const Route& route, std::uint8_t protocol) {
  NlRoute raw(allocated(rtnl_route_alloc()));
  rtnl_route_set_family(raw.get(), static_cast<std::uint8_t>(family_of(route.dst)));
  rtnl_route_set_dst(raw.get(), to_nl(route.dst.network()).get());
  rtnl_route_set_type(raw.get(),
                      route.type == RouteType::unreachable ? RTN_UNREACHABLE : RTN_UNICAST);
  rtnl_route_set_table(raw.get(), route.table);
  rtnl_route_set_priority(raw.get(), metric_of(route));
  rtnl_route_set_protocol(raw.get(), protocol);
  // Left to libnl's guess, the scope would depend on the nexthops, and a delete without them would
  // not match (net/ipv4/fib_trie.c, fib_table_delete).
  rtnl_route_set_scope(raw.get(), RT_SCOPE_UNIVERSE);
  return raw;
}

Nexthop from_nl(rtnl_nexthop* raw) {
  Nexthop nexthop;
  nexthop.dev = device_name(static_cast<unsigned>(rtnl_route_nh_get_ifindex(raw)));
  nexthop.weight = weight_of_hops(rtnl_route_nh_get_weight(raw));
  nl_addr* gateway = rtnl_route_nh_get_gateway(raw);
  nexthop.gateway = from_nl(gateway ? gateway : rtnl_route_nh_get_via(raw));
  return nexthop;
}

// Members that are dead or linkdown are listed like the others: the route is as complete as it was
// written, and their flags are the kernel's business.
std::vector<Nexthop> nexthops_of(rtnl_route* raw) {
  std::vector<Nexthop> nexthops;
  for (int i = 0; i < rtnl_route_get_nnexthops(raw); ++i)
    nexthops.push_back(from_nl(rtnl_route_nexthop_n(raw, i)));
  std::ranges::sort(nexthops, {}, [](const Nexthop& n) { return std::tie(n.dev, n.gateway); });
  return nexthops;
}

std::optional<RouteType> type_of(rtnl_route* raw) {
  switch (rtnl_route_get_type(raw)) {
    case RTN_UNICAST:
      return RouteType::unicast;
    case RTN_UNREACHABLE:
      return RouteType::unreachable;
    default:
      return std::nullopt;
  }
}

}  // namespace

Message decide_message(const FlowKey& flow, bool whole) {
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(family_of(flow.destination));
  header.rtm_src_len = flow.source.length;
  header.rtm_dst_len = flow.destination.length;
  // Without the second the answer names main, whatever table it is from (inet_rtm_getroute()).
  if (whole) header.rtm_flags |= RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE;
  Message message = make_message(RTM_GETROUTE, 0, header);
  const int size = flow.destination.v6 ? 16 : 4;
  bool fits = nla_put(message.get(), RTA_SRC, size, flow.source.bytes.data()) == 0 &&
              nla_put(message.get(), RTA_DST, size, flow.destination.bytes.data()) == 0;
  if (flow.protocol != 0)
    fits = fits && nla_put_u8(message.get(), RTA_IP_PROTO, flow.protocol) == 0;
  // Ports are in network byte order (net/ipv4/ip_output.c, rtm_getroute_parse_ip_proto and
  // callers).
  if (flow.source_port != 0)
    fits = fits && nla_put_u16(message.get(), RTA_SPORT, htons(flow.source_port)) == 0;
  if (flow.destination_port != 0)
    fits = fits && nla_put_u16(message.get(), RTA_DPORT, htons(flow.destination_port)) == 0;
  if (flow.mark != 0) fits = fits && nla_put_u32(message.get(), RTA_MARK, flow.mark) == 0;
  if (!flow.in_dev.empty())
    fits = fits && nla_put_u32(message.get(), RTA_IIF, if_nametoindex(flow.in_dev.c_str())) == 0;
  if (!fits) throw std::bad_alloc();
  return message;
}

Message new_route_message(const Route& route, std::uint8_t protocol, int flags) {
  const NlRoute raw = to_nl_identity(route, protocol);
  if (route.mtu != 0) rtnl_route_set_metric(raw.get(), RTAX_MTU, route.mtu);
  if (route.src) rtnl_route_set_pref_src(raw.get(), to_nl(*route.src).get());
  for (const Nexthop& nexthop : route.nexthops) add_nexthop(raw.get(), nexthop);
  nl_msg* built = nullptr;
  if (rtnl_route_build_add_request(raw.get(), flags, &built) < 0) throw std::bad_alloc();
  Message message(built);
  if (route.nexthop_id == 0) return message;
  bool fits = nla_put_u32(message.get(), rta_nh_id, route.nexthop_id) == 0;
  // A route by a nexthop object without any metrics would be taken for one that is there with some
  // (net/ipv4/fib_semantics.c, fib_find_info_nh() does not compare them): say that it has none.
  if (route.mtu == 0) fits = fits && nla_put(message.get(), RTA_METRICS, 0, nullptr) == 0;
  if (!fits) throw std::bad_alloc();
  return message;
}

Message delete_route_message(const Route& route, std::uint8_t protocol) {
  const NlRoute raw = to_nl_identity(route, protocol);
  nl_msg* message = nullptr;
  if (rtnl_route_build_del_request(raw.get(), 0, &message) < 0) throw std::bad_alloc();
  return Message(message);
}

Message dump_routes_message(int family, std::uint32_t table) {
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(family);
  Message message = make_message(RTM_GETROUTE, NLM_F_DUMP, header);
  if (nla_put_u32(message.get(), RTA_TABLE, table) < 0) throw std::bad_alloc();
  return message;
}

std::optional<Route> parse_route(nlmsghdr* header, std::uint32_t table) {
  if (!route_is_whole(header)) return std::nullopt;
  rtnl_route* parsed = nullptr;
  if (rtnl_route_parse(header, &parsed) < 0) return std::nullopt;
  const NlRoute raw(parsed);
  const auto type = type_of(raw.get());
  const auto dst = from_nl(rtnl_route_get_dst(raw.get()));
  if (!type || !dst || (table != 0 && rtnl_route_get_table(raw.get()) != table) ||
      (rtnl_route_get_flags(raw.get()) & RTM_F_CLONED) != 0)
    return std::nullopt;

  Route route;
  route.dst = *dst;
  route.type = *type;
  route.table = rtnl_route_get_table(raw.get());
  route.metric = rtnl_route_get_priority(raw.get());
  route.src = from_nl(rtnl_route_get_pref_src(raw.get()));
  rtnl_route_get_metric(raw.get(), RTAX_MTU, &route.mtu);  // as it is where there is none
  route.protocol = rtnl_route_get_protocol(raw.get());
  // An unreachable IPv6 route is shown with dev lo (net/ipv6/route.c, fib6_nh_init).
  if (const auto id = find_number(header, rta_nh_id))
    route.nexthop_id = *id;
  else if (*type == RouteType::unicast)
    route.nexthops = nexthops_of(raw.get());
  return route;
}

std::optional<std::string> parse_device(nlmsghdr* header) {
  const auto index = find_number(header, RTA_OIF);
  return index ? std::optional(device_name(*index)) : std::nullopt;
}

std::string device_name(unsigned index) {
  std::array<char, IF_NAMESIZE> name{};
  return if_indextoname(index, name.data()) ? name.data() : "if" + std::to_string(index);
}

}  // namespace tunorch::routing
