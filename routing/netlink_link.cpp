#include "routing/netlink_link.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "routing/netlink_route.hpp"

namespace tunorch::routing {
namespace {

using LinkAttributes = std::array<nlattr*, IFLA_MAX + 1>;

constexpr auto link_policy = [] {
  std::array<nla_policy, IFLA_MAX + 1> policy{};
  policy[IFLA_IFNAME].type = policy[IFLA_IFALIAS].type = NLA_STRING;
  policy[IFLA_MTU].type = policy[IFLA_TXQLEN].type = NLA_U32;
  policy[IFLA_CARRIER].type = NLA_U8;
  return policy;
}();
constexpr auto kind_policy = [] {
  std::array<nla_policy, IFLA_INFO_MAX + 1> policy{};
  policy[IFLA_INFO_KIND].type = NLA_STRING;
  return policy;
}();
constexpr auto tun_policy = [] {
  std::array<nla_policy, IFLA_TUN_MAX + 1> policy{};
  policy[IFLA_TUN_MULTI_QUEUE].type = NLA_U8;
  return policy;
}();
constexpr auto address_policy = [] {
  std::array<nla_policy, ifa_proto + 1> policy{};
  policy[ifa_proto].type = NLA_U8;
  return policy;
}();

bool is_text(const nlattr* attribute) {
  const auto length = static_cast<std::size_t>(nla_len(attribute));
  return ::memchr(nla_data(attribute), 0, length) != nullptr;
}

std::string text_of(const nlattr* attribute) {
  return attribute ? nla_get_string(attribute) : std::string();
}

unsigned number_of(const nlattr* attribute) {
  return attribute ? nla_get_u32(attribute) : 0;
}

void parse_kind(nlattr* link_info, Link& link) {
  std::array<nlattr*, IFLA_INFO_MAX + 1> attributes{};
  if (!link_info ||
      nla_parse_nested(attributes.data(), IFLA_INFO_MAX, link_info, kind_policy.data()) < 0)
    return;
  link.kind = text_of(attributes[IFLA_INFO_KIND]);
  std::array<nlattr*, IFLA_TUN_MAX + 1> tun{};
  if (link.kind != "tun" || !attributes[IFLA_INFO_DATA] ||
      nla_parse_nested(tun.data(), IFLA_TUN_MAX, attributes[IFLA_INFO_DATA], tun_policy.data()) < 0)
    return;
  link.multi_queue = tun[IFLA_TUN_MULTI_QUEUE] && nla_get_u8(tun[IFLA_TUN_MULTI_QUEUE]) != 0;
}

}  // namespace

std::optional<Link> parse_link(nlmsghdr* header) {
  LinkAttributes attributes{};
  if (nlmsg_parse(header, sizeof(ifinfomsg), attributes.data(), IFLA_MAX, link_policy.data()) < 0)
    return std::nullopt;
  const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  Link link;
  link.name = text_of(attributes[IFLA_IFNAME]);
  int left = attributes[IFLA_PROP_LIST] ? nla_len(attributes[IFLA_PROP_LIST]) : 0;
  for (auto* one = left > 0 ? static_cast<nlattr*>(nla_data(attributes[IFLA_PROP_LIST])) : nullptr;
       left > 0 && nla_ok(one, left); one = nla_next(one, &left))
    if (nla_type(one) == IFLA_ALT_IFNAME && is_text(one))
      link.alt_names.push_back(nla_get_string(one));
  link.index = info->ifi_index;
  link.alias = text_of(attributes[IFLA_IFALIAS]);
  parse_kind(attributes[IFLA_LINKINFO], link);
  link.mtu = number_of(attributes[IFLA_MTU]);
  link.txqueuelen = number_of(attributes[IFLA_TXQLEN]);
  link.admin_up = (info->ifi_flags & IFF_UP) != 0;
  link.carrier = attributes[IFLA_CARRIER] && nla_get_u8(attributes[IFLA_CARRIER]) != 0;
  return link;
}

void parse_activity(nlmsghdr* header, LinkActivity& activity) {
  LinkAttributes attributes{};
  if (nlmsg_parse(header, sizeof(ifinfomsg), attributes.data(), IFLA_MAX, link_policy.data()) < 0)
    return;
  activity.carrier = attributes[IFLA_CARRIER] && nla_get_u8(attributes[IFLA_CARRIER]) != 0;
  rtnl_link_stats64 stats{};
  if (!attributes[IFLA_STATS64]) return;
  std::memcpy(&stats, nla_data(attributes[IFLA_STATS64]),
              std::min(sizeof stats, static_cast<std::size_t>(nla_len(attributes[IFLA_STATS64]))));
  activity.rx_packets = stats.rx_packets;
  activity.tx_packets = stats.tx_packets;
  activity.rx_bytes = stats.rx_bytes;
  activity.tx_bytes = stats.tx_bytes;
}

std::optional<MarkedAddress> parse_address(nlmsghdr* header) {
  std::array<nlattr*, ifa_proto + 1> attributes{};
  if (nlmsg_parse(header, sizeof(ifaddrmsg), attributes.data(), ifa_proto, address_policy.data()) <
      0)
    return std::nullopt;
  const auto* info = static_cast<const ifaddrmsg*>(nlmsg_data(header));
  if (info->ifa_family != AF_INET && info->ifa_family != AF_INET6) return std::nullopt;
  // On a point-to-point address IFA_ADDRESS is the peer and IFA_LOCAL ours (rtnetlink(7)).
  const nlattr* bytes = attributes[IFA_LOCAL] ? attributes[IFA_LOCAL] : attributes[IFA_ADDRESS];
  if (!bytes) return std::nullopt;

  MarkedAddress marked;
  Prefix& prefix = marked.address.prefix;
  prefix.v6 = info->ifa_family == AF_INET6;
  prefix.length = info->ifa_prefixlen;
  if (nla_len(bytes) != (prefix.v6 ? 16 : 4) || prefix.length > (prefix.v6 ? 128 : 32))
    return std::nullopt;
  std::memcpy(prefix.bytes.data(), nla_data(bytes), static_cast<std::size_t>(nla_len(bytes)));
  marked.address.dev = device_name(info->ifa_index);
  if (attributes[ifa_proto]) marked.protocol = nla_get_u8(attributes[ifa_proto]);
  return marked;
}

}  // namespace tunorch::routing
