// One tunnel's worker as the daemon sees it: its process, its control link, its lifecycle and the
// health of its paths. Starts, stops and adopts it; what follows for the routes is the plan's
// business.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "orchestrator/desired.hpp"
#include "orchestrator/events.hpp"
#include "orchestrator/files.hpp"
#include "orchestrator/lifecycle.hpp"
#include "orchestrator/path_health.hpp"
#include "orchestrator/plan.hpp"
#include "orchestrator/process.hpp"
#include "orchestrator/worker_link.hpp"

namespace tunorch {

struct WorkerHost {
  boost::asio::io_context& io;
  Paths paths;
  std::filesystem::path executable;  // tunorch-worker
  EventLog& events;
};

class TunnelWorker {
 public:
  using Clock = std::chrono::steady_clock;

  class Owner {
   public:
    /// Something happened that may change the plan.
    virtual void changed(TunnelWorker& worker) = 0;
    /// Its process ended: its packets may be stranded in its queues.
    virtual void ended(TunnelWorker& worker) = 0;
    /// A peer's STATE came in by this tunnel.
    virtual void peer_told(const std::string& peer, const worker::StateWord& word) = 0;

   protected:
    ~Owner() = default;
  };

  TunnelWorker(WorkerHost& host, std::string tunnel, Owner& owner);
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

  /// Looks whether it still speaks, and whether time changed its health; `forgive` after a pause of
  /// our own. A worker that hangs is killed.
  void check(Clock::time_point now, bool forgive);

  /// Has it tell these peers; nothing happens where it cannot.
  void tell(const std::vector<std::string>& peers, const worker::StateWord& word);
  /// Has it send what is stranded in another tunnel's queues.
  void carry(const std::vector<int>& queues);
  /// Ours, while it runs and after: through them a dead worker's packets can be saved.
  std::vector<int> queues() const;
  /// Says to the kernel that nobody serves the device, which a held queue would hide.
  void drop_carrier();

  ObservedWorker observed() const { return {lifecycle_.state(), digest_}; }
  TunnelHealth health(const std::string& peer) const;
  const Lifecycle& lifecycle() const { return lifecycle_; }
  const std::string& tunnel() const { return tunnel_; }
  /// By peer; of each that ever had a session.
  std::map<std::string, PathHealth>& paths() { return paths_; }
  const std::map<std::string, PathHealth>& paths() const { return paths_; }

  /// The last reports of the sessions that live, by peer.
  const std::map<std::string, worker::SessionReport>& sessions() const { return sessions_; }
  /// What the kernel made of their outer sockets' settings, by peer.
  const std::map<std::string, worker::SocketReport>& sockets() const { return sockets_; }
  pid_t pid() const { return process_ ? process_->id.pid : 0; }
  /// Why it is not as it should be; empty: it is.
  std::string reason() const;
  const std::map<std::string, std::uint64_t>& dropped() const { return dropped_; }

 private:
  void on(WorkerEvent event);
  void open_queues(int count);
  int open_streams(int wanted);
  void watch_exit();
  void watch_link();
  void link_closed();
  void exited();
  void on_report(const worker::Report& report, std::vector<routing::Fd> fds);
  void on_session_up(const worker::Report& report);
  void on_heartbeat(const worker::Report& report);
  void forget_process();
  void hangs(const std::string& how);
  PathHealth& path(const std::string& peer);

  WorkerHost& host_;
  std::string tunnel_;
  Owner& owner_;
  Lifecycle lifecycle_{RestartOptions{}};
  HealthOptions health_;
  FailbackOptions failback_;
  bool listener_ = false;

  std::optional<Process> process_;
  std::optional<boost::asio::posix::stream_descriptor> exit_watch_;
  std::unique_ptr<WorkerLink> link_;
  std::vector<routing::Fd> queues_;
  boost::asio::steady_timer due_timer_, kill_timer_;

  std::string digest_;
  std::string reason_;
  std::map<std::string, PathHealth> paths_;
  std::map<std::string, worker::SessionReport> sessions_;
  std::map<std::string, worker::SocketReport> sockets_;
  std::map<std::string, std::uint64_t> dropped_;
  Clock::time_point heard_{};
  std::optional<Activity> when_suspected_;  // it has been quiet for a while
  bool killed_ = false;                     // it hangs: its end is under way
  bool adopted_unheard_ = false;            // adopted, and no heartbeat told its sessions yet
};

}  // namespace tunorch
