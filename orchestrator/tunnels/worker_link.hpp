// The daemon's end of a worker's control socket (protocol/worker.hpp): sends requests with their
// fds, hands over reports. Knows the wire of that socket and nothing of what the words mean.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "base/scm_rights.hpp"
#include "protocol/worker.hpp"

namespace tunorch {

/// A listening control socket for a worker to inherit, at `path` (replacing a stale one), that only
/// root can reach. Throws std::system_error.
Fd listen_for_daemons(const std::filesystem::path& path);

/// Nothing where it is none: what a worker says is input from a less trusted process.
std::optional<worker::Report> read_report(std::string_view text);

class WorkerLink {
 public:
  /// Throws std::system_error where nobody listens.
  WorkerLink(boost::asio::io_context& io, const std::filesystem::path& path);

  /// From now on requests are sent in this version, that of the worker's hello.
  void speak(int protocol) { protocol_ = protocol; }
  /// Never blocks. Throws std::system_error where the worker does not take it.
  void send(worker::Request request, const std::vector<int>& fds = {});

  /// Waits for the next report, on an adoption, when there is nothing else to serve yet.
  std::optional<worker::Report> receive_within(std::chrono::milliseconds limit);

  /// From now on: each report with its fds, and at the end that the worker closed. Either may
  /// destroy the link.
  using OnReport = std::function<void(const worker::Report&, std::vector<Fd>)>;
  void watch(OnReport on_report, std::function<void()> on_closed);

 private:
  void wait();
  bool receive_all();  // false: closed
  Received receive(worker::Report& report, std::vector<Fd>& fds);

  boost::asio::posix::stream_descriptor socket_;
  int protocol_ = worker::control_protocol;
  OnReport on_report_;
  std::function<void()> on_closed_;
  FdPacket packet_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

 public:
  ~WorkerLink() { *alive_ = false; }
  WorkerLink(const WorkerLink&) = delete;
  WorkerLink& operator=(const WorkerLink&) = delete;
};

}  // namespace tunorch
