#include "web/daemon_link.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <utility>

#include "protocol/daemon.hpp"

namespace tunorch::web {
namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using boost::system::error_code;
using nlohmann::json;

constexpr std::chrono::seconds answer_limit{2}, pause{1};
constexpr std::chrono::milliseconds least_pause{250};  // between two questions
constexpr std::size_t max_answer = 64 * 1024 * 1024;

/// A question, and the lines of its answer.
class Talk : public std::enable_shared_from_this<Talk> {
 public:
  Talk(asio::io_context& io, const DaemonRequest& request)
      : socket_(io), out_(to_line(request) + "\n") {}

  /// `on_line` says whether there is more to hear; `on_end` is called once, when there is not.
  void begin(const stream_protocol::endpoint& at, std::function<bool(const json&)> on_line,
             std::function<void()> on_end) {
    on_line_ = std::move(on_line);
    on_end_ = std::move(on_end);
    socket_.async_connect(at, [self = shared_from_this()](const error_code& error) {
      if (error) return self->end();
      asio::async_write(
          self->socket_, asio::buffer(self->out_),
          [self](const error_code& failed, std::size_t) { failed ? self->end() : self->read(); });
    });
  }

  void close() {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  void read() {
    asio::async_read_until(
        socket_, asio::dynamic_buffer(in_, max_answer), '\n',
        [self = shared_from_this()](const error_code& error, std::size_t size) {
          if (error) return self->end();
          const auto line = json::parse(self->in_.substr(0, size), nullptr, false);
          self->in_.erase(0, size);
          const bool more = line.is_object() && !line.contains("error") && self->on_line_(line);
          more ? self->read() : self->end();
        });
  }

  void end() {
    close();
    on_line_ = nullptr;  // it may own us
    if (const auto on_end = std::exchange(on_end_, nullptr)) on_end();
  }

  stream_protocol::socket socket_;
  std::string out_, in_;
  std::function<bool(const json&)> on_line_;
  std::function<void()> on_end_;
};

class Following : public std::enable_shared_from_this<Following> {
 public:
  Following(asio::io_context& io, const stream_protocol::endpoint& at,
            DaemonLink::Follower& follower)
      : io_(io), at_(at), follower_(&follower), timer_(io) {}

  void begin() {
    if (!follower_) return;
    bool first = true;
    talk_ = std::make_shared<Talk>(io_, EventsRequest{true});
    talk_->begin(
        at_,
        [self = shared_from_this(), first](const json& event) mutable {
          if (!self->follower_) return false;
          if (std::exchange(first, false)) self->follower_->on_begin();
          self->follower_->on_event(event);
          return true;
        },
        [self = shared_from_this()] { self->wait(); });
  }

  void stop() {
    follower_ = nullptr;
    timer_.cancel();
    talk_->close();
    talk_.reset();
  }

 private:
  void wait() {
    if (!follower_) return;
    timer_.expires_after(pause);
    timer_.async_wait([self = shared_from_this()](const error_code& error) {
      if (!error) self->begin();
    });
  }

  asio::io_context& io_;
  stream_protocol::endpoint at_;
  DaemonLink::Follower* follower_;
  asio::steady_timer timer_;
  std::shared_ptr<Talk> talk_;
};

}  // namespace

void DaemonLink::ask_status(OnStatus on_status) {
  waiting_.push_back(std::move(on_status));
  if (waiting_.size() > 1 || asking_) return;  // the answer to come is theirs too, or the next one
  timer_.expires_at(std::max(Clock::now(), asked_ + least_pause));
  timer_.async_wait([this](const error_code& error) {
    if (!error) ask();
  });
}

void DaemonLink::ask() {
  asking_ = true;
  asked_ = Clock::now();
  const auto talk = std::make_shared<Talk>(io_, StatusRequest{histograms_});
  const auto timer = std::make_shared<asio::steady_timer>(io_, answer_limit);
  const auto answer = std::make_shared<json>();
  timer->async_wait([talk](const error_code& error) {
    if (!error) talk->close();
  });
  talk->begin(
      endpoint_,
      [answer](const json& line) {
        *answer = line;
        return false;
      },
      [this, timer, answer, askers = std::exchange(waiting_, {})] {
        timer->cancel();
        asking_ = false;
        for (const OnStatus& asker : askers) asker(*answer);
        if (auto more = std::exchange(waiting_, {}); !more.empty())
          for (OnStatus& asker : more) ask_status(std::move(asker));
      });
}

std::shared_ptr<void> DaemonLink::follow(Follower& follower) {
  const auto following = std::make_shared<Following>(io_, endpoint_, follower);
  following->begin();
  return {nullptr, [following](void*) { following->stop(); }};
}

}  // namespace tunorch::web
