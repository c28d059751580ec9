// The daemon's heart: something happened → tick → one plan → performed. One thread, one io_context;
// the thinking is in plan/, the doing in machine.hpp, and what takes several ticks in the parts
// below.
//
// supervisor.cpp: from a start to a tick · going_down.cpp: to the end · requests.cpp: what clients
// ask
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/daemon/apply.hpp"
#include "orchestrator/daemon/control_server.hpp"
#include "orchestrator/daemon/drain_watch.hpp"
#include "orchestrator/daemon/expiry_warning.hpp"
#include "orchestrator/daemon/kernel_watch.hpp"
#include "orchestrator/daemon/machine.hpp"
#include "orchestrator/daemon/moves.hpp"
#include "orchestrator/daemon/peer_questions.hpp"
#include "orchestrator/daemon/peer_talk.hpp"
#include "orchestrator/daemon/rolling_restart.hpp"
#include "orchestrator/daemon/state.hpp"
#include "orchestrator/daemon/waiting_applies.hpp"
#include "orchestrator/daemon/watchdog.hpp"
#include "orchestrator/telemetry/log_ring.hpp"
#include "orchestrator/tunnels/probe_rounds.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

class Supervisor final : public TunnelWorker::Owner, public Applier::Host {
 public:
  using Client = std::shared_ptr<ControlConnection>;
  using Clock = std::chrono::steady_clock;
  using Say = std::function<void(const std::string&)>;

  /// `log` is the daemon's, which outlives it.
  Supervisor(boost::asio::io_context& io, Paths paths, std::filesystem::path worker_executable,
             LogRing& log);

  /// Adopts what lives, loads the last applied file, and brings the one to the other.
  void resume();
  /// Takes everything down; `on_done` gets the problems that were left, if any.
  void take_down(Say say, std::function<void(std::vector<std::string>)> on_done);
  void handle(const DaemonRequest& request, const Client& client);

  /// Called when `down` is complete.
  std::function<void()> on_down = [] {};

  // TunnelWorker::Owner
  void changed(TunnelWorker& worker) override;
  void ended(TunnelWorker& worker) override;
  void peer_told(const std::string& peer, const worker::StateWord& word) override;

 private:
  // Applier::Host
  Desired load(const FileText& file) const override;
  void prepare(const Desired& wanted) override;
  HealthTable health() const override;
  void taken_over() override;

  // requests.cpp
  void answer(const ApplyRequest& request, const Client& client);
  void answer(const PlanRequest& request, const Client& client);
  void answer(const ConfirmRequest& request, const Client& client);
  void answer(const RevertRequest& request, const Client& client);
  void answer(const DownRequest& request, const Client& client);
  void answer(const StatusRequest& request, const Client& client);
  void answer(const EventsRequest& request, const Client& client);
  void answer(const LogsRequest& request, const Client& client);
  void answer(const DrainRequest& request, const Client& client);
  void answer(const UndrainRequest& request, const Client& client);
  void answer(const RestartRequest& request, const Client& client);
  void answer(const FailbackRequest& request, const Client& client);
  void answer(const ExplainRequest& request, const Client& client);
  void answer_waiting();

  void apply(const Applied& applied, const Desired& wanted, const Say& say);
  void await_confirmation();
  void revert(const std::string& cause);

  bool serving() const { return state_ == DaemonState::serving; }
  bool is_over() const { return state_ == DaemonState::over; }
  void use_protocol(std::uint8_t protocol);
  void cannot_load(const std::string& why);
  void load_again();
  void schedule_tick();
  void tick();
  void attempt(const std::function<void()>& part);
  void change_multipath();
  void repair();
  void check();
  void observe();

  // going_down.cpp
  void open_leftovers();
  void remove_now(bool workers);
  void finish_down();

  // What there is.
  boost::asio::io_context& io_;
  const std::string started_ = utc_now();
  LogRing& log_;
  EventLog events_;
  NodeCounters counters_;
  WorkerHost host_;
  Machine machine_;
  NodeState node_;
  std::optional<Watchdog> watchdog_;

  // What the daemon is doing. `load_problem_`: why it is blocked.
  DaemonState state_ = DaemonState::idle;
  std::string load_problem_;
  Clock::time_point last_load_ = Clock::now();
  struct Down {
    Say say;
    std::function<void(std::vector<std::string>)> on_done;
    std::vector<std::string> problems = {};
  };
  std::optional<Down> down_;

  // From what happened to the tick.
  std::optional<Clock::time_point> changed_at_;  // the first change that no tick followed yet
  bool tick_scheduled_ = false;
  bool fresh_ = false;  // the next tick follows a fresh look at the kernel
  bool busy_ = false;   // in apply or a tick: changes join it instead of starting another
  Clock::time_point last_check_{};
  boost::asio::steady_timer check_timer_;

  // What takes several ticks.
  Applier applier_;
  DrainWatch drains_;
  RollingRestart restart_;
  KernelWatch kernel_watch_;
  std::optional<ProbeRounds> probes_;
  PeerTalk talk_;
  PeerQuestions questions_;
  Moves moves_;
  ExpiryWarning expiry_;

  // Clients that wait, and the time to confirm.
  WaitingApplies waiting_;
  boost::asio::steady_timer wait_timer_, confirm_timer_;
};

}  // namespace tunorch
