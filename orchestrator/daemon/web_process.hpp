// The process that serves metrics and the page (tunorch-web), as the daemon sees it: it runs where
// the file asks for it, as a user of its own, and outlives the daemon as workers do. What it serves
// is its own business; traffic never waits for it.
#pragma once

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <limits>
#include <optional>
#include <string>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/health/lifecycle.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

/// Address a running one listens on, even if an earlier daemon started it.
std::optional<SocketAddress> running_page(const Paths& paths);

class WebProcess {
 public:
  explicit WebProcess(WorkerHost& host) : host_(host), retry_(host.io) {}

  /// Takes over one that an earlier daemon started; another takes its place where it is of another
  /// version, or of a group that may no longer ask.
  void adopt();
  /// From now on it listens there; nothing: it does not run. What fails is told as an event and
  /// tried again.
  void want(const std::optional<SocketAddress>& listen);
  const std::optional<SocketAddress>& wanted() const { return wanted_; }

  /// Nothing where none is wanted.
  std::optional<PageState> status() const;

 private:
  void settle();
  void start();
  void end();
  void watch();
  void failed(const std::string& reason);
  std::string digest() const;
  std::uint32_t group() const;

  WorkerHost& host_;
  std::optional<SocketAddress> wanted_;
  Lifecycle lifecycle_{RestartOptions{std::chrono::seconds(1), std::chrono::seconds(30),
                                      std::numeric_limits<int>::max()}};
  std::optional<Process> process_;
  std::string digest_;  // of the one that runs
  std::string reason_;
  std::optional<boost::asio::posix::stream_descriptor> exit_watch_;
  boost::asio::steady_timer retry_;
};

}  // namespace tunorch
