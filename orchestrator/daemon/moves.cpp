#include "orchestrator/daemon/moves.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "orchestrator/plan/multipath.hpp"

namespace tunorch {
namespace {

using PeersOf = std::map<std::string, std::set<std::string>>;  // by tunnel

/// What `more` has and `less` has not, both by peer.
PeersOf difference(const PeersOf& more, const PeersOf& less) {
  PeersOf moved;
  for (const auto& [peer, tunnels] : more) {
    const auto other = less.find(peer);
    for (const std::string& tunnel : tunnels)
      if (other == less.end() || !other->second.contains(tunnel)) moved[tunnel].insert(peer);
  }
  return moved;
}

}  // namespace

void report_neighbours(NodeState& node, const Plan& plan, EventLog& events) {
  const auto is_new = [](const std::vector<std::string>& before, const std::string& words) {
    return std::ranges::find(before, words) == before.end();
  };
  for (const std::string& conflict : plan.conflicts)
    if (is_new(node.conflicts, conflict)) events.add({"conflict", "", "", conflict});
  for (const std::string& conflict : node.conflicts)
    if (is_new(plan.conflicts, conflict)) events.add({"conflict_over", "", "", conflict});
  for (const std::string& note : plan.notes)
    if (is_new(node.notes, note)) spdlog::warn("note: {}", note);
  node.conflicts = plan.conflicts;
  node.notes = plan.notes;
}

void Moves::report_healed(const std::vector<Step>& steps, Duration took) {
  for (const Step& step : steps) events_.add({"healed", "", "", describe(step), took.count()});
}

void Moves::report(const Desired& desired, const Multipath& multipath, const TunnelSet& tunnels,
                   const Drains& drains, Duration took) {
  PeersOf now = carrying(desired, multipath);
  const PeersOf out = difference(carried_, now), in = difference(now, carried_);
  carried_ = std::move(now);
  const auto add = [&](const char* kind, const PeersOf& moves) {
    for (const auto& [tunnel, peers] : moves) {
      const bool one = peers.size() == 1;
      const TunnelWorker* worker = tunnels.find(tunnel);
      std::string cause = worker ? worker->reason() : "";
      if (drains.state(tunnel) != Drain::none) cause = "drained";
      if (!one) cause += (cause.empty() ? "" : ", ") + std::to_string(peers.size()) + " peers";
      events_.add({kind, tunnel, one ? *peers.begin() : "", cause, took.count()});
    }
  };
  for (const auto& [tunnel, peers] : out)
    if (const TunnelWorker* worker = tunnels.find(tunnel))
      counters_.failover(
          drains.state(tunnel) != Drain::none ? Outage::drain : worker->outage(*peers.begin()),
          took.count() / 1000);
  add("tunnel_out", out);
  add("tunnel_in", in);
}

}  // namespace tunorch
