// The verbs' end of the control socket: finds a daemon or starts one, asks, and hands over its
// answers line by line. Prints nothing.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "orchestrator/system/files.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

class Client {
 public:
  /// Nothing where no daemon listens, or this user may not reach it.
  static std::optional<Client> connect(const Paths& paths);
  /// Starts a daemon, by its systemd unit where one is installed for this node, else in the
  /// background, and connects to it. Throws std::runtime_error with its last
  /// words where it does not come up.
  static Client start_daemon(const Paths& paths);

  /// Sends one request and calls `on_line` for each answer until the daemon closes. Throws
  /// std::runtime_error where the daemon goes away without an answer.
  void ask(const DaemonRequest& request, const std::function<void(const nlohmann::json&)>& on_line);

 private:
  struct Connection;
  explicit Client(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  std::shared_ptr<Connection> connection_;
};

}  // namespace tunorch
