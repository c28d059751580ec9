// The daemon's heart: holds what is desired, what was observed and how healthy it is, and makes one
// plan whenever something happened. One thread, one io_context; the thinking is in plan.cpp.
//
// supervisor.cpp: life and tick · supervisor_watch.cpp: what it notices · supervisor_apply.cpp:
// apply, confirm and their waiting clients · supervisor_requests.cpp: the other verbs
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/daemon/applied.hpp"
#include "orchestrator/daemon/control_server.hpp"
#include "orchestrator/daemon/peer_talk.hpp"
#include "orchestrator/daemon/watchdog.hpp"
#include "orchestrator/daemon/web_process.hpp"
#include "orchestrator/health/drains.hpp"
#include "orchestrator/kernel/journal.hpp"
#include "orchestrator/kernel/kernel.hpp"
#include "orchestrator/pki/pki.hpp"
#include "orchestrator/plan/plan.hpp"
#include "orchestrator/system/files.hpp"
#include "orchestrator/telemetry/events.hpp"
#include "orchestrator/telemetry/log_ring.hpp"
#include "orchestrator/tunnels/device_probe.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"
#include "routing/netlink_monitor.hpp"

namespace tunorch {

class Supervisor final : public TunnelWorker::Owner {
 public:
  /// `log` is the daemon's, which outlives it.
  Supervisor(boost::asio::io_context& io, Paths paths, std::filesystem::path worker_executable,
             LogRing& log);

  /// Adopts what lives and loads the last applied file, then brings the one to the other.
  void resume();
  /// Takes everything down; `on_done` gets the problems that were left, if any.
  void take_down(std::function<void(const std::string&)> say,
                 std::function<void(std::vector<std::string>)> on_done);

  void handle(const nlohmann::json& request, const std::shared_ptr<ControlConnection>& client);

  /// Called when `down` is complete.
  std::function<void()> on_down = [] {};

  // TunnelWorker::Owner
  void changed(TunnelWorker& worker) override;
  void ended(TunnelWorker& worker) override;
  void peer_told(const std::string& peer, const worker::StateWord& word) override;

 private:
  using Client = std::shared_ptr<ControlConnection>;
  using Clock = std::chrono::steady_clock;
  using Say = std::function<void(const std::string&)>;

  // ---- life ----
  Desired load_desired(const AppliedFile& file, bool with_node_keys) const;
  void add_keys(const Cluster& cluster, const NodeKeys& keys, DesiredTunnel& tunnel) const;
  void use_protocol(std::uint8_t protocol);
  void cannot_load(const std::string& why);
  void guard_routes(const Desired& without_keys);
  void load_again();
  void adopt_workers(const Desired& desired);
  void find_leftovers();
  void finish_down();
  void remove_files();

  // ---- apply ----
  struct WaitingApply {
    Client client;
    Clock::time_point deadline;
    bool wait_peers = false;
    std::set<std::pair<std::string, std::string>> lived;  // tunnel, peer: sessions to live again
    std::size_t told = 0;                                 // how many are missing
  };
  void handle_apply(const nlohmann::json& request, const Client& client);
  void handle_plan(const nlohmann::json& request, const Client& client);
  void handle_confirm(const Client& client);
  void apply(const Applied& applied, const Desired& wanted, const Say& say);
  void undo(const std::vector<Step>& done, std::string& text);
  void verify(const Desired& wanted);
  void wait_for_health(WaitingApply waiting);
  std::vector<std::string> missing(const WaitingApply& waiting) const;
  void answer_waiting();
  void await_confirmation();
  void handle_revert(const Client& client);
  void revert(const std::string& cause);

