#include "orchestrator/top/top.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "orchestrator/client/query.hpp"
#include "orchestrator/telemetry/events.hpp"
#include "orchestrator/telemetry/log_lines.hpp"
#include "orchestrator/terminal/screen.hpp"
#include "orchestrator/top/model.hpp"
#include "orchestrator/top/view.hpp"

namespace tunorch {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr seconds interval{1};
/// A daemon that accepted the request and is silent this long hangs.
constexpr seconds answer_limit{3};
constexpr std::size_t kept_events = 100;
/// As the verbs have them.
constexpr std::uint32_t drain_deadline_ms = 60'000, restart_deadline_ms = 10'000;

/// With the time of day alone.
std::string event_text(const Event& event) {
  constexpr std::size_t date = 11, time_of_day = 8;
  const std::string line = harmless(event_line(event));
  const auto end_of_time = line.find(' ');
  if (end_of_time == line.npos || end_of_time < date + time_of_day) return line;
  return line.substr(date, time_of_day) + line.substr(end_of_time);
}

/// Readable when it is (epoll(7)). Asio makes what it waits for non-blocking, and the terminal is
/// also what we write to, and others after us.
int watch_of(int fd) {
  const int watch = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{EPOLLIN, {}};
  if (watch < 0 || ::epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot wait for keys");
  return watch;
}

class Top {
 public:
  explicit Top(const Paths& paths)
      : paths_(paths),
        signals_(io_, SIGTERM, SIGINT, SIGHUP),
        window_(io_, SIGWINCH),
        keys_(io_, watch_of(STDIN_FILENO)),
        timer_(io_) {
    state_.node = paths.node;
  }

  void run() {
    signals_.async_wait([this](const boost::system::error_code&, int) { io_.stop(); });
    watch_window();
    watch_keys();
    poll();
    draw();
    io_.run();
  }

 private:
  void watch_window();
  void watch_keys();
  void typed(int key);
  void typed_command(int key);
  void sort_by(Order order);
  void move(int by);
  void poll();
  void take(const Status& status);
  void lost(const std::string& why);
  void follow_events();
  void want(const char* what, const std::string& question, DaemonRequest request);
  void act(const std::string& what, const DaemonRequest& request);
  void say(const std::string& text, Tone tone = Tone::plain);
  void draw();
  const TopModel& shown() const { return frozen_ ? *frozen_ : model_; }

  struct Wish {  // that waits for a yes
    std::string what;
    DaemonRequest request;
  };

  const Paths& paths_;
  asio::io_context io_{1};
  asio::signal_set signals_, window_;  // before the screen: ncurses leaves signals that are taken
  Screen screen_;
  asio::posix::stream_descriptor keys_;
  asio::steady_timer timer_;
  TopModel model_;
  std::optional<TopModel> frozen_;
  TopState state_;
  std::optional<Wish> wish_;
  std::shared_ptr<ControlQuery> status_, events_;
  Clock::time_point asked_;
  std::string refusal_;  // of the last status asked for
  std::size_t under_way_ = 0;
};

void Top::watch_window() {
  window_.async_wait([this](const boost::system::error_code& error, int) {
    if (error) return;
    screen_.resize();
    draw();
    watch_window();
  });
}

void Top::watch_keys() {
  keys_.async_wait(
      asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
        pollfd terminal{STDIN_FILENO, POLLIN, 0};
        const bool gone =
            ::poll(&terminal, 1, 0) == 1 && (terminal.revents & (POLLHUP | POLLERR)) != 0;
        if (error || gone) return io_.stop();
        while (const auto key = screen_.key()) typed(*key);
        draw();
        watch_keys();
      });
}

void Top::say(const std::string& text, Tone tone) {
  state_.message = {harmless(text), tone};
}

void Top::typed(int key) {
  if (wish_) {
    const Wish wish = *std::exchange(wish_, std::nullopt);
    if (key == 'y' || key == 'Y') return act(wish.what, wish.request);
    return say("not done: " + wish.what);
  }
  if (std::exchange(state_.help, false)) return;
  typed_command(key);
}

void Top::typed_command(int key) {
  const std::string& tunnel = state_.selected;
  switch (key) {
    case 'q':
      return io_.stop();
    case '?':
    case 'h':
      state_.help = true;
      return;
    case Screen::up:
    case 'k':
      return move(-1);
    case Screen::down:
    case 'j':
      return move(1);
    case 'p':
      state_.paused = !state_.paused;
      frozen_ = state_.paused ? std::optional(model_) : std::nullopt;
      return;
    case 'n':
      return sort_by(Order::name);
    case 't':
      return sort_by(Order::throughput);
    case 'r':
      return sort_by(Order::rtt);
    case 'l':
      return sort_by(Order::loss);
    case 's':
      return sort_by(Order::share);
    case 'R':
      return sort_by(Order::restarts);
    case 'd':
      return want("drain", "its flows go to other tunnels",
                  DrainRequest{tunnel, drain_deadline_ms});
    case 'x':
      return want("restart", "it is drained, and its worker started anew",
                  RestartRequest{tunnel, false, restart_deadline_ms});
    case 'u':
      if (!tunnel.empty() && state_.away.empty()) act("undrain " + tunnel, UndrainRequest{tunnel});
      return;
    default:
      return;
  }
}

void Top::sort_by(Order order) {
  state_.reversed = state_.order == order && !state_.reversed;
  state_.order = order;
}

void Top::move(int by) {
  const std::vector<std::string> names = shown_tunnels(shown(), state_);
  if (names.empty()) return;
  const auto found = std::ranges::find(names, state_.selected);
  const auto at = found == names.end() ? 0 : found - names.begin() + by;
  state_.selected = names.at(static_cast<std::size_t>(
      std::clamp<std::ptrdiff_t>(at, 0, static_cast<std::ptrdiff_t>(names.size()) - 1)));
}

// ---- what the daemon says ----

void Top::poll() {
  timer_.expires_after(interval);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) poll();
  });
  if (status_ && Clock::now() - asked_ < answer_limit) return;
  if (status_) {
    status_->cancel();
    lost(fmt::format("the daemon at {} does not answer: it hangs, or this machine is overloaded",
                     paths_.control_socket().string()));
  }
  asked_ = Clock::now();
  refusal_.clear();
  status_ = ControlQuery::ask(
      io_, paths_, StatusRequest{},
      [this](const json& line) {
        try {
          const auto answer = parse_daemon_answer(line);
          if (const auto* failure = answer ? std::get_if<Failure>(&*answer) : nullptr)
            refusal_ = failure->error;
          else
            take(status_from(line));
        } catch (const BadMessage& bad) {
          refusal_ = std::string("cannot parse the daemon's status: ") + bad.what();
        }
      },
      [this](bool asked) {
        status_.reset();
        if (!asked)
          lost(
              fmt::format("no daemon answers at {}: nothing is applied here, or it has ended "
                          "(`tunorch daemon` or `tunorch apply FILE` starts it), or you are not "
                          "root",
                          paths_.control_socket().string()));
        else if (!refusal_.empty())
          lost(refusal_);
        draw();
      });
}

