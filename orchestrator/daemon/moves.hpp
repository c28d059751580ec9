// Reports which tunnels left and joined the routes, why, and how long that took: as events and for
// metrics. Moves nothing.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/daemon/apply.hpp"
#include "orchestrator/daemon/tunnel_set.hpp"
#include "orchestrator/plan/observed.hpp"
#include "orchestrator/plan/step.hpp"
#include "orchestrator/telemetry/counters.hpp"
#include "orchestrator/telemetry/events.hpp"

namespace tunorch {

/// Reports what is in the way of the file, and what cannot be had here, when it turns up and when
/// it is over; `node` keeps it.
void report_neighbours(NodeState& node, const Plan& plan, EventLog& events);

class Moves {
 public:
  using Duration = std::chrono::duration<double, std::milli>;

  Moves(EventLog& events, NodeCounters& counters) : events_(events), counters_(counters) {}

  /// After a tick changed what carries; `took`: from its cause on.
  void report(const Desired& desired, const Multipath& multipath, const TunnelSet& tunnels,
              const Drains& drains, Duration took);
  /// After steps that put back what another program had changed.
  void report_healed(const std::vector<Step>& steps, Duration took);

 private:
  EventLog& events_;
  NodeCounters& counters_;
  std::map<std::string, std::set<std::string>> carried_;  // by peer, as of the last report
};

}  // namespace tunorch
