#include "orchestrator/plan/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "orchestrator/plan/carriage.hpp"
#include "orchestrator/plan/neighbours.hpp"

namespace tunorch {
namespace {

using routing::Address;
using routing::Link;
using routing::Route;
using routing::Tun;

const Link* find_link(const Observed& observed, const std::string& name) {
  const auto found = std::ranges::find(observed.links, name, &Link::name);
  return found == observed.links.end() ? nullptr : &*found;
}

// ---- settings ----

/// Where router advertisements give the default route, forwarding would drop it unless accept_ra
/// is 2 (kernel: ip-sysctl.rst). To be written before forwarding is turned on.
std::vector<DesiredSysctl> accept_ra(const Desired& desired,
                                     const std::vector<std::string>& ra_devices) {
  std::vector<DesiredSysctl> settings;
  if (!desired.forwards_v6) return settings;
  for (std::string device : ra_devices) {
    std::ranges::replace(device, '.', '/');
    settings.push_back({{"net.ipv6.conf." + device + ".accept_ra", "2"}, false});
  }
  return settings;
}

std::vector<DesiredSysctl> all_sysctls(const Desired& desired,
                                       const std::vector<std::string>& ra_devices) {
  std::vector<DesiredSysctl> all = accept_ra(desired, ra_devices);
  all.insert(all.end(), desired.sysctls.begin(), desired.sysctls.end());
  return all;
}

void plan_sysctl(const DesiredSysctl& wanted, const Observed& observed, Plan& plan) {
  const auto& key = wanted.setting.key;
  SysctlSetting after{wanted.setting, {}, wanted.required, wanted.device};
  if (!wanted.device.empty() && !find_link(observed, wanted.device)) {
    plan.steps.push_back(SysctlStep{std::nullopt, after});
    return;
  }
  const auto found = observed.sysctls.find(key);
  if (found == observed.sysctls.end() || !found->second.value) {
    const std::string text = fmt::format("sysctl {} does not exist here", key);
    if (wanted.required && !key.starts_with("net.ipv6."))
      plan.conflicts.push_back(
          text + (key == "net.ipv4.fib_multipath_hash_policy"
                      ? ": this kernel cannot spread flows over several devices; it needs "
                        "CONFIG_IP_ROUTE_MULTIPATH=y, and Linux 4.12 or later"
                      : ": this kernel lacks what tunorch needs"));
    else
      plan.notes.push_back(text + ": left alone");
    return;
  }
  const ObservedSysctl& now = found->second;
  if (*now.value == wanted.setting.value) return;
  if (!now.writable) {
    const std::string text =
        fmt::format("sysctl {} is {} and cannot be written here", key, *now.value);
    if (wanted.required)
      plan.conflicts.push_back(text + "; it must be " + wanted.setting.value);
    else
      plan.notes.push_back(text + ": left alone");
    return;
  }
  plan.steps.push_back(SysctlStep{
      SysctlSetting{{key, *now.value}, now.fan_out, wanted.required, wanted.device}, after});
}

void plan_sysctls(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const DesiredSysctl& wanted : all_sysctls(desired, observed.ra_devices))
    if (wanted.device.empty()) plan_sysctl(wanted, observed, plan);
}

void plan_sysctl_restores(const Desired& desired, const Observed& observed, Plan& plan) {
  std::set<std::string> keep;
  for (const DesiredSysctl& wanted : all_sysctls(desired, observed.ra_devices))
    keep.insert(wanted.setting.key);
  // Last written, first restored.
  for (auto entry = observed.journal.rbegin(); entry != observed.journal.rend(); ++entry) {
    if (keep.contains(entry->setting.key)) continue;
    const auto now = observed.sysctls.find(entry->setting.key);
    SysctlSetting before = *entry;
    before.fan_out.clear();
    if (now != observed.sysctls.end() && now->second.value)
      before.setting.value = *now->second.value;
    plan.steps.push_back(SysctlStep{before, *entry});
  }
}

// ---- devices and addresses ----

void plan_tuns(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    if (name_taken(observed, tunnel)) continue;
    const Link* link = find_link(observed, tunnel.name);
    if (!link) {
      plan.steps.push_back(TunStep{std::nullopt, tunnel.tun});
    } else {
      Tun before = tunnel.tun;
      before.mtu = link->mtu;
      before.txqueuelen = link->txqueuelen;
      if (!(before == tunnel.tun) || !link->admin_up)
        plan.steps.push_back(TunStep{before, tunnel.tun});
    }
    for (const DesiredSysctl& wanted : desired.sysctls)
      if (wanted.device == tunnel.name) plan_sysctl(wanted, observed, plan);
  }
}

