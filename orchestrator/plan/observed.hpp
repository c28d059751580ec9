// What is there and concerns us: the kernel's state and the workers', as the plan sees them, and
// what a step will change of it. Pure data; kernel/ and daemon/ fill it in.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/health/lifecycle.hpp"
#include "orchestrator/plan/step.hpp"
#include "routing/link.hpp"
#include "routing/nexthop.hpp"
#include "routing/nft.hpp"
#include "routing/route.hpp"
#include "routing/rule.hpp"

namespace tunorch {

/// What carries traffic into the bundles.
struct Multipath {
  std::vector<routing::NexthopObject> nexthops;
  std::vector<routing::NexthopGroup> groups;
  std::vector<routing::Route> routes;
  std::vector<routing::Rule> rules;
};

struct ObservedSysctl {
  std::optional<std::string> value;  // nothing: the key does not exist here
  bool writable = false;
  std::vector<routing::Sysctl> fan_out;  // the other keys a write changes, with their values
};

struct ObservedWorker {
  WorkerState state = WorkerState::stopped;
  std::string digest;  // of the spec it serves; empty: not known
};

/// What is there and concerns us. `journal` is what settings were before our first write.
struct Observed {
  std::vector<routing::Link> links;  // all of the namespace: a name may be taken
  std::map<std::string, ObservedSysctl> sysctls;
  std::vector<SysctlSetting> journal;
  std::vector<routing::Address> addresses, foreign_addresses;
  Multipath multipath;
  /// To a wanted prefix; in a table of ours; and one of each table that may answer before ours.
  std::vector<routing::Route> foreign_routes;
  std::vector<routing::OtherRule> other_rules;
  routing::NexthopAbilities abilities;
  std::optional<routing::NftTable> nft_table;
  bool foreign_nft_table = false;       // of our table's name
  std::vector<std::string> ra_devices;  // not ours; with a default route from router advertisements
  std::map<std::string, ObservedWorker> workers;  // by tunnel
  std::optional<SocketAddress> page;              // where it is served, or is tried to be
};

/// What there will be when the step has been performed.
void record(Observed& observed, const Step& step);

bool is_our_alias(const std::string& alias);

}  // namespace tunorch
