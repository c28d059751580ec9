#include "orchestrator/plan/observed.hpp"

#include <algorithm>

#include "orchestrator/plan/multipath.hpp"

namespace tunorch {
namespace {

using routing::Address;
using routing::Link;

const SysctlSetting* journaled(const Observed& observed, const std::string& key) {
  const auto found = std::ranges::find_if(
      observed.journal, [&](const SysctlSetting& s) { return s.setting.key == key; });
  return found == observed.journal.end() ? nullptr : &*found;
}

void record_change(Observed& observed, const SysctlStep& step) {
  if (!step.after) return;
  ObservedSysctl& now = observed.sysctls[step.after->setting.key];
  now.value = step.after->setting.value;
  now.writable = true;
  if (!step.after->device.empty()) return;
  const SysctlSetting* original = journaled(observed, step.after->setting.key);
  if (original && *original == *step.after)
    std::erase_if(observed.journal, [&](const SysctlSetting& s) { return s == *step.after; });
  else if (!original && step.before)
    observed.journal.push_back(*step.before);
}

void record_change(Observed& observed, const TunStep& step) {
  if (!step.after) {
    const std::string& name = step.before->name;
    std::erase_if(observed.links, [&](const Link& l) { return l.name == name; });
    std::erase_if(observed.addresses, [&](const Address& a) { return a.dev == name; });
    return;
  }
  if (!step.before) {
    Link link;
    link.name = step.after->name;
    link.multi_queue = step.after->multi_queue;
    observed.links.push_back(link);
  }
  Link& link = *std::ranges::find(observed.links, step.after->name, &Link::name);
  link.alias = step.after->alias;
  link.mtu = step.after->mtu;
  link.txqueuelen = step.after->txqueuelen;
  link.admin_up = true;
}

void record_change(Observed& observed, const AddressStep& step) {
  if (step.before) std::erase(observed.addresses, *step.before);
  if (step.after) observed.addresses.push_back(*step.after);
}

void record_change(Observed& observed, const NftTableStep& step) {
  observed.nft_table = step.after;
}

void record_change(Observed& observed, const PageStep& step) {
  observed.page = step.after;
}

void record_change(Observed& observed, const WorkerStep& step) {
  if (step.before) observed.workers.erase(step.before->tunnel);
  if (step.after)
    observed.workers[step.after->tunnel] = {WorkerState::starting, step.after->digest};
}

template <class Part>
void record_change(Observed& observed, const Change<Part>& step) {
  record(observed.multipath, step);
}

}  // namespace

void record(Observed& observed, const Step& step) {
  std::visit([&](const auto& change) { record_change(observed, change); }, step);
}

bool is_our_alias(const std::string& alias) {
  return alias.starts_with("tunorch:");
}

}  // namespace tunorch
