// Which tunnels of a group carry towards its peer, and with what weights: health, tiers, drains and
// slow starts weighed against what is installed. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "orchestrator/health/health.hpp"
#include "orchestrator/plan/desired.hpp"

namespace tunorch {

struct Member {
  std::string tunnel;
  unsigned weight = 1;

  bool operator==(const Member&) const = default;
};

/// What the mechanism in use allows.
struct WeightLimits {
  unsigned highest = 256;  // weight of one member
  /// Buckets of a resilient group: a draining member then stays with a weight that earns it none,
  /// so that its idle buckets leave and its busy ones stay. 0: no buckets; it leaves at once.
  unsigned buckets = 0;
};

/// Sorted by tunnel, those that drain behind the others. Empty only where none can carry.
/// `installed` are the tunnels that carry now.
///
/// Up is in, down is out, and unknown stays as it was. Probes alone never leave fewer than
/// `min_live`: tunnels whose sessions live are kept then, sick or not. Of the tiers (priority) the
/// lower one carries only while fewer than `min_live` of those above it can.
std::vector<Member> choose_members(const DesiredGroup& group,
                                   const std::map<std::string, TunnelHealth>& health,
                                   const std::set<std::string>& installed,
                                   const WeightLimits& limits);

}  // namespace tunorch
