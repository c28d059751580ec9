// One request to the daemon without waiting for it: for who has something else to do meanwhile. The
// verbs that wait use client.hpp.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "orchestrator/system/files.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

class ControlQuery : public std::enable_shared_from_this<ControlQuery> {
 public:
  using OnLine = std::function<void(const nlohmann::json&)>;
  /// Once, at the end; with false where no daemon took the request.
  using OnEnd = std::function<void(bool asked)>;

  /// Lives until it has ended; neither callback runs before this returns.
  static std::shared_ptr<ControlQuery> ask(boost::asio::io_context& io, const Paths& paths,
                                           const DaemonRequest& request, OnLine on_line,
                                           OnEnd on_end);
  /// Lets go of it; nothing is called any more.
  void cancel();

 private:
  /// Longest line accepted, in bytes.
  static constexpr std::size_t max_answer = 64 * 1024 * 1024;

  ControlQuery(boost::asio::io_context& io, OnLine on_line, OnEnd on_end)
      : socket_(io), on_line_(std::move(on_line)), on_end_(std::move(on_end)) {}
  void read();
  void end(bool asked);

  boost::asio::local::stream_protocol::socket socket_;
  OnLine on_line_;
  OnEnd on_end_;
  std::string outbox_, inbox_;
};

}  // namespace tunorch
