// Rounds of ICMP echoes through the tunnels' devices: to the peers' link addresses, and to the
// targets of the file. Says what was answered to the workers, which judge it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "orchestrator/plan/desired.hpp"
#include "orchestrator/tunnels/device_probe.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"

namespace tunorch {

class ProbeRounds {
 public:
  using Clock = TunnelWorker::Clock;
  using WorkerOf = std::function<TunnelWorker&(const DesiredTunnel&)>;

  /// `changed` is called where targets change a worker's health. Throws std::system_error without
  /// the right to raw sockets.
  ProbeRounds(boost::asio::io_context& io, WorkerOf worker_of,
              std::function<void(TunnelWorker&)> changed)
      : probe_(io), worker_of_(std::move(worker_of)), changed_(std::move(changed)) {}

  /// Ends each round whose time is up, and begins the next one.
  void run(const std::vector<DesiredTunnel>& tunnels, Clock::time_point now);
  void stop() { probe_.stop(); }

 private:
  void probe_peers(const DesiredTunnel& tunnel, TunnelWorker& worker);
  void probe_targets(const DesiredTunnel& tunnel, TunnelWorker& worker,
                     const std::vector<DesiredTunnel>& tunnels);
  bool any_reaches_targets(const std::string& bundle,
                           const std::vector<DesiredTunnel>& tunnels) const;

  DeviceProbe probe_;
  WorkerOf worker_of_;
  std::function<void(TunnelWorker&)> changed_;
  std::map<std::string, Clock::time_point> due_;  // by tunnel
  std::map<std::string, bool> reaches_targets_;   // by tunnel, in its last round
};

}  // namespace tunorch