void Top::take(const Status& status) {
  state_.away.clear();
  model_.take(status, std::chrono::duration<double>(asked_.time_since_epoch()).count());
  const std::vector<std::string> names = shown_tunnels(shown(), state_);
  if (std::ranges::find(names, state_.selected) == names.end())
    state_.selected = names.empty() ? "" : names.front();
  if (!events_) follow_events();
}

/// Rates start over when it is back: over the gap they would mean nothing.
void Top::lost(const std::string& why) {
  if (state_.away.empty()) model_ = {};
  state_.away = why;
  state_.paused = false;
  frozen_.reset();
}

/// One connection for all of them: the daemon sends each once.
void Top::follow_events() {
  state_.events.clear();
  events_ = ControlQuery::ask(
      io_, paths_, EventsRequest{true},
      [this](const json& event) {
        if (!event.contains("event")) return;
        try {
          state_.events.push_back(event_text(event_from(event)));
        } catch (const BadMessage&) {
          return;  // of another version
        }
        if (state_.events.size() > kept_events) state_.events.pop_front();
      },
      [this](bool) { events_.reset(); });
}

// ---- what is asked of it ----

void Top::want(const char* what, const std::string& question, DaemonRequest request) {
  if (state_.selected.empty() || !state_.away.empty()) return;
  wish_ = Wish{std::string(what) + " " + state_.selected, std::move(request)};
  say(fmt::format("{}? {}. y/n", wish_->what, question), Tone::warning);
}

/// The answer may take a minute; the view keeps updating.
void Top::act(const std::string& what, const DaemonRequest& request) {
  struct Outcome {
    std::string error, step;
    bool done = false;
  };
  auto outcome = std::make_shared<Outcome>();
  ++under_way_;
  say(what + ": asked");
  ControlQuery::ask(
      io_, paths_, request,
      [this, what, outcome](const json& line) {
        const auto answer = parse_daemon_answer(line);
        if (!answer) return;
        if (const auto* failure = std::get_if<Failure>(&*answer)) outcome->error = failure->error;
        if (const auto* end = std::get_if<DoneAnswer>(&*answer)) outcome->done = end->done;
        if (const auto* step = std::get_if<StepAnswer>(&*answer)) say(what + ": " + step->step);
        draw();
      },
      [this, what, outcome](bool) {
        --under_way_;
        const std::string others =
            under_way_ == 0 ? "" : fmt::format(" ({} more under way)", under_way_);
        if (outcome->done)
          say(what + ": done" + others, Tone::good);
        else if (outcome->error.empty())
          say(what + ": the daemon gave no answer, or it was ended meanwhile" + others, Tone::bad);
        else
          say(what + ": " + outcome->error + others, Tone::bad);
        draw();
      });
}

void Top::draw() {
  screen_.draw(top_view(shown(), state_, screen_.columns(), screen_.lines()));
}

}  // namespace

void run_top(const Paths& paths) {
  Top(paths).run();
}

}  // namespace tunorch
