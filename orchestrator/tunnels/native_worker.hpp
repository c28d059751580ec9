// A tunnel served by our own worker: the control link to it, its queues, and what its silence
// means.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "orchestrator/tunnels/tunnel_worker.hpp"
#include "orchestrator/tunnels/worker_link.hpp"

namespace tunorch {

class NativeWorker final : public TunnelWorker {
 public:
  using TunnelWorker::TunnelWorker;

  Engine engine() const override { return Engine::native; }
  void configure(const DesiredTunnel& wanted) override;
  void change(const DesiredTunnel& wanted) override;
  std::map<std::string, std::vector<unsigned>> echoes_due(Clock::time_point now) override;
  void echoed(const std::string& peer, const std::vector<Echo>& echoes) override;
  void tell(const std::vector<std::string>& peers, const worker::StateWord& word) override;
  void carry(const std::vector<int>& queues) override;
  bool can_carry() const override { return lifecycle().alive() && !sessions().empty(); }
  std::vector<int> queues() const override;
  void drop_carrier() override;
  std::map<std::string, std::uint64_t> dropped() const override { return dropped_; }
  std::uint64_t waiting_bytes() const override { return waiting_bytes_; }
  TunnelHealth health(const std::string& peer) const override;

 private:
  void launch(const DesiredTunnel& wanted) override;
  bool reach() override;
  void ask_to_stop() override;
  void watch(Clock::time_point now, bool forgive) override;
  void forget() override;

  void send_spec(worker::Request request, std::vector<int> fds, const DesiredTunnel& wanted);
  void open_queues(int count);
  int open_streams(int wanted);
  void watch_link();
  bool may_speak_of(const std::string& peer) const;
  void link_closed();
  void on_report(const worker::Report& report, std::vector<Fd> fds);
  void on_session_up(const worker::Report& report);
  void on_heartbeat(const worker::Report& report);

  std::unique_ptr<WorkerLink> link_;
  std::vector<Fd> queues_;
  std::map<std::string, std::uint64_t> dropped_;
  std::uint64_t waiting_bytes_ = 0;
  std::string trouble_;  // of its database
  Clock::time_point heard_{};
  std::optional<Activity> when_suspected_;  // it has been quiet for a while
  std::set<std::string> peers_;             // of its spec
  bool asked_for_queues_ = false;
  bool adopted_unheard_ = false;  // adopted, and no heartbeat reported its sessions yet
};

}  // namespace tunorch
