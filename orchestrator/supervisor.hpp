// The daemon's heart: holds what is desired, what was observed and how healthy it is, and makes one
// plan whenever something happened. One thread, one io_context; the thinking is in plan.cpp.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/control.hpp"
#include "orchestrator/files.hpp"
#include "orchestrator/journal.hpp"
#include "orchestrator/kernel.hpp"
#include "orchestrator/plan.hpp"
#include "orchestrator/tunnel_worker.hpp"

namespace tunorch {

class Supervisor {
 public:
  Supervisor(boost::asio::io_context& io, Paths paths, std::filesystem::path worker_executable);

  /// Adopts what lives and loads the last applied file, then brings the one to the other.
  void resume();
  /// Takes everything down; `on_done` gets the problems that were left, if any.
  void take_down(std::function<void(const std::string&)> say,
                 std::function<void(std::vector<std::string>)> on_done);

  void handle(const nlohmann::json& request, const std::shared_ptr<ControlConnection>& client);

  /// Called when `down` is complete.
  std::function<void()> on_down = [] {};

 private:
  struct Applied {  // a cluster file as the client sent it
    std::string text, name, base_dir;
  };
  struct WaitingApply {
    std::shared_ptr<ControlConnection> client;
    std::chrono::steady_clock::time_point deadline;
    bool wait_peers = false;
    std::set<std::pair<std::string, std::string>> lived;  // tunnel, peer: sessions to live again
  };

  Desired load_desired(const Applied& applied, bool with_node_keys) const;
  void save(const Applied& applied) const;
  std::optional<Applied> load_applied() const;
  void use_protocol(std::uint8_t protocol);
  void adopt_workers(const Desired& desired);
  void find_leftovers();

  void handle_apply(const nlohmann::json& request, const std::shared_ptr<ControlConnection>&);
  void handle_plan(const nlohmann::json& request, const std::shared_ptr<ControlConnection>&);
  void apply(const Applied& applied, const Desired& wanted,
             const std::function<void(const std::string&)>& say);
  void verify(const Desired& wanted);
  void wait_for_health(WaitingApply waiting);
  std::vector<std::string> missing(const WaitingApply& waiting) const;
  void answer_waiting();

  Observed observe(const Desired& desired);
  void note_workers(Observed& observed) const;
  HealthTable health() const;
  void tick();
  void look_again(milliseconds after);
  void perform(const Desired& desired, const Step& step);
  void perform_worker(const Desired& desired, const WorkerStep& step);
  TunnelWorker& worker(const std::string& tunnel);
  void check_workers();
  void finish_down();

  boost::asio::io_context& io_;
  WorkerHost host_;
  Journal journal_;
  std::optional<Kernel> kernel_;
  Desired desired_;
  Observed observed_;
  std::map<std::string, std::unique_ptr<TunnelWorker>> workers_;
  std::vector<WaitingApply> waiting_;
  boost::asio::steady_timer check_timer_, retry_timer_, wait_timer_;
  std::chrono::steady_clock::time_point last_check_{};
  bool busy_ = false;  // in apply or a tick: changes join it instead of starting another
  struct Down {
    std::function<void(const std::string&)> say;
    std::function<void(std::vector<std::string>)> on_done;
    std::vector<std::string> problems;
  };
  std::optional<Down> down_;
};

}  // namespace tunorch
