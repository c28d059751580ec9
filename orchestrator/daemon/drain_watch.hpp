// Drains: begins and ends them, follows them to their end, and answers the clients that wait for
// it. That nothing new goes to a drained tunnel is the plan's business.
#pragma once

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/daemon/apply.hpp"
#include "orchestrator/daemon/machine.hpp"
#include "orchestrator/health/drains.hpp"
#include "orchestrator/telemetry/events.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

class DrainWatch {
 public:
  using Time = Drains::time_point;

  /// `tick` follows each change of what is drained.
  DrainWatch(const NodeState& node, Machine& machine, EventLog& events, std::function<void()> tick)
      : node_(node), machine_(machine), events_(events), tick_(std::move(tick)) {}

  const Drains& drains() const { return drains_; }

  /// Throws std::runtime_error if there is no such tunnel, or it is the last one that carries to a
  /// peer: to cut a peer off is what `down` is for.
  void begin(const std::string& tunnel, Time deadline);
  void end(const std::string& tunnel);
  /// The client gets one answer: done, or that the drain was called off.
  void wait(const std::string& tunnel, std::function<void(const DaemonAnswer&)> send) {
    waiting_.push_back({tunnel, std::move(send)});
  }
  /// Now and then: ends those that no bucket is left of, or whose deadline has passed.
  void follow(Time now);

  std::set<std::string> peers_carried_by(const std::string& tunnel) const;

 private:
  struct Waiting {
    std::string tunnel;
    std::function<void(const DaemonAnswer&)> send;
  };

  const NodeState& node_;
  Machine& machine_;
  EventLog& events_;
  std::function<void()> tick_;
  Drains drains_;
  std::vector<Waiting> waiting_;
};

}  // namespace tunorch