/// A device is of one kind for its whole life, and other engines attach to other ones. It goes as
/// soon as no process serves it; then it is missing like any that is not there.
std::vector<Step> plan_misfits(const Desired& desired, const Observed& observed) {
  std::vector<Step> steps;
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    const Link* link = find_link(observed, tunnel.name);
    if (!link || link->alias != tunnel.tun.alias || link->multi_queue == tunnel.tun.multi_queue)
      continue;
    const auto worker = observed.workers.find(tunnel.name);
    if (worker != observed.workers.end() && is_alive(worker->second.state)) continue;
    Tun before = tunnel.tun;
    before.multi_queue = link->multi_queue;
    before.mtu = link->mtu;
    before.txqueuelen = link->txqueuelen;
    steps.push_back(TunStep{before, std::nullopt});
  }
  return steps;
}

void plan_tun_removals(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const Link& link : observed.links) {
    if (!is_our_alias(link.alias) || desired.find_tunnel(link.name)) continue;
    plan.steps.push_back(
        TunStep{Tun{link.name, link.alias, link.mtu, link.txqueuelen, 0}, std::nullopt});
  }
}

void plan_addresses(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const Address& address : desired.addresses)
    if (std::ranges::find(observed.addresses, address) == observed.addresses.end() &&
        !address_taken(desired, observed, address))
      plan.steps.push_back(AddressStep{std::nullopt, address});
}

void plan_address_removals(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const Address& address : observed.addresses)
    if (std::ranges::find(desired.addresses, address) == desired.addresses.end())
      plan.steps.push_back(AddressStep{address, std::nullopt});
}

void plan_nft_table(const Desired& desired, const Observed& observed, Plan& plan) {
  if (desired.nft_table && desired.nft_table != observed.nft_table && !observed.foreign_nft_table)
    plan.steps.push_back(NftTableStep{observed.nft_table, desired.nft_table});
}

void plan_nft_table_removal(const Desired& desired, const Observed& observed, Plan& plan) {
  if (!desired.nft_table && observed.nft_table)
    plan.steps.push_back(NftTableStep{observed.nft_table, std::nullopt});
}

// ---- workers ----

WorkerRef worker_ref(const DesiredTunnel& tunnel) {
  const auto& spec = tunnel.spec;
  const std::string engine =
      tunnel.engine == Engine::native ? "" : to_string(tunnel.engine) + std::string(" ");
  if (spec.transport == "postgres")
    return {tunnel.name, spec.digest,
            spec.listener ? "listening in a database" : "dialing by a database"};
  return {tunnel.name, spec.digest,
          engine + (spec.listener ? fmt::format("listening on port {}", spec.port)
                                  : fmt::format("dialing {} port {}", spec.address, spec.port))};
}

