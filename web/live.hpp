// What pages that are open are shown: the status once a second and right after each event, and the
// events. Asks the daemon only while somebody looks. Makes the text of server-sent events
// (html.spec.whatwg.org, 9.2); who sends it is the server's business.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "web/daemon_link.hpp"

namespace tunorch::web {

/// Somebody who looks. A chunk is shared by all who get it.
class Viewer {
 public:
  virtual void show(const std::shared_ptr<const std::string>& chunk) = 0;

 protected:
  ~Viewer() = default;
};

/// One message: "event: status\ndata: {…}\n\n".
std::string sse_message(const std::string& event, const nlohmann::json& data);

class Live final : public DaemonLink::Follower {
 public:
  Live(boost::asio::io_context& io, DaemonLink& daemon) : daemon_(daemon), timer_(io) {}

  /// Gets what is known at once, and what comes until remove().
  void add(Viewer& viewer);
  void remove(Viewer& viewer);
  std::size_t viewers() const { return viewers_.size(); }

  void on_event(const nlohmann::json& event) override;
  void on_begin() override { events_.clear(); }

 private:
  void look();
  void got(const nlohmann::json& status);
  void send(const std::string& text);
  void look_after(std::chrono::milliseconds pause);

  DaemonLink& daemon_;
  boost::asio::steady_timer timer_;
  std::map<Viewer*, bool> viewers_;
  std::shared_ptr<void> following_;
  std::deque<std::string> events_;  // messages, as the page gets them
  std::string status_;              // the last message about it
  std::string down_since_;          // when the daemon was first missed
  bool up_ = true, looking_ = false, again_ = false;
};

}  // namespace tunorch::web
