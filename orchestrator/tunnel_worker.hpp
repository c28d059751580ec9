// One tunnel's worker as the daemon sees it: its process, its control link, its lifecycle and its
// sessions' health. Starts, stops and adopts it; what follows for the routes is the plan's
// business.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "orchestrator/desired.hpp"
#include "orchestrator/files.hpp"
#include "orchestrator/health.hpp"
#include "orchestrator/lifecycle.hpp"
#include "orchestrator/plan.hpp"
#include "orchestrator/process.hpp"
#include "orchestrator/worker_link.hpp"

namespace tunorch {

struct WorkerHost {
  boost::asio::io_context& io;
  Paths paths;
  std::filesystem::path executable;  // tunorch-worker
};

class TunnelWorker {
 public:
  using Clock = std::chrono::steady_clock;

  /// `on_change` is called after anything that may change the plan.
  TunnelWorker(WorkerHost& host, std::string tunnel, std::function<void()> on_change);
  TunnelWorker(const TunnelWorker&) = delete;
  TunnelWorker& operator=(const TunnelWorker&) = delete;

  /// Takes over the timings; nothing else of a running worker changes.
  void configure(const DesiredTunnel& wanted);

  /// Opens its TUN queues and listening sockets, launches it, sends the spec. All or nothing:
  /// throws std::runtime_error or std::system_error.
  void start(const DesiredTunnel& wanted);
  /// A new spec: live where only peers and timings differ, else it stops, and the plan starts it.
  void change(const DesiredTunnel& wanted);
  /// Asks it to stop, and kills it if it has not within a few seconds.
  void stop();
  /// Connects to a worker an earlier daemon started; false where there is none that answers (one
  /// that lives but does not answer is killed).
  bool adopt();
  /// Counts a failed start as a death, so that backoff and quarantine hold for it too.
  void start_failed(const std::string& reason);
  void reset() { on(WorkerEvent::reset); }

  /// Looks whether it still speaks; `forgive` after a pause of our own.
  void check(Clock::time_point now, bool forgive);

  ObservedWorker observed() const { return {lifecycle_.state(), digest_}; }
  TunnelHealth health(const std::string& peer) const;
  const Lifecycle& lifecycle() const { return lifecycle_; }

  struct Session {
    bool live = true;
    Dampener dampener;
    worker::SessionReport last;
  };
  const std::map<std::string, Session>& sessions() const { return sessions_; }
  pid_t pid() const { return process_ ? process_->id.pid : 0; }
  const std::string& reason() const { return reason_; }
  const std::map<std::string, std::uint64_t>& dropped() const { return dropped_; }

 private:
  void on(WorkerEvent event);
  void watch_exit();
  void watch_link();
  void link_closed();
  void exited();
  void on_report(const worker::Report& report);
  void on_session_up(const worker::Report& report);
  void on_heartbeat(const worker::Report& report);
  void forget_process();
  void say_health(const std::string& peer, Health before, Health after) const;

  WorkerHost& host_;
  std::string tunnel_;
  std::function<void()> on_change_;
  Lifecycle lifecycle_{RestartOptions{}};
  HealthOptions health_;
  bool listener_ = false;

  std::optional<Process> process_;
  std::optional<boost::asio::posix::stream_descriptor> exit_watch_;
  std::unique_ptr<WorkerLink> link_;
  boost::asio::steady_timer due_timer_, kill_timer_;

  std::string digest_;
  std::string reason_;
  std::map<std::string, Session> sessions_;
  std::map<std::string, std::uint64_t> dropped_;
  Clock::time_point heard_{};
  bool silent_ = false;           // hangs, as far as we can see
  bool adopted_unheard_ = false;  // adopted, and no heartbeat told its sessions yet
};

}  // namespace tunorch