void plan_workers(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    const WorkerRef wanted = worker_ref(tunnel);
    const auto found = observed.workers.find(tunnel.name);
    const ObservedWorker now = found == observed.workers.end() ? ObservedWorker{} : found->second;
    if (now.state == WorkerState::stopped && name_taken(observed, tunnel))
      continue;  // it would attach to somebody else's device
    if (now.state == WorkerState::stopped)
      plan.steps.push_back(WorkerStep{std::nullopt, wanted});
    else if ((now.state == WorkerState::running || now.state == WorkerState::starting) &&
             !now.digest.empty() && now.digest != wanted.digest)
      plan.steps.push_back(WorkerStep{WorkerRef{tunnel.name, now.digest, wanted.text}, wanted});
    // stopping, backoff, quarantined: its exit, its time or a new apply comes first
  }
}

void plan_worker_removals(const Desired& desired, const Observed& observed, Plan& plan) {
  for (const auto& [tunnel, worker] : observed.workers)
    if (!desired.find_tunnel(tunnel) && worker.state != WorkerState::stopped &&
        worker.state != WorkerState::stopping)
      plan.steps.push_back(WorkerStep{WorkerRef{tunnel, worker.digest, ""}, std::nullopt});
}

/// Whether it can be served there is found by doing it, and traffic does not wait for that.
void plan_page(const Desired& desired, const Observed& observed, Plan& plan) {
  if (desired.metrics && desired.metrics != observed.page)
    plan.steps.push_back(PageStep{observed.page, desired.metrics});
}

void plan_page_removal(const Desired& desired, const Observed& observed, Plan& plan) {
  if (!desired.metrics && observed.page)
    plan.steps.push_back(PageStep{observed.page, std::nullopt});
}

}  // namespace

std::vector<std::string> sysctl_keys(const Desired& desired,
                                     const std::vector<std::string>& ra_devices) {
  std::vector<std::string> keys;
  for (const DesiredSysctl& wanted : all_sysctls(desired, ra_devices))
    keys.push_back(wanted.setting.key);
  if (desired.needs_ipv6()) keys.push_back(lo_ipv6_off);
  return keys;
}

HealthTable all_up(const Desired& desired) {
  HealthTable health;
  for (const DesiredGroup& group : desired.groups)
    for (const DesiredMember& member : group.members)
      health[group.peer][member.tunnel] = {Health::up, true};
  return health;
}

std::vector<Step> make_carriage_plan(const Desired& desired, const Observed& observed,
                                     const HealthTable& health) {
  CarriageSteps steps =
      plan_carriage(observed.carriage, wanted_carriage(desired, observed, health));
  std::ranges::move(steps.removals, std::back_inserter(steps.additions));
  return feasible(std::move(steps.additions), observed);
}

Plan make_plan(const Desired& desired, const Observed& observed, const HealthTable& health) {
  Plan plan;
  if (const auto misfits = plan_misfits(desired, observed); !misfits.empty()) {
    Observed then = observed;
    for (const Step& step : misfits) record(then, step);
    plan = make_plan(desired, then, health);
    plan.steps.insert(plan.steps.begin(), misfits.begin(), misfits.end());
    return plan;
  }
  plan.conflicts = find_conflicts(desired, observed);
  const Carriage wanted = wanted_carriage(desired, observed, health);
  plan.notes = neighbour_notes(desired, observed, wanted.rules);
  CarriageSteps carriage = plan_carriage(observed.carriage, wanted);
  plan_sysctls(desired, observed, plan);
  plan_tuns(desired, observed, plan);
  plan_addresses(desired, observed, plan);
  plan_nft_table(desired, observed, plan);
  plan_workers(desired, observed, plan);
  plan_page(desired, observed, plan);
  std::ranges::move(carriage.additions, std::back_inserter(plan.steps));

  std::ranges::move(carriage.removals, std::back_inserter(plan.steps));
  plan_page_removal(desired, observed, plan);
  plan_worker_removals(desired, observed, plan);
  plan_nft_table_removal(desired, observed, plan);
  plan_address_removals(desired, observed, plan);
  plan_tun_removals(desired, observed, plan);
  plan_sysctl_restores(desired, observed, plan);
  plan.steps = feasible(std::move(plan.steps), observed);
  return plan;
}

}  // namespace tunorch
