#include "orchestrator/kernel/kernel.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <system_error>
#include <utility>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/neighbours.hpp"
#include "routing/tun.hpp"

namespace tunorch {

using routing::Address;
using routing::Route;
using routing::Sysctl;
using routing::Tun;

namespace {
constexpr std::uint32_t every_table = 0;  // RT_TABLE_UNSPEC
}

Kernel::Kernel(std::uint8_t protocol, Journal& journal)
    : protocol_(protocol), journal_(journal), netlink_(protocol) {}

void Kernel::probe_abilities() {
  abilities_ = netlink_.probe_nexthops(group_id_base - 100);
}

// ---- observe ----

namespace {

ObservedSysctl observe_sysctl(const std::string& key) {
  ObservedSysctl now;
  now.value = routing::read_sysctl(key);
  if (!now.value) return now;
  now.writable = routing::sysctl_writable(key);
  for (const std::string& other : routing::sysctl_fan_out(key))
    if (const auto value = routing::read_sysctl(other)) now.fan_out.push_back({other, *value});
  return now;
}

std::optional<routing::NftTable> observe_nft_table() {
  // Without root nftables shows nothing, and says so itself; a plan then would make the table.
  if (::geteuid() != 0) return std::nullopt;
  try {
    return routing::read_nft_table();
  } catch (const std::system_error& error) {
    if (error.code().value() == EPERM || error.code().value() == EACCES) return std::nullopt;
    throw;
  }
}

}  // namespace

Observed Kernel::observe(const Desired& desired) {
  Observed observed;
  observed.links = netlink_.links();
  observed.ra_devices = netlink_.ra_default_devices();
  observed.journal = journal_.settings();
  for (const std::string& key : sysctl_keys(desired, observed.ra_devices))
    observed.sysctls[key] = observe_sysctl(key);
  for (const SysctlSetting& entry : observed.journal)
    if (!observed.sysctls.contains(entry.setting.key))
      observed.sysctls[entry.setting.key] = observe_sysctl(entry.setting.key);
  for (const auto& [key, reason] : refused_)
    if (observed.sysctls.contains(key)) observed.sysctls[key].writable = false;

  const auto marked = netlink_.addresses();
  // Without marks, before Linux 5.18, what is on a device of ours counts as ours.
  const auto on_our_device = [&](const Address& address) {
    if (!marked.empty()) return false;
    const auto link = std::ranges::find(observed.links, address.dev, &routing::Link::name);
    return link != observed.links.end() && is_our_alias(link->alias);
  };
  for (const Address& address : netlink_.all_addresses()) {
    const bool journaled =
        std::ranges::find(journal_.addresses(), address) != journal_.addresses().end();
    const bool ours = journaled || std::ranges::find(marked, address) != marked.end() ||
                      (!address.prefix.v6 && on_our_device(address));
    (ours ? observed.addresses : observed.foreign_addresses).push_back(address);
  }
  std::set<Prefix> wanted;
  for (const DesiredRoute& route : desired.routes) wanted.insert(route.dst);
  const std::set<std::uint32_t> own = own_tables(desired);
  observed.other_rules = netlink_.other_rules();
  std::set<std::pair<bool, std::uint32_t>> shadowing;  // IPv6?, table
  for (const routing::OtherRule& rule : observed.other_rules)
    if (may_shadow(desired, rule)) shadowing.insert({rule.v6, rule.table});
  // One a table says enough, and they may have a million.
  const auto is_example = [&](const Route& route) {
    return shadowing.contains({route.dst.v6, route.table}) &&
           std::ranges::any_of(wanted,
                               [&](const Prefix& dst) { return overlap(dst, route.dst); }) &&
           shadowing.erase({route.dst.v6, route.table}) != 0;
  };
  for (Route& route : netlink_.routes(every_table)) {
    if (route.protocol == protocol_)
      observed.multipath.routes.push_back(std::move(route));
    else if (wanted.contains(route.dst) || own.contains(route.table) || is_example(route))
      observed.foreign_routes.push_back(std::move(route));
  }
  observed.multipath.rules = netlink_.rules();
  if (abilities_.resilient) {
    observed.multipath.nexthops = netlink_.nexthops();
    observed.multipath.groups = netlink_.nexthop_groups();
  }
  observed.abilities = abilities_;
  observed.nft_table = observe_nft_table();
  if (observed.nft_table && !journal_.nft_table()) {
    observed.foreign_nft_table = true;
    observed.nft_table.reset();
  }
  return observed;
}

// ---- perform ----

void Kernel::perform(const SysctlStep& step) {
  if (!step.after) return;  // the inverse of a first write on a new device: it vanishes with it
  const SysctlSetting& after = *step.after;
  const bool ours_alone = !after.device.empty();
  const auto entry = std::ranges::find_if(journal_.settings(), [&](const SysctlSetting& s) {
    return s.setting == after.setting && s.fan_out == after.fan_out;
  });
  const bool restore = !ours_alone && entry != journal_.settings().end();
  if (!ours_alone && !restore && step.before) journal_.add(*step.before);
  try {
    routing::write_sysctl(after.setting);
  } catch (const std::system_error& error) {
    if (!restore && after.required) {
      if (!ours_alone) journal_.remove(after.setting.key);
      throw;
    }
    refused_[after.setting.key] = error.what();
    on_refusal(error.what());
    if (!ours_alone) journal_.remove(after.setting.key);
    return;
  }
  for (const Sysctl& other : after.fan_out) put_back(other);
  if (restore) journal_.remove(after.setting.key);
}

/// A fan-out value put back; its device may be gone by now, and then there is nothing to put back.
void Kernel::put_back(const Sysctl& setting) {
  if (!routing::read_sysctl(setting.key)) return;
  try {
    routing::write_sysctl(setting);
  } catch (const std::system_error& error) {
    on_refusal(error.what());
  }
}

void Kernel::perform(const TunStep& step) {
  if (!step.after)
    netlink_.delete_link(step.before->name);
  else if (!step.before)
    make_tun(*step.after);
  else
    tune(*step.before, *step.after);
}

void Kernel::make_tun(const Tun& tun) {
  remove_unmarked_devices();
  journal_.add_device(tun.name);
  try {
    routing::create_tun(tun.name, tun.owner, tun.multi_queue);
  } catch (...) {
    journal_.remove_device(tun.name);
    throw;
  }
  try {
    netlink_.set_alias(tun.name, tun.alias);
    journal_.remove_device(tun.name);
    netlink_.set_no_link_local(tun.name);
    tune(Tun{tun.name, tun.alias, 0, 0, tun.owner, tun.multi_queue}, tun);
  } catch (...) {
    netlink_.delete_link(tun.name);
    throw;
  }
}

/// Only what differs: a new txqueuelen makes the kernel swap the queueing discipline, which costs a
/// few packets.
void Kernel::tune(const Tun& before, const Tun& after) {
  if (before.mtu != after.mtu) netlink_.set_mtu(after.name, after.mtu);
  if (before.txqueuelen != after.txqueuelen) netlink_.set_txqueuelen(after.name, after.txqueuelen);
  netlink_.set_up(after.name);
}

void Kernel::remove_unmarked_devices() {
  const std::vector<std::string> names = journal_.devices();
  if (names.empty()) return;
  for (const routing::Link& link : netlink_.links())
    if (std::ranges::find(names, link.name) != names.end() && link.alias.empty() &&
        link.kind == "tun")
      netlink_.delete_link(link.name);
  for (const std::string& name : names) journal_.remove_device(name);
}

void Kernel::perform(const AddressStep& step) {
  if (step.before) {
    netlink_.delete_address(*step.before);
    if (step.before->dev == "lo") journal_.remove(*step.before);
  }
  if (!step.after) return;
  // An address on a TUN of ours goes with it; on lo an old kernel would not know it for ours.
  if (step.after->dev == "lo") journal_.add(*step.after);
  try {
    netlink_.add_address(*step.after);
  } catch (...) {
    if (step.after->dev == "lo") journal_.remove(*step.after);
    throw;
  }
}

void Kernel::perform(const NftTableStep& step) {
  if (step.after) {
    journal_.set_nft_table(true);
    routing::write_nft_table(*step.after);
  } else {
    routing::delete_nft_table();
    journal_.set_nft_table(false);
  }
}

namespace {

/// The kernel itself takes routes away with their group, a group with its last nexthop, and a
/// nexthop with its device's carrier: what is to go may be gone.
template <class Delete>
void unless_gone(Delete deletion) {
  try {
    deletion();
  } catch (const std::system_error& error) {
    if (error.code().value() != ENOENT && error.code().value() != ESRCH) throw;
  }
}

}  // namespace

void Kernel::perform(const NexthopStep& step) {
  if (step.before) unless_gone([&] { netlink_.delete_nexthop(step.before->id); });
  if (step.after) netlink_.add_nexthop(*step.after);
}

void Kernel::perform(const GroupStep& step) {
  if (!step.after)
    unless_gone([&] { netlink_.delete_nexthop(step.before->id); });
  else if (step.before)
    netlink_.replace_nexthop_group(*step.after);
  else
    netlink_.add_nexthop_group(*step.after);
}

void Kernel::perform(const RuleStep& step) {
  if (step.before) unless_gone([&] { netlink_.delete_rule(*step.before); });
  if (step.after) netlink_.add_rule(*step.after);
}

void Kernel::perform(const RouteStep& step) {
  if (!step.after)
    unless_gone([&] { netlink_.delete_route(*step.before); });
  else if (step.before)
    netlink_.replace_route(*step.after);
  else
    netlink_.add_route(*step.after);
}

}  // namespace tunorch
