// One tunnel's process as the daemon sees it: its lifecycle, its end, and the health of its paths.
// What is common to our own worker (native_worker) and to other engines' programs (foreign_worker).
// What follows for the routes is the plan's business.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/health/lifecycle.hpp"
#include "orchestrator/health/path_health.hpp"
#include "orchestrator/plan/desired.hpp"
#include "orchestrator/plan/plan.hpp"
#include "orchestrator/system/files.hpp"
#include "orchestrator/system/process.hpp"
#include "orchestrator/telemetry/counters.hpp"
#include "orchestrator/telemetry/events.hpp"
#include "orchestrator/tunnels/worker_output.hpp"
#include "routing/link.hpp"

namespace tunorch {

/// Most of a line that a process printed, in bytes, which a reason quotes.
inline constexpr std::size_t max_words = 300;

struct WorkerHost {
  boost::asio::io_context& io;
  Paths paths;
  std::filesystem::path executable;  // tunorch-worker
  EventLog& events;
  /// Of a device; nothing where there is none.
  std::function<std::optional<routing::LinkActivity>(const std::string& device)> activity;
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
  virtual ~TunnelWorker() = default;
  TunnelWorker(const TunnelWorker&) = delete;
  TunnelWorker& operator=(const TunnelWorker&) = delete;

  virtual Engine engine() const = 0;
  /// Takes over the timings; nothing else of a running process changes.
  virtual void configure(const DesiredTunnel& wanted);

  /// All or nothing: throws std::runtime_error or std::system_error.
  void start(const DesiredTunnel& wanted);
  /// It is to serve another spec: live where that can be, else it stops, and the plan starts it.
  virtual void change(const DesiredTunnel& wanted);
  /// Asks it to stop, and kills it if it has not within a few seconds.
  void stop();
  /// Takes over a process an earlier daemon started; false where there is none that can be (one
  /// that lives nevertheless is killed).
  bool adopt();
  /// Counts a failed start as a death, so that backoff and quarantine hold for it too.
  void start_failed(const std::string& reason);
  void reset() { on(WorkerEvent::reset); }

  /// Now and then: whether it still lives well, and whether time changed its health; `forgive`
  /// after a pause of our own.
  void check(Clock::time_point now, bool forgive);

  /// Peers that echoes through the device may reach, and the sizes to try with each, in bytes; 0 is
  /// the least.
  virtual std::map<std::string, std::vector<unsigned>> echoes_due(Clock::time_point now) = 0;
  struct Echo {
    unsigned bytes;
    bool answered;
    std::chrono::microseconds rtt;
  };
  /// When the round that just began is to be ended.
  virtual milliseconds echo_time() const { return std::max(health_.interval, health_.timeout); }
  /// What became of a round of them.
  virtual void echoed(const std::string& peer, const std::vector<Echo>& echoes) = 0;

  /// Has it tell these peers; nothing happens where it cannot.
  virtual void tell(const std::vector<std::string>&, const worker::StateWord&) {}
  /// Has it send what is stranded in another tunnel's queues.
  virtual void carry(const std::vector<int>&) {}
  virtual bool can_carry() const { return false; }
  /// Ours, while it runs and after: through them a dead worker's packets can be saved.
  virtual std::vector<int> queues() const { return {}; }
  /// Turns the device's carrier off, which an open queue would keep on.
  virtual void drop_carrier() {}
  virtual std::map<std::string, std::uint64_t> dropped() const { return {}; }

  ObservedWorker observed() const { return {lifecycle_.state(), digest_}; }
  virtual TunnelHealth health(const std::string& peer) const;
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
  /// What was seen of PINGs or echoes, by peer, since the daemon knows this worker.
  const std::map<std::string, ProbeCounters>& probes() const { return probes_; }
  /// Of a tunnel that does not carry to this peer any more.
  Outage outage(const std::string& peer) const;
  /// In bytes, of packets that find no room in a connection.
  virtual std::uint64_t waiting_bytes() const { return 0; }
  /// Why it is not as it should be; empty: it is.
  std::string reason() const;

 protected:
  /// Launches it and calls launched(). Whatever it throws, what it made is taken away by forget().
  virtual void launch(const DesiredTunnel& wanted) = 0;
  /// Finds the way back to a process that lives; false where there is none.
  virtual bool reach() = 0;
  virtual void ask_to_stop() = 0;
  /// How it is doing while it runs.
  virtual void watch(Clock::time_point now, bool forgive) = 0;
  /// What more is known about its end than how it ended.
  virtual std::string last_words(const std::string& how);
  virtual ProbeWords probe_words() const { return {}; }
  /// The process is gone.
  virtual void forget() = 0;

  void launched(Process process, const std::string& digest);
  /// What the process serves from now on, for us and for the next daemon.
  void serves(const std::string& digest);
  void on(WorkerEvent event);
  void hangs(const std::string& how);
  PathHealth& path(const std::string& peer);

  WorkerHost& host_;
  std::string tunnel_;
  Owner& owner_;
  Lifecycle lifecycle_{RestartOptions{}};
  HealthOptions health_;
  FailbackOptions failback_;
  bool listener_ = false;
  WorkerOutput output_;

  std::optional<Process> process_;
  std::string digest_;
  std::string reason_;
  std::string passing_;  // what goes on, until there is a reason
  std::map<std::string, PathHealth> paths_;
  std::map<std::string, worker::SessionReport> sessions_;
  std::map<std::string, worker::SocketReport> sockets_;
  std::map<std::string, ProbeCounters> probes_;
  bool killed_ = false;  // it hangs: its end is under way
  bool hung_ = false;    // so the one that was there last ended

 private:
  void watch_exit();
  void exited();
  void forget_process();

  std::optional<boost::asio::posix::stream_descriptor> exit_watch_;
  boost::asio::steady_timer due_timer_, kill_timer_;
};

/// A process file as launched() writes it: the process, what engine it is of, and its digest.
struct ProcessFile {
  ProcessId id;
  Engine engine = Engine::native;
  std::string digest;

  std::string text() const;
  static std::optional<ProcessFile> parse(const std::string& text);
};

}  // namespace tunorch
