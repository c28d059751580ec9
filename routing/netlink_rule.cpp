#include "routing/netlink_rule.hpp"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <array>
#include <cstring>
#include <new>

namespace tunorch::routing {
namespace {

constexpr std::uint32_t whole_mask = 0xffffffff;

void check(int libnl_result) {
  if (libnl_result < 0) throw std::bad_alloc();  // the nla_put family fails only for want of room
}

/// Nothing where its length is not the family's.
std::optional<Prefix> prefix_of(const nlattr* bytes, std::uint8_t length, bool v6) {
  if (!bytes || nla_len(bytes) != (v6 ? 16 : 4) || length > (v6 ? 128 : 32)) return std::nullopt;
  Prefix prefix;
  prefix.v6 = v6;
  prefix.length = length;
  std::memcpy(prefix.bytes.data(), nla_data(bytes), static_cast<std::size_t>(nla_len(bytes)));
  return prefix;
}

std::uint8_t protocol_of(const nlattr* attribute) {
  return attribute ? nla_get_u8(attribute) : 0;
}

constexpr auto rule_policy = [] {
  std::array<nla_policy, FRA_MAX + 1> policy{};
  policy[FRA_PROTOCOL].type = NLA_U8;
  for (const int number : {FRA_TABLE, FRA_PRIORITY, FRA_FWMARK, FRA_SUPPRESS_PREFIXLEN})
    policy[static_cast<std::size_t>(number)].type = NLA_U32;
  return policy;
}();

}  // namespace

Message rule_message(int type, int flags, const Rule& rule, std::uint8_t protocol) {
  fib_rule_hdr header{};
  header.family = rule.v6 ? AF_INET6 : AF_INET;
  header.action = FR_ACT_TO_TBL;
  header.table = RT_TABLE_UNSPEC;
  if (rule.from) header.src_len = rule.from->length;
  Message message = make_message(type, flags, header);
  check(nla_put_u32(message.get(), FRA_TABLE, rule.table));
  check(nla_put_u32(message.get(), FRA_PRIORITY, rule.preference));
  check(nla_put_u8(message.get(), FRA_PROTOCOL, protocol));
  if (rule.from) check(nla_put(message.get(), FRA_SRC, rule.v6 ? 16 : 4, rule.from->bytes.data()));
  if (rule.fwmark != 0) {
    check(nla_put_u32(message.get(), FRA_FWMARK, rule.fwmark));
    check(nla_put_u32(message.get(), FRA_FWMASK, whole_mask));
  }
  if (rule.uid_first && rule.uid_last) {
    const fib_rule_uid_range range{*rule.uid_first, *rule.uid_last};
    check(nla_put(message.get(), FRA_UID_RANGE, sizeof range, &range));
  }
  if (rule.suppress_prefixlength)
    check(nla_put_u32(message.get(), FRA_SUPPRESS_PREFIXLEN,
                      static_cast<std::uint32_t>(*rule.suppress_prefixlength)));
  return message;
}

Message dump_rules_message(int family) {
  fib_rule_hdr header{};
  header.family = static_cast<std::uint8_t>(family);
  return make_message(RTM_GETRULE, NLM_F_DUMP, header);
}

std::optional<Rule> parse_rule(nlmsghdr* header, std::uint8_t protocol) {
  std::array<nlattr*, FRA_MAX + 1> attributes{};
  if (nlmsg_parse(header, sizeof(fib_rule_hdr), attributes.data(), FRA_MAX, rule_policy.data()) < 0)
    return std::nullopt;
  if (protocol_of(attributes[FRA_PROTOCOL]) != protocol) return std::nullopt;
  const auto* info = static_cast<const fib_rule_hdr*>(nlmsg_data(header));
  Rule rule;
  rule.v6 = info->family == AF_INET6;
  rule.table = attributes[FRA_TABLE] ? nla_get_u32(attributes[FRA_TABLE]) : info->table;
  if (attributes[FRA_PRIORITY]) rule.preference = nla_get_u32(attributes[FRA_PRIORITY]);
  rule.from = prefix_of(attributes[FRA_SRC], info->src_len, rule.v6);
  if (attributes[FRA_SRC] && !rule.from) return std::nullopt;
  if (attributes[FRA_FWMARK]) rule.fwmark = nla_get_u32(attributes[FRA_FWMARK]);
  if (const nlattr* uids = attributes[FRA_UID_RANGE];
      uids && nla_len(uids) >= static_cast<int>(sizeof(fib_rule_uid_range))) {
    fib_rule_uid_range range{};
    std::memcpy(&range, nla_data(uids), sizeof range);
    rule.uid_first = range.start;
    rule.uid_last = range.end;
  }
  if (attributes[FRA_SUPPRESS_PREFIXLEN])
    // -1: nothing is suppressed (net/core/fib_rules.c, fib_nl_fill_rule)
    if (const auto length = static_cast<int>(nla_get_u32(attributes[FRA_SUPPRESS_PREFIXLEN]));
        length >= 0)
      rule.suppress_prefixlength = length;
  return rule;
}

std::optional<OtherRule> parse_other_rule(nlmsghdr* header, std::uint8_t protocol) {
  std::array<nlattr*, FRA_MAX + 1> attributes{};
  if (nlmsg_parse(header, sizeof(fib_rule_hdr), attributes.data(), FRA_MAX, rule_policy.data()) < 0)
    return std::nullopt;
  const auto* info = static_cast<const fib_rule_hdr*>(nlmsg_data(header));
  OtherRule rule;
  rule.protocol = protocol_of(attributes[FRA_PROTOCOL]);
  if (rule.protocol == protocol) return std::nullopt;
  rule.v6 = info->family == AF_INET6;
  if (info->action == FR_ACT_TO_TBL)
    rule.table = attributes[FRA_TABLE] ? nla_get_u32(attributes[FRA_TABLE]) : info->table;
  if (attributes[FRA_PRIORITY]) rule.preference = nla_get_u32(attributes[FRA_PRIORITY]);
  rule.from = prefix_of(attributes[FRA_SRC], info->src_len, rule.v6);
  rule.to = prefix_of(attributes[FRA_DST], info->dst_len, rule.v6);
  rule.narrow = info->tos != 0 || (info->flags & FIB_RULE_INVERT) != 0;
  for (const int selector :
       {FRA_IIFNAME, FRA_OIFNAME, FRA_FWMARK, FRA_TUN_ID, FRA_L3MDEV, FRA_UID_RANGE, FRA_IP_PROTO,
        FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_SUPPRESS_IFGROUP})
    rule.narrow = rule.narrow || attributes[static_cast<std::size_t>(selector)];
  // -1: nothing is suppressed (net/core/fib_rules.c, fib_nl_fill_rule)
  if (const nlattr* length = attributes[FRA_SUPPRESS_PREFIXLEN])
    rule.narrow = rule.narrow || static_cast<int>(nla_get_u32(length)) >= 0;
  return rule;
}

}  // namespace tunorch::routing
