#include "routing/netlink.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <tuple>

#include "routing/netlink_link.hpp"
#include "routing/netlink_nexthop.hpp"
#include "routing/netlink_route.hpp"
#include "routing/netlink_rule.hpp"
#include "routing/netlink_socket.hpp"

namespace tunorch::routing {

namespace {

constexpr int dump_attempts = 10;
constexpr std::uint32_t any_table = 0;  // RT_TABLE_UNSPEC

[[noreturn]] void fail(const std::string& what, const Answer& answer) {
  const std::string reason = answer.reason.empty() ? "" : " (" + answer.reason + ')';
  throw std::system_error(answer.error, std::generic_category(), "cannot " + what + reason);
}

void check(int libnl_result) {
  if (libnl_result < 0) throw std::bad_alloc();  // the nla_put family fails only for want of room
}

// Reads the list again when it changed meanwhile, up to a bound: a host whose tables never stand
// still must not hold the caller for ever.
template <class Parse>
auto list(NetlinkSocket& socket, const Message& message, const std::string& what, Parse parse) {
  std::vector<typename decltype(parse(nullptr))::value_type> items;
  for (int attempt = 0; attempt < dump_attempts; ++attempt) {
    items.clear();
    const Answer answer = socket.dump(message.get(), [&](nlmsghdr* header) {
      if (auto item = parse(header)) items.push_back(std::move(*item));
    });
    if (!answer.ok()) fail("list " + what, answer);
    if (!answer.interrupted) return items;
  }
  fail("list " + what, {EAGAIN, "they change faster than they can be read"});
}

// ---- links

// By name, not index: no look-up that could be stale when the message arrives. RTM_SETLINK never
// makes a device, as RTM_NEWLINK could.
Message link_message(int type, const std::string& dev, ifinfomsg info = {}) {
  Message message = make_message(type, 0, info);
  check(nla_put_string(message.get(), IFLA_IFNAME, dev.c_str()));
  return message;
}

// ---- addresses

Message address_message(int type, int flags, const Address& address) {
  ifaddrmsg info{};
  info.ifa_family = address.prefix.v6 ? AF_INET6 : AF_INET;
  info.ifa_prefixlen = address.prefix.length;
  // It must serve as a source at once: duplicate detection would hold it back for a second or two,
  // and a route's `src` is refused meanwhile.
  info.ifa_flags = address.prefix.v6 ? IFA_F_NODAD : 0;
  info.ifa_index = if_nametoindex(address.dev.c_str());
  Message message = make_message(type, flags, info);
  const int size = address.prefix.v6 ? 16 : 4;
  check(nla_put(message.get(), IFA_LOCAL, size, address.prefix.bytes.data()));
  check(nla_put(message.get(), IFA_ADDRESS, size, address.prefix.bytes.data()));
  return message;
}

std::string text_of(const Address& address) {
  return "address " + address.prefix.text() + " dev " + address.dev;
}

bool same_place(const Route& a, const Route& b) {
  return a.dst == b.dst.network() && a.table == b.table && a.metric == b.metric;
}

}  // namespace

struct Netlink::State {
  std::uint8_t protocol;
  NetlinkSocket socket;

  void perform(const Message& message, const std::string& what) {
    if (const Answer answer = socket.request(message.get()); !answer.ok()) fail(what, answer);
  }

  std::vector<MarkedAddress> list_addresses() {
    auto addresses = list(socket, make_message(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{}), "addresses",
                          parse_address);
    std::ranges::sort(addresses, {}, &MarkedAddress::address);
    return addresses;
  }

  std::vector<Route> list_routes(int family, std::uint32_t table) {
    try {
      return list(socket, dump_routes_message(family, table), "routes",
                  [&](nlmsghdr* header) -> std::optional<Route> {
                    // Without IPv6 the kernel answers with the other families' (rtnl_dump_all).
                    auto route = parse_route(header, table);
                    return route && route->dst.v6 == (family == AF_INET6) ? route : std::nullopt;
                  });
    } catch (const std::system_error& error) {
      // The kernel makes a table with its first route (fib_new_table): none is an empty one.
      if (error.code() == std::errc::no_such_file_or_directory) return {};
      throw;
    }
  }

  template <class Parse>
  auto list_rules(Parse parse);

