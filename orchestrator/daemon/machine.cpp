#include "orchestrator/daemon/machine.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>
#include <system_error>

namespace tunorch {

Machine::Machine(WorkerHost& host, TunnelWorker::Owner& owner)
    : journal_(host.paths.journal()), tunnels_(host, owner), web_(host) {}

void Machine::use_protocol(std::uint8_t protocol) {
  kernel_.emplace(protocol, journal_);
  kernel_->on_refusal = [](const std::string& words) {
    spdlog::warn("setting left alone: {}", words);
  };
  kernel_->probe_abilities();
  kernel_->remove_unmarked_devices();
}

Observed Machine::observe(const Desired& desired) {
  Observed observed = kernel_->observe(desired);
  note_processes(observed);
  return observed;
}

void Machine::note_processes(Observed& observed) const {
  observed.workers = tunnels_.observed();
  observed.page = web_.wanted();
}

namespace {

/// A kind of step for each part of the machine.
template <class... Parts>
struct ByKind : Parts... {
  using Parts::operator()...;
};
template <class... Parts>
ByKind(Parts...) -> ByKind<Parts...>;

}  // namespace

void Machine::perform(const Step& step, const Desired& desired) {
  on_step();
  try {
    std::visit(ByKind{[&](const WorkerStep& one) { tunnels_.perform(one, desired); },
                      [&](const PageStep& one) { web_.want(one.after); },
                      [&](const auto& one) { kernel_->perform(one); }},
               step);
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string("failed: ") + describe(step) + "\n  " + error.what());
  }
}

std::optional<routing::LinkActivity> Machine::activity(const std::string& device) {
  try {
    return kernel_->netlink().activity(device);
  } catch (const std::system_error&) {
    return std::nullopt;
  }
}

void Machine::flush_carrier(const std::string& device) {
  try {
    kernel_->netlink().carrier(device);
  } catch (const std::system_error& error) {
    spdlog::debug("cannot read carrier dev={} reason=\"{}\"", device, error.what());
  }
}

unsigned Machine::buckets_of(const DesiredTunnel& tunnel, const Multipath& multipath) {
  unsigned buckets = 0;
  for (const routing::NexthopGroup& group : multipath.groups) {
    if (std::ranges::none_of(group.members,
                             [&](const auto& one) { return one.id == tunnel.nexthop_id; }))
      continue;
    for (const routing::BucketShare& share : kernel_->netlink().bucket_shares(group.id))
      if (share.id == tunnel.nexthop_id) buckets += share.buckets;
  }
  return buckets;
}

}  // namespace tunorch
