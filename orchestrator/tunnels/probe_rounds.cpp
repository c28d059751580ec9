#include "orchestrator/tunnels/probe_rounds.hpp"

#include <algorithm>

namespace tunorch {

void ProbeRounds::run(const std::vector<DesiredTunnel>& tunnels, Clock::time_point now) {
  for (const DesiredTunnel& tunnel : tunnels) {
    Clock::time_point& due = due_[tunnel.name];
    if (now < due) continue;
    TunnelWorker& worker = worker_of_(tunnel);
    probe_peers(tunnel, worker);
    probe_targets(tunnel, worker, tunnels);
    due = now + worker.echo_time();
  }
}

void ProbeRounds::probe_peers(const DesiredTunnel& tunnel, TunnelWorker& worker) {
  const std::string round = tunnel.name + "/link";
  const auto answers = probe_.answers(round);
  for (const auto& [peer, address] : tunnel.link_peers) {
    std::vector<TunnelWorker::Echo> of_peer;
    for (const DeviceProbe::Answer& answer : answers)
      if (answer.echo.target == address)
        of_peer.push_back({answer.echo.bytes, answer.answered, answer.rtt});
    if (!of_peer.empty()) worker.echoed(peer, of_peer);
  }
  std::vector<DeviceProbe::Echo> echoes;
  for (const auto& [peer, sizes] : worker.echoes_due(Clock::now()))
    if (const auto address = tunnel.link_peers.find(peer); address != tunnel.link_peers.end())
      for (const unsigned size : sizes) echoes.push_back({address->second, size});
  probe_.begin_round(round, tunnel.name, tunnel.link_address, echoes);
}

/// A listener with many dialers leaves the targets to them.
void ProbeRounds::probe_targets(const DesiredTunnel& tunnel, TunnelWorker& worker,
                                const std::vector<DesiredTunnel>& tunnels) {
  if (tunnel.health.targets.empty() || tunnel.spec.listener || !tunnel.inner4) return;
  std::vector<DeviceProbe::Echo> echoes;
  for (const std::string& target : tunnel.health.targets)
    echoes.push_back({*Prefix::parse(target), 0});
  const std::string round = tunnel.name + "/targets";
  const auto reached = probe_.answers(round);
  probe_.begin_round(round, tunnel.name, *tunnel.inner4, echoes);
  if (reached.size() != echoes.size() || worker.sessions().empty()) return;
  const bool quorum =
      std::ranges::count_if(reached, &DeviceProbe::Answer::answered) >= tunnel.health.quorum;
  reaches_targets_[tunnel.name] = quorum;
  // Targets that no tunnel reaches are themselves away: that says nothing about this one.
  if (!quorum && !any_reaches_targets(tunnel.spec.bundle, tunnels)) return;
  PathHealth& path = worker.paths()[worker.sessions().begin()->first];
  const TunnelHealth before = path.health();
  path.targets(quorum, Clock::now());
  if (path.health() != before) changed_(worker);
}

bool ProbeRounds::any_reaches_targets(const std::string& bundle,
                                      const std::vector<DesiredTunnel>& tunnels) const {
  return std::ranges::any_of(tunnels, [&](const DesiredTunnel& other) {
    const auto reaches = reaches_targets_.find(other.name);
    return other.spec.bundle == bundle && reaches != reaches_targets_.end() && reaches->second;
  });
}

}  // namespace tunorch
