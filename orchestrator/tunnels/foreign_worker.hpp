// A tunnel served by another engine's program: its folder and files, what its control socket says,
// and the echoes through its device, which tell whether it carries and how much.
#pragma once

#include <memory>
#include <set>

#include "orchestrator/engines/engine.hpp"
#include "orchestrator/health/path_mtu.hpp"
#include "orchestrator/tunnels/engine_control.hpp"
#include "orchestrator/tunnels/foreign_folder.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"

namespace tunorch {

class ForeignWorker final : public TunnelWorker {
 public:
  ForeignWorker(WorkerHost& host, std::string tunnel, Owner& owner, Engine engine)
      : TunnelWorker(host, std::move(tunnel), owner),
        engine_(engine),
        folder_(host_.paths.tunnel_dir(tunnel_)) {}

  Engine engine() const override { return engine_; }
  void configure(const DesiredTunnel& wanted) override;
  void change(const DesiredTunnel& wanted) override;
  std::map<std::string, std::vector<unsigned>> echoes_due(Clock::time_point now) override;
  void echoed(const std::string& peer, const std::vector<Echo>& echoes) override;
  milliseconds echo_time() const override;

 private:
  void launch(const DesiredTunnel& wanted) override;
  bool reach() override;
  void ask_to_stop() override;
  void watch(Clock::time_point now, bool forgive) override;
  std::string last_words(const std::string& how) override;
  void forget() override;
  ProbeWords probe_words() const override {
    return {"echoes unanswered", "its health command fails"};
  }

  void watch_threads();
  void watch_start(Clock::time_point now);
  bool is_ready();
  void look_around(Clock::time_point now);
  void connect_control();
  void receive(std::string_view text);
  void take_counters();
  void explain_silence();
  void check_health_command(Clock::time_point now);
  void judge_mtu(const std::string& peer, Clock::time_point now);
  void end_silent_sessions(Clock::time_point now);

  struct Peer {
    PathMtu mtu;
    Clock::time_point answered_{};
    std::uint64_t rx_packets = 0;
    bool unanswered = false;  // the last round
    bool hurries = false;     // this round: large packets wait for what it finds
  };

  Engine engine_;
  ForeignFolder folder_;
  DesiredTunnel wanted_;
  std::map<std::string, Peer> peers_;
  Clock::time_point started_{}, next_look_{}, asked_{}, renewed_{};

  std::vector<boost::asio::posix::stream_descriptor> thread_watches_;
  bool threads_ended_ = true;  // one of them, or there are none
  std::unique_ptr<EngineControl> control_;
  std::string received_;  // from the control socket: a part of an answer
  bool control_failed_ = false;
  std::unique_ptr<EngineProcess> conversation_;  // with the process, from its launch to its end

  routing::LinkActivity activity_;    // at the last round of echoes
  std::uint64_t echo_bytes_ = 0;      // that we have sent since,
  std::uint64_t answered_bytes_ = 0;  // and that came back
  std::optional<Process> health_;     // the health command that runs
  Clock::time_point health_since_{};
};

}  // namespace tunorch
