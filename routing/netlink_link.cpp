#include "routing/netlink_link.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace tunorch::routing {
namespace {

using LinkAttributes = std::array<nlattr*, IFLA_MAX + 1>;

std::string text_of(const nlattr* attribute) {
  return attribute ? nla_get_string(attribute) : std::string();
}

unsigned number_of(const nlattr* attribute) {
  return attribute ? nla_get_u32(attribute) : 0;
}

void parse_kind(nlattr* link_info, Link& link) {
  std::array<nlattr*, IFLA_INFO_MAX + 1> attributes{};
  if (!link_info || nla_parse_nested(attributes.data(), IFLA_INFO_MAX, link_info, nullptr) < 0)
    return;
  link.kind = text_of(attributes[IFLA_INFO_KIND]);
  std::array<nlattr*, IFLA_TUN_MAX + 1> tun{};
  if (link.kind != "tun" || !attributes[IFLA_INFO_DATA] ||
      nla_parse_nested(tun.data(), IFLA_TUN_MAX, attributes[IFLA_INFO_DATA], nullptr) < 0)
    return;
  link.multi_queue = tun[IFLA_TUN_MULTI_QUEUE] && nla_get_u8(tun[IFLA_TUN_MULTI_QUEUE]) != 0;
}

}  // namespace

std::optional<Link> parse_link(nlmsghdr* header) {
  LinkAttributes attributes{};
  if (nlmsg_parse(header, sizeof(ifinfomsg), attributes.data(), IFLA_MAX, nullptr) < 0)
    return std::nullopt;
  const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  Link link;
  link.name = text_of(attributes[IFLA_IFNAME]);
  int left = attributes[IFLA_PROP_LIST] ? nla_len(attributes[IFLA_PROP_LIST]) : 0;
  for (auto* one = left ? static_cast<nlattr*>(nla_data(attributes[IFLA_PROP_LIST])) : nullptr;
       nla_ok(one, left); one = nla_next(one, &left))
    if (nla_type(one) == IFLA_ALT_IFNAME) link.alt_names.push_back(nla_get_string(one));
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
  if (nlmsg_parse(header, sizeof(ifinfomsg), attributes.data(), IFLA_MAX, nullptr) < 0) return;
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

}  // namespace tunorch::routing
