// `restart --rolling`: one tunnel after the other is drained, restarted, and has to carry to its
// peers again before the next. Does nothing between two calls of go_on().
#pragma once

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/daemon/drain_watch.hpp"
#include "orchestrator/daemon/tunnel_set.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

class RollingRestart {
 public:
  using Time = std::chrono::steady_clock::time_point;

  RollingRestart(DrainWatch& drains, TunnelSet& tunnels) : drains_(drains), tunnels_(tunnels) {}

  bool under_way() const { return !left_.empty(); }
  /// `send` gets steps, and at the end that it is done or what failed.
  void begin(std::vector<std::string> tunnels, std::chrono::milliseconds drain_deadline,
             std::function<void(const DaemonAnswer&)> send, Time now);
  /// Call it on every tick: takes the next step if what it waits for has happened.
  void go_on(Time now);

 private:
  // draining ── drained ──▶ stopping ── running again ──▶ returning ── carries again ──▶ the next
  // Each of the last two has a limit; when it has passed, the others are left as they are.
  enum class Phase : std::uint8_t { draining, stopping, returning };

  void begin_next(Time now);
  void enter(Phase phase, Time now);
  void fail(const std::string& error);

  DrainWatch& drains_;
  TunnelSet& tunnels_;
  std::vector<std::string> left_;  // the first one is under way
  std::chrono::milliseconds drain_deadline_{};
  std::function<void(const DaemonAnswer&)> send_;
  Phase phase_ = Phase::draining;
  std::set<std::string> peers_;  // the first one carried to before
  Time since_{};
};

}  // namespace tunorch
