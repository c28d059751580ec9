// The daemon's control socket: RUNTIME/control.sock, AF_UNIX stream, one JSON request a line in,
// JSON lines out. Carries requests and answers; what they do is the supervisor's.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "protocol/daemon.hpp"

namespace tunorch {

/// Largest request in bytes: a cluster file of 1 MiB, escaped.
inline constexpr std::size_t max_request = 4 * 1024 * 1024;
/// Of those who may only read: connections at once. Root's are not counted.
inline constexpr std::size_t max_readers = 64;
/// Time a client has to send its request.
inline constexpr std::chrono::seconds request_limit{5};

/// One connection, kept by those that still have to answer; closed when the last releases it.
class ControlConnection : public std::enable_shared_from_this<ControlConnection> {
 public:
  using Socket = boost::asio::local::stream_protocol::socket;
  using OnRequest =
      std::function<void(const DaemonRequest&, const std::shared_ptr<ControlConnection>&)>;

  /// `ticket` is held as long as the connection is.
  ControlConnection(Socket socket, std::shared_ptr<void> ticket)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), ticket_(std::move(ticket)) {}

  void read_request(OnRequest on_request);
  /// Queues it. False if the client is gone, which is not an error.
  bool send(const std::string& line);
  bool answer(const DaemonAnswer& answer) { return send(to_line(answer)); }
  /// For followers: calls `on_gone` when the client disconnects; with nothing to send, nothing else
  /// would notice.
  void watch_for_end(std::function<void()> on_gone);
  /// A client that does not read what it asked for is dropped beyond this many bytes.
  static constexpr std::size_t max_unsent = 16 * 1024 * 1024;

 private:
  void write();

  Socket socket_;
  boost::asio::steady_timer deadline_;
  std::shared_ptr<void> ticket_;
  bool gone_ = false;
  char scrap_[64];
  std::string inbox_;
  std::string outbox_, writing_;
};

class ControlServer {
 public:
  /// Replaces a stale socket. Mode 0660, of the group tunorch where there is one: only root changes
  /// anything (SO_PEERCRED), members ask for status, events, logs and explanations.
  ControlServer(boost::asio::io_context& io, const std::filesystem::path& path,
                ControlConnection::OnRequest on_request);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  void accept();
  void serve(ControlConnection::Socket socket);

  std::filesystem::path path_;
  boost::asio::local::stream_protocol::acceptor acceptor_;
  ControlConnection::OnRequest on_request_;
  boost::asio::steady_timer pause_;
  std::shared_ptr<std::size_t> readers_ = std::make_shared<std::size_t>(0);
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tunorch
