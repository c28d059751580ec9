// The kernel's side of the pipeline: observes what concerns us, and performs the steps that change
// it. Decides nothing; workers are not its business.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "orchestrator/kernel/journal.hpp"
#include "orchestrator/plan/plan.hpp"
#include "routing/netlink.hpp"

namespace tunorch {

class Kernel {
 public:
  /// Opens rtnetlink in this process's network namespace. `protocol` marks what is ours.
  Kernel(std::uint8_t protocol, Journal& journal);

  /// Tries what the kernel can do with nexthops; until then it is taken to have all of it.
  void probe_abilities();
  const routing::NexthopAbilities& abilities() const { return abilities_; }
  routing::Netlink& netlink() { return netlink_; }

  /// Devices that a daemon made and was killed before it marked them: only the journal knows them.
  void remove_unmarked_devices();

  /// Only reads. Needs no root, but for our nftables table (then taken as absent).
  Observed observe(const Desired& desired);

  /// Performs the step whole: on failure the object is as before and std::system_error says why. A
  /// tuning setting that the kernel refuses is remembered as not writable, and the next plan notes
  /// it.
  void perform(const SysctlStep& step);
  void perform(const TunStep& step);
  void perform(const AddressStep& step);
  void perform(const NftTableStep& step);
  void perform(const NexthopStep& step);
  void perform(const GroupStep& step);
  void perform(const RouteStep& step);
  void perform(const RuleStep& step);

  std::uint8_t protocol() const { return protocol_; }
  /// Called with words about a setting that could not be written or put back.
  std::function<void(const std::string&)> on_refusal = [](const std::string&) {};

 private:
  void put_back(const routing::Sysctl& setting);
  void make_tun(const routing::Tun& tun);
  void tune(const routing::Tun& before, const routing::Tun& after);

  std::uint8_t protocol_;
  Journal& journal_;
  routing::Netlink netlink_;
  routing::NexthopAbilities abilities_{true, true, true, ""};
  std::map<std::string, std::string> refused_;  // tuning settings the kernel would not take
};

}  // namespace tunorch
