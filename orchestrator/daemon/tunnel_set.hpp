// The tunnels' processes of this node, by tunnel: makes, starts, changes, stops and adopts them as
// steps say. Which of them carry is the plan's business.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "orchestrator/health/drains.hpp"
#include "orchestrator/plan/observed.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"

namespace tunorch {

using Workers = std::map<std::string, std::unique_ptr<TunnelWorker>>;

class TunnelSet {
 public:
  TunnelSet(WorkerHost& host, TunnelWorker::Owner& owner) : host_(host), owner_(owner) {}

  const Workers& all() const { return workers_; }
  bool empty() const { return workers_.empty(); }
  /// Null if there is none.
  TunnelWorker* find(const std::string& tunnel) const;
  /// The one that serves the tunnel; made if it is missing.
  TunnelWorker& of(const DesiredTunnel& wanted);

  /// Takes over the processes that an earlier daemon left running.
  void adopt(const Desired& desired);
  /// Has each that is of the right engine take its timings and peers.
  void configure(const Desired& desired);
  /// Forgets backoff and quarantine.
  void reset();
  void check(TunnelWorker::Clock::time_point now, bool forgive);

  /// Throws where the process cannot be started or changed; that of another engine than our own is
  /// then only that tunnel's trouble.
  void perform(const WorkerStep& step, const Desired& desired);
  void start_failed(const std::string& tunnel, const std::string& reason);

  /// What the plan sees of them.
  std::map<std::string, ObservedWorker> observed() const;
  HealthTable health(const Desired& desired, const Drains& drains) const;
  bool any_alive() const;

  /// Hands what is stranded in a dead process's queues to the living one of its bundle that has the
  /// most sessions.
  void salvage(TunnelWorker& dead, const Desired& desired);
  /// Lets go of one that ended and is no longer wanted, or is wanted with another engine. True if a
  /// new one took its place, which has to be started.
  bool replace_ended(const std::string& tunnel, const Desired& desired);

 private:
  std::unique_ptr<TunnelWorker> make(const std::string& tunnel, Engine engine);

  WorkerHost& host_;
  TunnelWorker::Owner& owner_;
  Workers workers_;
};

}  // namespace tunorch