  std::optional<Route> find_in_the_way(const Route& route) {
    for (const Route& other : list_routes(route.dst.v6 ? AF_INET6 : AF_INET, route.table))
      if (same_place(other, route)) return other;
    return std::nullopt;
  }
};

Netlink::Netlink(std::uint8_t protocol) : state_(new State{protocol, {}}) {
  // In a request 0 means "any": a delete would take whatever route it finds (fib_table_delete).
  if (protocol == 0) throw std::invalid_argument("cannot mark routes with protocol 0");
}

Netlink::~Netlink() = default;

std::vector<Link> Netlink::links() {
  const Message message = make_message(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  check(nla_put_u32(message.get(), IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS));
  return list(state_->socket, message, "links", parse_link);
}

std::vector<Address> Netlink::addresses() {
  std::vector<Address> ours;
  for (const MarkedAddress& marked : state_->list_addresses())
    if (marked.protocol == state_->protocol) ours.push_back(marked.address);
  return ours;
}

std::vector<Address> Netlink::all_addresses() {
  std::vector<Address> all;
  for (const MarkedAddress& marked : state_->list_addresses()) all.push_back(marked.address);
  return all;
}

std::vector<Route> Netlink::routes(std::uint32_t table) {
  std::vector<Route> routes = state_->list_routes(AF_INET, table);
  std::ranges::move(state_->list_routes(AF_INET6, table), std::back_inserter(routes));
  std::ranges::sort(routes, {}, [](const Route& r) { return std::tie(r.dst, r.metric); });
  return routes;
}

std::vector<std::string> Netlink::ra_default_devices() {
  std::vector<std::string> devices;
  for (const Route& route : state_->list_routes(AF_INET6, RT_TABLE_MAIN))
    if (route.protocol == RTPROT_RA && route.dst.length == 0)
      for (const Nexthop& nexthop : route.nexthops) devices.push_back(nexthop.dev);
  std::ranges::sort(devices);
  devices.erase(std::unique(devices.begin(), devices.end()), devices.end());
  return devices;
}

void Netlink::set_mtu(const std::string& dev, unsigned mtu) {
  const Message message = link_message(RTM_SETLINK, dev);
  check(nla_put_u32(message.get(), IFLA_MTU, mtu));
  state_->perform(message, "set mtu " + std::to_string(mtu) + " of " + dev);
}

void Netlink::set_txqueuelen(const std::string& dev, unsigned packets) {
  const Message message = link_message(RTM_SETLINK, dev);
  check(nla_put_u32(message.get(), IFLA_TXQLEN, packets));
  state_->perform(message, "set txqueuelen " + std::to_string(packets) + " of " + dev);
}

void Netlink::set_alias(const std::string& dev, const std::string& alias) {
  const Message message = link_message(RTM_SETLINK, dev);
  check(nla_put_string(message.get(), IFLA_IFALIAS, alias.c_str()));
  state_->perform(message, "set alias \"" + alias + "\" of " + dev);
}

void Netlink::set_no_link_local(const std::string& dev) {
  const Message message = link_message(RTM_SETLINK, dev);
  nlattr* families = nla_nest_start(message.get(), IFLA_AF_SPEC);
  nlattr* ipv6 = families ? nla_nest_start(message.get(), AF_INET6) : nullptr;
  if (!ipv6) throw std::bad_alloc();
  check(nla_put_u8(message.get(), IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE));
  nla_nest_end(message.get(), ipv6);
  nla_nest_end(message.get(), families);
  const Answer answer = state_->socket.request(message.get());
  if (answer.error == EAFNOSUPPORT) return;  // no IPv6 in this kernel: no such addresses
  if (!answer.ok()) fail("turn off link-local addresses of " + dev, answer);
}

void Netlink::set_up(const std::string& dev) {
  ifinfomsg info{};
  info.ifi_flags = IFF_UP;
  info.ifi_change = IFF_UP;
  state_->perform(link_message(RTM_SETLINK, dev, info), "set up " + dev);
}

void Netlink::delete_link(const std::string& dev) {
  state_->perform(link_message(RTM_DELLINK, dev), "delete link " + dev);
}

void Netlink::add_address(const Address& address) {
  const Message message = address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address);
  check(nla_put_u8(message.get(), ifa_proto, state_->protocol));
  state_->perform(message, "add " + text_of(address));
}

void Netlink::delete_address(const Address& address) {
  state_->perform(address_message(RTM_DELADDR, 0, address), "delete " + text_of(address));
}

void Netlink::add_route(const Route& route) {
  const Message message = new_route_message(route, state_->protocol, NLM_F_CREATE | NLM_F_EXCL);
  Answer answer = state_->socket.request(message.get());
  if (answer.ok()) return;
  if (answer.error == EEXIST)
    if (const auto other = state_->find_in_the_way(route))
      answer.reason = "there is " + other->text() + " proto " + std::to_string(other->protocol);
  fail("add route " + route.text(), answer);
}

void Netlink::replace_route(const Route& route) {
  const Message message = new_route_message(route, state_->protocol, NLM_F_CREATE | NLM_F_REPLACE);
  const Answer answer = state_->socket.request(message.get());
  // The text is made only for an error: this is the failover path.
  if (!answer.ok()) fail("replace route " + route.text(), answer);
}

void Netlink::delete_route(const Route& route) {
  // To an IPv4 delete metric 0 means "any" (net/ipv4/fib_semantics.c, fib_nh_match), and it would
  // take our route of another metric if this one is gone.
  if (route.metric == 0 && !route.dst.v6) {
    const auto found = state_->find_in_the_way(route);
    if (!found || found->protocol != state_->protocol)
      fail("delete route " + route.text(), {ESRCH, ""});
  }
  state_->perform(delete_route_message(route, state_->protocol), "delete route " + route.text());
}

// ---- nexthops

NexthopAbilities Netlink::probe_nexthops(std::uint32_t scratch_id) {
  NexthopAbilities abilities;
  NexthopGroup group;
  group.id = scratch_id + 2;
  group.buckets = 8;
  const auto tries = [&](const Message& message) {
    const Answer answer = state_->socket.request(message.get());
    if (!answer.ok() && abilities.reason.empty())
      abilities.reason =
          answer.reason.empty() ? std::generic_category().message(answer.error) : answer.reason;
    return answer.ok();
  };
  constexpr int add = NLM_F_CREATE | NLM_F_EXCL;
  const auto remove = [&](std::uint32_t id) {
    state_->socket.request(delete_nexthop_message(id).get());
  };
  // Left by one that was killed half way.
  if (state_->socket.dump(dump_nexthops_message().get(), [](nlmsghdr*) {}).ok()) {
    for (const NexthopGroup& left : nexthop_groups())
      if (left.id == group.id) remove(left.id);
    for (const NexthopObject& left : nexthops())
      if (left.id == scratch_id || left.id == scratch_id + 1) remove(left.id);
  }
  for (const std::uint32_t id : {scratch_id, scratch_id + 1}) {
    if (!tries(new_nexthop_message({id, "lo"}, state_->protocol, add))) break;
    group.members.push_back({id, 1});
  }
  if (group.members.size() == 2 && tries(new_group_message(group, state_->protocol, add))) {
    abilities.resilient = true;
    state_->socket.dump(get_counters_message(group.id).get(), [&](nlmsghdr* header) {
      abilities.counters = !parse_counters(header).empty();
    });
    group.members.front().weight = 300;
    abilities.wide_weights =
        state_->socket
            .request(new_group_message(group, state_->protocol, NLM_F_CREATE | NLM_F_REPLACE).get())
            .ok();
    remove(group.id);
  }
  for (const GroupMember& member : group.members) remove(member.id);
  return abilities;
}

std::vector<NexthopObject> Netlink::nexthops() {
  auto all = list(state_->socket, dump_nexthops_message(), "nexthops",
                  [&](nlmsghdr* header) { return parse_nexthop(header, state_->protocol); });
  std::ranges::sort(all, {}, &NexthopObject::id);
  return all;
}

std::vector<NexthopGroup> Netlink::nexthop_groups() {
  auto all = list(state_->socket, dump_nexthops_message(), "nexthop groups",
                  [&](nlmsghdr* header) { return parse_group(header, state_->protocol); });
  std::ranges::sort(all, {}, &NexthopGroup::id);
  return all;
}

void Netlink::add_nexthop(const NexthopObject& nexthop) {
  const Message message = new_nexthop_message(nexthop, state_->protocol, NLM_F_CREATE | NLM_F_EXCL);
  state_->perform(message, "add nexthop " + std::to_string(nexthop.id) + " dev " + nexthop.dev);
}

void Netlink::add_nexthop_group(const NexthopGroup& group) {
  const Message message = new_group_message(group, state_->protocol, NLM_F_CREATE | NLM_F_EXCL);
  state_->perform(message, "add nexthop group " + group.text());
}

void Netlink::replace_nexthop_group(const NexthopGroup& group) {
  const Message message = new_group_message(group, state_->protocol, NLM_F_CREATE | NLM_F_REPLACE);
  const Answer answer = state_->socket.request(message.get());
  if (!answer.ok()) fail("replace nexthop group " + group.text(), answer);
}

void Netlink::delete_nexthop(std::uint32_t id) {
  state_->perform(delete_nexthop_message(id), "delete nexthop " + std::to_string(id));
}

std::vector<BucketShare> Netlink::bucket_shares(std::uint32_t group) {
  std::chrono::milliseconds idle_timer{0};
  for (const NexthopGroup& one : nexthop_groups())
    if (one.id == group) idle_timer = one.idle_timer;
  std::map<std::uint32_t, BucketShare> shares;
  for (const Bucket& bucket :
       list(state_->socket, dump_buckets_message(group),
            "buckets of nexthop group " + std::to_string(group), parse_bucket)) {
    BucketShare& share = shares[bucket.member];
    share.id = bucket.member;
    ++share.buckets;
    if (bucket.idle < idle_timer) ++share.busy;
  }
  std::vector<BucketShare> sorted;
  for (const auto& [id, share] : shares) sorted.push_back(share);
  return sorted;
}

std::map<std::uint32_t, std::uint64_t> Netlink::group_packets(std::uint32_t group) {
  std::map<std::uint32_t, std::uint64_t> packets;
  state_->socket.dump(get_counters_message(group).get(),
                      [&](nlmsghdr* header) { packets = parse_counters(header); });
  return packets;
}

// ---- rules

template <class Parse>
auto Netlink::State::list_rules(Parse parse) {
  std::vector<typename decltype(parse(nullptr))::value_type> all;
  for (const int family : {AF_INET, AF_INET6}) try {
      std::ranges::move(list(socket, dump_rules_message(family), "rules", parse),
                        std::back_inserter(all));
    } catch (const std::system_error& error) {
      // A kernel without IPv6 or without policy rules has none.
      if (error.code().value() != EAFNOSUPPORT && error.code().value() != EOPNOTSUPP) throw;
    }
  std::ranges::sort(all);
  return all;
}

std::vector<Rule> Netlink::rules() {
  return state_->list_rules([&](nlmsghdr* header) { return parse_rule(header, state_->protocol); });
}

std::vector<OtherRule> Netlink::other_rules() {
  return state_->list_rules(
      [&](nlmsghdr* header) { return parse_other_rule(header, state_->protocol); });
}

void Netlink::add_rule(const Rule& rule) {
  Answer answer = state_->socket.request(
      rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule, state_->protocol).get());
  if (answer.ok()) return;
  if (answer.error == EOPNOTSUPP || answer.error == EAFNOSUPPORT)
    answer.reason =
        "this kernel has no policy rules: it needs CONFIG_IP_MULTIPLE_TABLES and "
        "CONFIG_IPV6_MULTIPLE_TABLES, or a file without a /0 and without `policy`";
  fail("add rule " + rule.text(), answer);
}

