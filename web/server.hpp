// HTTP on one listening socket: the page, its stream of events, metrics. Only reads; whoever can
// connect may look. The only file pair that knows Boost.Beast.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "web/daemon_link.hpp"
#include "web/live.hpp"

namespace tunorch::web {

class Server {
 public:
  /// Takes over the listening socket. At most 64 connections at once, 16 of them open pages; for
  /// another one the longest idle is closed.
  Server(boost::asio::io_context& io, int listening, const std::string& control_socket);

  /// A connection, as long as it lives.
  struct Guest {
    std::chrono::steady_clock::time_point idle_since{};  // max(): it is being answered
    std::function<void()> dismiss = [] {};
  };

 private:
  std::shared_ptr<Guest> admit();
  void accept();

  DaemonLink metrics_source_, live_source_;
  Live live_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::vector<std::weak_ptr<Guest>> guests_;
  bool loopback_;  // it listens there alone
};

}  // namespace tunorch::web
