// What the kernel says over netlink, if it said anything at all: a buffer of messages, each read as
// every kind of object there is.
#include <linux/rtnetlink.h>

#include <cstring>
#include <memory>

#include "routing/netlink_link.hpp"
#include "routing/netlink_nexthop.hpp"
#include "routing/netlink_route.hpp"
#include "routing/netlink_rule.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace tunorch::routing;
using tunorch::require;

constexpr std::uint8_t our_protocol = 116;

void require_prefix(const Prefix& prefix) {
  require(prefix.length <= (prefix.v6 ? 128 : 32));
  require(Prefix::parse(prefix.text()) == prefix);
}

void read_message(nlmsghdr* header) {
  if (const auto link = parse_link(header)) require(link->kind == "tun" || !link->multi_queue);
  LinkActivity activity;
  parse_activity(header, activity);
  if (const auto marked = parse_address(header)) require_prefix(marked->address.prefix);
  for (const std::uint32_t table : {0u, 116u, 254u}) {
    const auto route = parse_route(header, table);
    if (!route) continue;
    require(table == 0 || route->table == table);
    require_prefix(route->dst);
    if (route->src) require_prefix(*route->src);
    for (const Nexthop& nexthop : route->nexthops) {
      require(nexthop.weight >= 1 && nexthop.weight <= 256);
      if (nexthop.gateway) require_prefix(*nexthop.gateway);
    }
    require(!route->text().empty());
  }
  parse_device(header);
  if (const auto rule = parse_rule(header, our_protocol)) {
    if (rule->from) require_prefix(*rule->from);
    require(!rule->text().empty());
  }
  if (const auto nexthop = parse_nexthop(header, our_protocol)) require(!nexthop->dev.empty());
  if (const auto group = parse_group(header, our_protocol)) {
    for (const GroupMember& member : group->members)
      require(member.weight >= 1 && member.weight <= 65536);
    require(!group->text().empty());
  }
  parse_bucket(header);
  parse_counters(header);
  Answer answer;
  read_verdict(header, answer);
  require(answer.error >= -2147483647);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Aligned, and of just its size, as nl_recv() hands it over.
  const std::unique_ptr<std::uint8_t[]> buffer(new std::uint8_t[size]);
  if (size > 0) std::memcpy(buffer.get(), data, size);
  int left = static_cast<int>(size);
  for (auto* header = reinterpret_cast<nlmsghdr*>(buffer.get()); nlmsg_ok(header, left);
       header = nlmsg_next(header, &left))
    read_message(header);
  return 0;
}
