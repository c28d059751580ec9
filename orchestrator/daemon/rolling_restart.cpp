#include "orchestrator/daemon/rolling_restart.hpp"

#include <algorithm>

#include "protocol/daemon.hpp"

namespace tunorch {
namespace {

/// A tunnel that was restarted must carry again within this time.
constexpr std::chrono::seconds return_limit{30};

}  // namespace

void RollingRestart::begin(std::vector<std::string> tunnels,
                           std::chrono::milliseconds drain_deadline,
                           std::function<void(const DaemonAnswer&)> send, Time now) {
  left_ = std::move(tunnels);
  drain_deadline_ = drain_deadline;
  send_ = std::move(send);
  begin_next(now);
}

void RollingRestart::begin_next(Time now) {
  const std::string& tunnel = left_.front();
  send_(StepAnswer{"draining " + tunnel});
  peers_ = drains_.peers_carried_by(tunnel);
  enter(Phase::draining, now);
  try {
    drains_.begin(tunnel, now + drain_deadline_);
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void RollingRestart::enter(Phase phase, Time now) {
  phase_ = phase;
  since_ = now;
}

void RollingRestart::fail(const std::string& error) {
  send_(Failure{error, false, false});
  left_.clear();
  send_ = nullptr;
}

void RollingRestart::go_on(Time now) {
  if (!under_way()) return;
  const std::string tunnel = left_.front();
  switch (phase_) {
    case Phase::draining:
      if (drains_.drains().state(tunnel) != Drain::done) return;
      send_(StepAnswer{"restarting the worker of " + tunnel});
      enter(Phase::stopping, now);
      return tunnels_.find(tunnel)->stop();
    case Phase::stopping:
      if (tunnels_.find(tunnel)->lifecycle().state() != WorkerState::running) break;
      enter(Phase::returning, now);
      return drains_.end(tunnel);
    case Phase::returning:
      if (!std::ranges::includes(drains_.peers_carried_by(tunnel), peers_)) break;
      send_(StepAnswer{tunnel + " carries again"});
      left_.erase(left_.begin());
      if (!left_.empty()) return begin_next(now);
      send_(DoneAnswer{});
      send_ = nullptr;
      return;
  }
  if (now - since_ >= return_limit)
    fail(tunnel + " does not carry again: the others were left as they are (" +
         tunnels_.find(tunnel)->reason() + ")");
}

}  // namespace tunorch
