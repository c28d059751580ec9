#include "orchestrator/plan/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "orchestrator/plan/diff.hpp"
#include "orchestrator/plan/multipath.hpp"
#include "orchestrator/plan/neighbours.hpp"

namespace tunorch {
namespace {

using routing::Address;
using routing::Link;
using routing::NftTable;
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

/// What cannot be had goes into the plan's conflicts and notes.
void plan_sysctl(const DesiredSysctl& wanted, const Observed& observed, Plan& plan,
                 std::vector<Step>& steps) {
  const auto& key = wanted.setting.key;
  SysctlSetting after{wanted.setting, {}, wanted.required, wanted.device};
  if (!wanted.device.empty() && !find_link(observed, wanted.device)) {
    steps.push_back(SysctlStep{std::nullopt, after});
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
  steps.push_back(SysctlStep{
      SysctlSetting{{key, *now.value}, now.fan_out, wanted.required, wanted.device}, after});
}

std::vector<Step> sysctl_restores(const Desired& desired, const Observed& observed) {
  std::vector<Step> steps;
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
    steps.push_back(SysctlStep{before, *entry});
  }
  return steps;
}

Steps plan_sysctls(const Desired& desired, const Observed& observed, Plan& plan) {
  Steps steps;
  for (const DesiredSysctl& wanted : all_sysctls(desired, observed.ra_devices))
    if (wanted.device.empty()) plan_sysctl(wanted, observed, plan, steps.additions);
  steps.removals = sysctl_restores(desired, observed);
  return steps;
}

// ---- devices and addresses ----

/// Not by diff(): a device that is down is a change without a difference, and each device's
/// settings follow its own step.
Steps plan_tuns(const Desired& desired, const Observed& observed, Plan& plan) {
  Steps steps;
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    if (name_taken(observed, tunnel)) continue;
    const Link* link = find_link(observed, tunnel.name);
    if (!link) {
      steps.additions.push_back(TunStep{std::nullopt, tunnel.tun});
    } else {
      Tun before = tunnel.tun;
      before.mtu = link->mtu;
      before.txqueuelen = link->txqueuelen;
      if (!(before == tunnel.tun) || !link->admin_up)
        steps.additions.push_back(TunStep{before, tunnel.tun});
    }
    for (const DesiredSysctl& wanted : desired.sysctls)
      if (wanted.device == tunnel.name) plan_sysctl(wanted, observed, plan, steps.additions);
  }
  for (const Link& link : observed.links) {
    if (!is_our_alias(link.alias) || desired.find_tunnel(link.name)) continue;
    steps.removals.push_back(
        TunStep{Tun{link.name, link.alias, link.mtu, link.txqueuelen, 0}, std::nullopt});
  }
  return steps;
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

Diff<Address> plan_addresses(const Desired& desired, const Observed& observed) {
  Diff<Address> addresses = diff(observed.addresses, desired.addresses);
  std::erase_if(addresses.changed, [&](const AddressStep& step) {
    return address_taken(desired, observed, *step.after);
  });
  return addresses;
}

Diff<NftTable> plan_nft_table(const Desired& desired, const Observed& observed) {
  Diff<NftTable> table = diff(observed.nft_table, desired.nft_table);
  if (observed.foreign_nft_table) table.changed.clear();
  return table;
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

bool takes_specs(const ObservedWorker& worker) {
  return (worker.state == WorkerState::running || worker.state == WorkerState::starting) &&
         !worker.digest.empty();
}

/// Those that are there. One that takes no other spec now counts as having the wanted one: its
/// exit, its time or a new apply comes first.
std::vector<WorkerRef> workers_now(const Desired& desired, const Observed& observed) {
  std::vector<WorkerRef> workers;
  for (const auto& [name, worker] : observed.workers) {
    if (worker.state == WorkerState::stopped) continue;
    if (const DesiredTunnel* tunnel = desired.find_tunnel(name)) {
      WorkerRef& now = workers.emplace_back(worker_ref(*tunnel));
      if (takes_specs(worker)) now.digest = worker.digest;
    } else if (worker.state != WorkerState::stopping) {
      workers.push_back({name, worker.digest, ""});
    }
  }
  return workers;
}

Diff<WorkerRef> plan_workers(const Desired& desired, const Observed& observed) {
  std::vector<WorkerRef> wanted;
  for (const DesiredTunnel& tunnel : desired.tunnels) wanted.push_back(worker_ref(tunnel));
  Diff<WorkerRef> workers = diff(workers_now(desired, observed), wanted, &WorkerRef::tunnel);
  // It would attach to a device that is not ours.
  std::erase_if(workers.changed, [&](const WorkerStep& step) {
    return !step.before && name_taken(observed, *desired.find_tunnel(step.after->tunnel));
  });
  return workers;
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

std::vector<Step> make_multipath_plan(const Desired& desired, const Observed& observed,
                                      const HealthTable& health) {
  const Multipath wanted = wanted_multipath(desired, observed, health);
  return feasible(plan_multipath(observed.multipath, wanted).in_order(), observed);
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
  const Multipath wanted = wanted_multipath(desired, observed, health);
  plan.notes = neighbour_notes(desired, observed, wanted.rules);
  Steps steps;
  steps.append(plan_sysctls(desired, observed, plan));
  steps.append(plan_tuns(desired, observed, plan));
  steps.append(plan_addresses(desired, observed));
  steps.append(plan_nft_table(desired, observed));
  steps.append(plan_workers(desired, observed));
  // Traffic does not wait for the page: whether it can be served there is found by doing it.
  steps.append(diff(observed.page, desired.metrics));
  steps.append(plan_multipath(observed.multipath, wanted));
  plan.steps = feasible(std::move(steps).in_order(), observed);
  return plan;
}

}  // namespace tunorch
