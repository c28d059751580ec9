// One change to the machine as data: what an object is before and after. A step can describe itself
// and name its inverse; daemon/machine performs it.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "orchestrator/config/cluster.hpp"
#include "routing/link.hpp"
#include "routing/nexthop.hpp"
#include "routing/nft.hpp"
#include "routing/route.hpp"
#include "routing/rule.hpp"
#include "routing/sysctl.hpp"

namespace tunorch {

/// No `before`: it is made. No `after`: it is removed. Both: it is changed in place.
template <class T>
struct Change {
  std::optional<T> before, after;
};

/// A kernel setting, with the others its write fans out to and that are to be put back behind it.
struct SysctlSetting {
  routing::Sysctl setting;
  std::vector<routing::Sysctl> fan_out = {};
  bool required = true;
  std::string device = {};  // of ours; such a setting needs no journal, it vanishes with the device

  bool operator==(const SysctlSetting&) const = default;
};

/// What a plan needs to know of a worker; the spec itself is found by the tunnel's name.
struct WorkerRef {
  std::string tunnel;
  std::string digest;  // of its spec
  std::string text;    // "listening on port 4430" or "dialing 203.0.113.10:4430"

  bool operator==(const WorkerRef&) const = default;
};

using SysctlStep = Change<SysctlSetting>;
using TunStep = Change<routing::Tun>;
using AddressStep = Change<routing::Address>;
using NftTableStep = Change<routing::NftTable>;
using WorkerStep = Change<WorkerRef>;
/// Where metrics and the page are served: tunorch-web.
using PageStep = Change<SocketAddress>;
using NexthopStep = Change<routing::NexthopObject>;
using GroupStep = Change<routing::NexthopGroup>;
using RouteStep = Change<routing::Route>;
using RuleStep = Change<routing::Rule>;
using Step = std::variant<SysctlStep, TunStep, AddressStep, NftTableStep, WorkerStep, PageStep,
                          NexthopStep, GroupStep, RouteStep, RuleStep>;

/// One line, as a diff: "+ tun backbone-0 mtu 1500 …", "~ …: old -> new", "- …".
std::string describe(const Step& step);
Step inverse(const Step& step);

}  // namespace tunorch
