#include "routing/netlink_nexthop.hpp"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <span>
#include <system_error>

#include "routing/netlink_route.hpp"

namespace tunorch::routing {
namespace {

// By number, for headers before Linux 6.9 lack them.
constexpr int nha_op_flags = 14, nha_group_stats = 15;
constexpr int nha_group_stats_entry = 1;
constexpr int nha_group_stats_entry_id = 1, nha_group_stats_entry_packets = 2;
constexpr std::uint32_t nha_op_flag_dump_stats = 1;
constexpr int highest_attribute = nha_group_stats;

using Attributes = std::array<nlattr*, highest_attribute + 1>;

void check(int libnl_result) {
  if (libnl_result < 0) throw std::bad_alloc();  // the nla_put family fails only for want of room
}

// The kernel keeps timers in USER_HZ ticks, 100 a second on every machine.
std::uint32_t to_ticks(std::chrono::milliseconds time) {
  return static_cast<std::uint32_t>(time.count() / 10);
}
std::chrono::milliseconds from_ticks(std::uint64_t ticks) {
  return std::chrono::milliseconds(ticks * 10);
}

constexpr auto policy = [] {
  std::array<nla_policy, highest_attribute + 1> attributes{};
  attributes[NHA_ID].type = attributes[NHA_OIF].type = NLA_U32;
  return attributes;
}();
constexpr auto resilient_policy = [] {
  std::array<nla_policy, NHA_RES_GROUP_MAX + 1> attributes{};
  attributes[NHA_RES_GROUP_BUCKETS].type = NLA_U16;
  attributes[NHA_RES_GROUP_IDLE_TIMER].type = NLA_U32;
  attributes[NHA_RES_GROUP_UNBALANCED_TIMER].type = NLA_U32;
  return attributes;
}();
constexpr auto bucket_policy = [] {
  std::array<nla_policy, NHA_RES_BUCKET_MAX + 1> attributes{};
  attributes[NHA_RES_BUCKET_NH_ID].type = NLA_U32;
  attributes[NHA_RES_BUCKET_IDLE_TIME].type = NLA_U64;
  return attributes;
}();
constexpr auto counter_policy = [] {
  std::array<nla_policy, nha_group_stats_entry_packets + 1> attributes{};
  attributes[nha_group_stats_entry_id].type = NLA_U32;
  attributes[nha_group_stats_entry_packets].type = NLA_U32;
  return attributes;
}();

nhmsg header_of(std::uint8_t protocol, unsigned char family) {
  nhmsg header{};
  header.nh_family = family;
  header.nh_protocol = protocol;
  return header;
}

std::optional<Attributes> attributes_of(nlmsghdr* header) {
  Attributes attributes{};
  if (nlmsg_parse(header, sizeof(nhmsg), attributes.data(), highest_attribute, policy.data()) < 0)
    return std::nullopt;
  return attributes;
}

std::uint8_t protocol_of(nlmsghdr* header) {
  return static_cast<const nhmsg*>(nlmsg_data(header))->nh_protocol;
}

std::span<const nexthop_grp> entries_of(const nlattr* attribute) {
  return {static_cast<const nexthop_grp*>(nla_data(attribute)),
          static_cast<std::size_t>(nla_len(attribute)) / sizeof(nexthop_grp)};
}

// weight - 1 in 16 bits: the high byte was reserved before Linux 6.12 (weight_high). By offset, for
// older headers name it resvd1.
constexpr std::size_t weight_high_offset = offsetof(nexthop_grp, weight) + 1;

nexthop_grp to_entry(const GroupMember& member) {
  const unsigned stored = member.weight - 1;
  nexthop_grp entry{};
  entry.id = member.id;
  entry.weight = static_cast<std::uint8_t>(stored & 0xff);
  const auto high = static_cast<std::uint8_t>(stored >> 8);
  std::memcpy(reinterpret_cast<char*>(&entry) + weight_high_offset, &high, 1);
  return entry;
}

GroupMember from_entry(const nexthop_grp& entry) {
  std::uint8_t high = 0;
  std::memcpy(&high, reinterpret_cast<const char*>(&entry) + weight_high_offset, 1);
  return {entry.id, (static_cast<unsigned>(high) << 8 | entry.weight) + 1};
}

}  // namespace

Message new_nexthop_message(const NexthopObject& nexthop, std::uint8_t protocol, int flags) {
  const unsigned index = if_nametoindex(nexthop.dev.c_str());
  if (index == 0)
    throw std::system_error(ENODEV, std::generic_category(),
                            "cannot add nexthop dev " + nexthop.dev);
  // An IPv6 nexthop serves IPv4 routes too, an IPv4 one not the other way (fib_check_nexthop()).
  Message message = make_message(RTM_NEWNEXTHOP, flags, header_of(protocol, AF_INET6));
  check(nla_put_u32(message.get(), NHA_ID, nexthop.id));
  check(nla_put_u32(message.get(), NHA_OIF, index));
  return message;
}

Message new_group_message(const NexthopGroup& group, std::uint8_t protocol, int flags) {
  Message message = make_message(RTM_NEWNEXTHOP, flags, header_of(protocol, AF_UNSPEC));
  check(nla_put_u32(message.get(), NHA_ID, group.id));
  std::vector<nexthop_grp> entries;
  for (const GroupMember& member : group.members) entries.push_back(to_entry(member));
  check(nla_put(message.get(), NHA_GROUP, static_cast<int>(entries.size() * sizeof(nexthop_grp)),
                entries.data()));
  check(nla_put_u16(message.get(), NHA_GROUP_TYPE, NEXTHOP_GRP_TYPE_RES));
  nlattr* resilient = nla_nest_start(message.get(), NHA_RES_GROUP);
  if (!resilient) throw std::bad_alloc();
  check(nla_put_u16(message.get(), NHA_RES_GROUP_BUCKETS, group.buckets));
  check(nla_put_u32(message.get(), NHA_RES_GROUP_IDLE_TIMER, to_ticks(group.idle_timer)));
  check(
      nla_put_u32(message.get(), NHA_RES_GROUP_UNBALANCED_TIMER, to_ticks(group.unbalanced_timer)));
  nla_nest_end(message.get(), resilient);
  return message;
}

Message delete_nexthop_message(std::uint32_t id) {
  Message message = make_message(RTM_DELNEXTHOP, 0, header_of(0, AF_UNSPEC));
  check(nla_put_u32(message.get(), NHA_ID, id));
  return message;
}

Message dump_nexthops_message() {
  return make_message(RTM_GETNEXTHOP, NLM_F_DUMP, header_of(0, AF_UNSPEC));
}

Message dump_buckets_message(std::uint32_t group) {
  Message message = make_message(RTM_GETNEXTHOPBUCKET, NLM_F_DUMP, header_of(0, AF_UNSPEC));
  check(nla_put_u32(message.get(), NHA_ID, group));
  return message;
}

Message get_counters_message(std::uint32_t group) {
  Message message = make_message(RTM_GETNEXTHOP, 0, header_of(0, AF_UNSPEC));
  check(nla_put_u32(message.get(), NHA_ID, group));
  check(nla_put_u32(message.get(), nha_op_flags, nha_op_flag_dump_stats));
  return message;
}

std::optional<NexthopObject> parse_nexthop(nlmsghdr* header, std::uint8_t protocol) {
  const auto attributes = attributes_of(header);
  if (!attributes || protocol_of(header) != protocol || (*attributes)[NHA_GROUP] ||
      !(*attributes)[NHA_ID] || !(*attributes)[NHA_OIF])
    return std::nullopt;
  return NexthopObject{nla_get_u32((*attributes)[NHA_ID]),
                       device_name(nla_get_u32((*attributes)[NHA_OIF]))};
}

std::optional<NexthopGroup> parse_group(nlmsghdr* header, std::uint8_t protocol) {
  const auto attributes = attributes_of(header);
  if (!attributes || protocol_of(header) != protocol || !(*attributes)[NHA_ID] ||
      !(*attributes)[NHA_GROUP] || !(*attributes)[NHA_RES_GROUP])
    return std::nullopt;
  NexthopGroup group;
  group.id = nla_get_u32((*attributes)[NHA_ID]);
  for (const nexthop_grp& entry : entries_of((*attributes)[NHA_GROUP]))
    group.members.push_back(from_entry(entry));
  std::array<nlattr*, NHA_RES_GROUP_MAX + 1> resilient{};
  if (nla_parse_nested(resilient.data(), NHA_RES_GROUP_MAX, (*attributes)[NHA_RES_GROUP],
                       resilient_policy.data()) < 0)
    return std::nullopt;
  if (resilient[NHA_RES_GROUP_BUCKETS])
    group.buckets = nla_get_u16(resilient[NHA_RES_GROUP_BUCKETS]);
  if (resilient[NHA_RES_GROUP_IDLE_TIMER])
    group.idle_timer = from_ticks(nla_get_u32(resilient[NHA_RES_GROUP_IDLE_TIMER]));
  if (resilient[NHA_RES_GROUP_UNBALANCED_TIMER])
    group.unbalanced_timer = from_ticks(nla_get_u32(resilient[NHA_RES_GROUP_UNBALANCED_TIMER]));
  return group;
}

std::optional<Bucket> parse_bucket(nlmsghdr* header) {
  const auto attributes = attributes_of(header);
  if (!attributes || !(*attributes)[NHA_RES_BUCKET]) return std::nullopt;
  std::array<nlattr*, NHA_RES_BUCKET_MAX + 1> bucket{};
  if (nla_parse_nested(bucket.data(), NHA_RES_BUCKET_MAX, (*attributes)[NHA_RES_BUCKET],
                       bucket_policy.data()) < 0 ||
      !bucket[NHA_RES_BUCKET_NH_ID])
    return std::nullopt;
  Bucket found{nla_get_u32(bucket[NHA_RES_BUCKET_NH_ID]), {}};
  if (bucket[NHA_RES_BUCKET_IDLE_TIME])
    found.idle = from_ticks(nla_get_u64(bucket[NHA_RES_BUCKET_IDLE_TIME]));
  return found;
}

std::map<std::uint32_t, std::uint64_t> parse_counters(nlmsghdr* header) {
  std::map<std::uint32_t, std::uint64_t> packets;
  const auto attributes = attributes_of(header);
  if (!attributes || !(*attributes)[nha_group_stats]) return packets;
  nlattr* entry = nullptr;
  int left = 0;
  nla_for_each_nested(entry, (*attributes)[nha_group_stats], left) {
    std::array<nlattr*, nha_group_stats_entry_packets + 1> values{};
    if (nla_type(entry) != nha_group_stats_entry ||
        nla_parse_nested(values.data(), nha_group_stats_entry_packets, entry,
                         counter_policy.data()) < 0 ||
        !values[nha_group_stats_entry_id] || !values[nha_group_stats_entry_packets])
      continue;
    // NLA_UINT: four bytes or eight, as the value needs.
    const nlattr* count = values[nha_group_stats_entry_packets];
    packets[nla_get_u32(values[nha_group_stats_entry_id])] =
        nla_len(count) == 8 ? nla_get_u64(count) : nla_get_u32(count);
  }
  return packets;
}

}  // namespace tunorch::routing
