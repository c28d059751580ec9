#include "orchestrator/health/lifecycle.hpp"

#include <algorithm>

namespace tunorch {

const char* to_string(WorkerState state) {
  switch (state) {
    case WorkerState::starting:
      return "starting";
    case WorkerState::running:
      return "running";
    case WorkerState::stopping:
      return "stopping";
    case WorkerState::backoff:
      return "backoff";
    case WorkerState::quarantined:
      return "quarantined";
    case WorkerState::stopped:
      break;
  }
  return "stopped";
}

void Lifecycle::on(WorkerEvent event, time_point now, double jitter) {
  using enum WorkerState;
  switch (state_) {
    case stopped:
      if (event == WorkerEvent::start) state_ = starting;
      break;  // ready, exited: late words of a process we gave up; stop, due, reset: nothing to do
    case starting:
      if (event == WorkerEvent::ready) {
        state_ = running;
        running_since_ = now;
      }
      if (event == WorkerEvent::stop) state_ = stopping;
      if (event == WorkerEvent::exited) died(now, jitter);
      break;  // start, due: under way already; reset: it is not quarantined
    case running:
      if (event == WorkerEvent::stop) state_ = stopping;
      if (event == WorkerEvent::exited) {
        if (now - running_since_ >= stable_after) crashes_ = 0;
        died(now, jitter);
      }
      break;  // start, ready, due, reset: it runs
    case stopping:
      if (event == WorkerEvent::exited) state_ = stopped;
      break;  // everything else waits for the exit
    case backoff:
      if (event == WorkerEvent::stop || event == WorkerEvent::due || event == WorkerEvent::reset)
        state_ = stopped;
      if (event == WorkerEvent::reset) crashes_ = 0;
      break;  // start: not yet; ready, exited: it is gone already
    case quarantined:
      if (event == WorkerEvent::stop || event == WorkerEvent::reset) {
        state_ = stopped;
        crashes_ = 0;
      }
      break;  // start, due: it would only die again
  }
}

void Lifecycle::died(time_point now, double jitter) {
  ++restarts_;
  ++crashes_;
  if (crashes_ >= options_.quarantine_after) {
    state_ = WorkerState::quarantined;
    return;
  }
  state_ = WorkerState::backoff;
  const int doublings = std::min(crashes_ - 1, 20);
  const auto pause = std::min(options_.backoff * (1 << doublings), options_.max_backoff);
  due_at_ = now + std::chrono::duration_cast<milliseconds>(pause * (0.75 + 0.5 * jitter));
}

}  // namespace tunorch