void Netlink::delete_rule(const Rule& rule) {
  state_->perform(rule_message(RTM_DELRULE, 0, rule, state_->protocol),
                  "delete rule " + rule.text());
}

// ---- questions

Decision Netlink::decide(const FlowKey& flow) {
  Decision decision;
  Answer answer = state_->socket.dump(decide_message(flow, true).get(), [&](nlmsghdr* header) {
    decision.route = parse_route(header, any_table);
  });
  if (answer.ok())
    answer = state_->socket.dump(decide_message(flow, false).get(), [&](nlmsghdr* header) {
      if (const auto device = parse_device(header)) decision.dev = *device;
    });
  decision.error = answer.error;
  return decision;
}

bool Netlink::carrier(const std::string& dev) {
  return activity(dev).carrier;
}

LinkActivity Netlink::activity(const std::string& dev) {
  ifinfomsg info{};
  info.ifi_index = static_cast<int>(if_nametoindex(dev.c_str()));
  LinkActivity activity;
  const Answer answer =
      state_->socket.dump(make_message(RTM_GETLINK, 0, info).get(),
                          [&](nlmsghdr* header) { parse_activity(header, activity); });
  if (info.ifi_index == 0 || !answer.ok()) fail("read link " + dev, {ENODEV, answer.reason});
  return activity;
}

}  // namespace tunorch::routing
