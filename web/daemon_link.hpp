// What tunorch-web hears of the daemon, over its control socket: the status when it is asked, and
// events as they happen. Knows the lines, not what they mean.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tunorch::web {

class DaemonLink {
 public:
  /// `histograms`: the status is to have those of round trips too.
  DaemonLink(boost::asio::io_context& io, std::string socket, bool histograms)
      : io_(io), endpoint_(std::move(socket)), histograms_(histograms), timer_(io) {}

  /// Calls back once, within about two seconds: null where the daemon does not answer. What it says
  /// is not older than the call. However many ask, the daemon is asked four times a second at most.
  using OnStatus = std::function<void(const nlohmann::json&)>;
  void ask_status(OnStatus on_status);

  /// Each event from the oldest that the daemon knows on, until the object is destroyed. A daemon
  /// that goes is looked for once a second; `on_begin` is called whenever one was found.
  class Follower {
   public:
    virtual void on_event(const nlohmann::json& event) = 0;
    virtual void on_begin() = 0;

   protected:
    ~Follower() = default;
  };
  std::shared_ptr<void> follow(Follower& follower);

 private:
  using Clock = std::chrono::steady_clock;

  void ask();

  boost::asio::io_context& io_;
  boost::asio::local::stream_protocol::endpoint endpoint_;
  bool histograms_;
  boost::asio::steady_timer timer_;
  std::vector<OnStatus> waiting_;
  bool asking_ = false;
  Clock::time_point asked_{};
};

}  // namespace tunorch::web
