// The life of one process as a table of states and events: a tunnel's, or tunorch-web. Pure: its
// owners (tunnels/tunnel_worker, daemon/web_process) start, stop and time the process.
#pragma once

#include <chrono>
#include <cstdint>

#include "orchestrator/config/cluster.hpp"

namespace tunorch {

//             start               ready
//   stopped ─────────▶ starting ─────────▶ running
//      ▲                  │ exited            │ exited
//      │                  ▼                   ▼
//      │   stop        backoff ◀──────────────┤        too many crashes in a row
//      ├──────────────────┤─────────────────────────▶ quarantined
//      │                  │ due                            │ reset (a new apply)
//      │                  ▼                                ▼
//      │              (stopped, and the plan starts it again)
//      │ exited
//   stopping ◀──── stop ──── starting, running
enum class WorkerState : std::uint8_t {
  stopped,      // not there; the plan may start it
  starting,     // launched, its spec sent
  running,      // it said `ready`
  stopping,     // asked to stop
  backoff,      // it died; not before `due`
  quarantined,  // it died `quarantine_after` times in a row; a new apply frees it
};

const char* to_string(WorkerState state);

/// Whether it has a process.
inline bool is_alive(WorkerState state) {
  return state == WorkerState::starting || state == WorkerState::running ||
         state == WorkerState::stopping;
}

enum class WorkerEvent : std::uint8_t { start, ready, stop, exited, due, reset };

class Lifecycle {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit Lifecycle(const RestartOptions& options) : options_(options) {}

  /// `jitter` in [0, 1) spreads restarts so that many workers do not return at once.
  /// An event with no meaning in the state is ignored.
  void on(WorkerEvent event, time_point now, double jitter = 0.5);

  void set_options(const RestartOptions& options) { options_ = options; }
  WorkerState state() const { return state_; }
  /// In `backoff`: when to send `due`.
  time_point due_at() const { return due_at_; }
  /// Deaths since the first start that were not asked for.
  int restarts() const { return restarts_; }
  bool alive() const { return is_alive(state_); }

 private:
  void died(time_point now, double jitter);

  RestartOptions options_;
  WorkerState state_ = WorkerState::stopped;
  time_point running_since_{};
  time_point due_at_{};
  int crashes_ = 0;  // in a row, without a stable time between
  int restarts_ = 0;
};

/// A worker that ran this long is no longer in a crash loop.
inline constexpr std::chrono::seconds stable_after{10};

}  // namespace tunorch