  // ---- other requests ----
  struct Restart {
    std::vector<std::string> left;  // tunnels, the first one is under way
    milliseconds deadline;
    enum class Phase : std::uint8_t { draining, stopping, returning } phase = Phase::draining;
    std::set<std::string> peers;  // it carried to, and shall again
    Clock::time_point since;
    Client client;
  };
  struct WaitingDrain {
    std::string tunnel;
    Client client;
  };
  struct Question {  // to a peer's daemon
    Client client;
    nlohmann::json ours;
    std::shared_ptr<boost::asio::steady_timer> timer;
  };
  void handle_status(const nlohmann::json& request, const Client& client);
  void handle_events(const nlohmann::json& request, const Client& client);
  void handle_logs(const nlohmann::json& request, const Client& client);
  void handle_drain(const nlohmann::json& request, const Client& client);
  void handle_undrain(const nlohmann::json& request, const Client& client);
  void handle_restart(const nlohmann::json& request, const Client& client);
  void handle_failback(const nlohmann::json& request, const Client& client);
  void handle_explain(const nlohmann::json& request, const Client& client);
  void tell_note(TunnelWorker& by, const std::string& peer, const nlohmann::json& note);
  void answer_question(std::uint64_t number, const nlohmann::json& answer);
  void heed_note(const std::string& peer, const std::string& text);
  void refuse_if_last(const std::string& tunnel) const;
  std::set<std::string> peers_carried_by(const std::string& tunnel) const;
  void begin_restart();
  void go_on_restarting();
  void follow_drains();
  void warn_of_expiry(Clock::time_point now);
  void probe_devices(Clock::time_point now);
  void probe_device(const DesiredTunnel& tunnel, TunnelWorker& one);
  void probe_targets(const DesiredTunnel& tunnel, TunnelWorker& one);
  bool somebody_reaches_targets(const DesiredTunnel& tunnel) const;

  // ---- the tick ----
  Observed observe(const Desired& desired);
  void note_workers(Observed& observed) const;
  HealthTable health() const;
  void arm();
  void tick();
  void attempt(const std::function<void()>& part);
  void change_carriage();
  void mend();
  void report_moves(const std::vector<Step>& steps, Clock::time_point since);
  /// Without a time: after something failed.
  void look_again(milliseconds after = milliseconds(50));
  void look_at_kernel();
  void note_neighbours(const Plan& plan);
  void watch_kernel();
  void perform(const Desired& desired, const Step& step);
  void perform_worker(const Desired& desired, const WorkerStep& step);
  void start_worker(TunnelWorker& one, const DesiredTunnel& wanted);
  std::unique_ptr<TunnelWorker> make_worker(const std::string& tunnel, Engine engine);
  TunnelWorker& worker(const DesiredTunnel& wanted);
  std::optional<routing::LinkActivity> activity_of(const std::string& device);
  void check();

  boost::asio::io_context& io_;
  const std::string started_ = utc_now();
  LogRing& log_;
  EventLog events_;
  Tally tally_;
  WorkerHost host_;
  Journal journal_;
  std::optional<Watchdog> watchdog_;
  std::optional<Kernel> kernel_;
  std::optional<DeviceProbe> probe_;
  std::map<std::string, Clock::time_point> probe_due_;  // by tunnel
  std::map<std::string, bool> reaches_targets_;         // by tunnel, in its last round
  std::optional<routing::NetlinkMonitor> monitor_;
  std::optional<boost::asio::posix::stream_descriptor> monitor_watch_;
  std::optional<Applied> applied_;
  std::string load_problem_;                    // why that is not in force; empty: it is
  std::vector<std::string> conflicts_, notes_;  // as of the last plan
  Desired desired_;
  Observed observed_;
  std::map<std::string, std::unique_ptr<TunnelWorker>> workers_;
  std::map<std::string, std::set<std::string>> carried_;  // by peer, as of the last tick
  Drains drains_;
  PeerTalk talk_;
  WebProcess web_{host_};
  std::vector<WaitingApply> waiting_;
  std::vector<WaitingDrain> waiting_drains_;
  std::optional<Restart> restart_;
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t last_question_ = 0;
  boost::asio::steady_timer check_timer_, retry_timer_, wait_timer_, confirm_timer_;
  Clock::time_point last_check_{}, last_look_{}, last_load_ = Clock::now();
  std::optional<Clock::time_point> expiry_warned_;
  std::optional<Clock::time_point> changed_at_;  // the first change that no tick followed yet
  bool over_ = false;                            // taken down: nothing is to be waited for any more
  bool armed_ = false;
  bool looked_ = false;  // the next tick follows a fresh look at the kernel
  bool busy_ = false;    // in apply or a tick: changes join it instead of starting another
  struct Down {
    Say say;
    std::function<void(std::vector<std::string>)> on_done;
    std::vector<std::string> problems;
  };
  std::optional<Down> down_;
};

}  // namespace tunorch
