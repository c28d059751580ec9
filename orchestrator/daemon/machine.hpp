// The machine that the daemon works on: performs every kind of step by its parts, which are the
// kernel, the tunnels' processes and the page. Decides nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "orchestrator/daemon/tunnel_set.hpp"
#include "orchestrator/daemon/web_process.hpp"
#include "orchestrator/kernel/kernel.hpp"
#include "orchestrator/plan/performer.hpp"

namespace tunorch {

class Machine final : public Performer {
 public:
  Machine(WorkerHost& host, TunnelWorker::Owner& owner);

  /// Opens the kernel for a cluster whose routes carry `protocol`, before anything else.
  void use_protocol(std::uint8_t protocol);
  bool is_open() const { return kernel_.has_value(); }
  std::uint8_t protocol() const { return kernel_->protocol(); }
  Kernel& kernel() { return *kernel_; }
  TunnelSet& tunnels() { return tunnels_; }
  const TunnelSet& tunnels() const { return tunnels_; }
  WebProcess& web() { return web_; }
  const WebProcess& web() const { return web_; }

  Observed observe(const Desired& desired) override;
  /// What it throws begins with the step.
  void perform(const Step& step, const Desired& desired) override;
  /// What the plan sees of processes, without a look at the kernel.
  void note_processes(Observed& observed) const;
  /// Nothing if there is no such device.
  std::optional<routing::LinkActivity> activity(const std::string& device);
  /// Asks for a device's carrier, by which the kernel sees at once that it is lost, and not up to a
  /// second later (linkwatch, net/core/link_watch.c).
  void flush_carrier(const std::string& device);
  /// Buckets of resilient groups that still hold the tunnel. Throws std::system_error.
  unsigned buckets_of(const DesiredTunnel& tunnel, const Multipath& multipath);
  /// Nothing is left to put back.
  void discard_journal() { journal_.discard(); }

  /// Called before each step, which may take a while.
  std::function<void()> on_step = [] {};

 private:
  Journal journal_;
  std::optional<Kernel> kernel_;
  TunnelSet tunnels_;
  WebProcess web_;
};

}  // namespace tunorch
