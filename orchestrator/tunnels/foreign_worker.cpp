#include "orchestrator/tunnels/foreign_worker.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <system_error>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/engines/registry.hpp"
#include "orchestrator/plan/digest.hpp"
#include "orchestrator/tunnels/tun_access.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

/// If not ready within this time it is stopped; then backoff and quarantine apply.
constexpr seconds start_limit{10};
constexpr seconds look_interval{1};
constexpr std::size_t watched_threads = 3;
/// A control socket that does not answer within this time hangs.
constexpr seconds control_limit{5};
/// A peer silent this long has no session any more.
constexpr seconds silence_limit{10};
/// A WireGuard peer that lost its keys answers nothing until a new handshake, which the protocol
/// begins only after 15 seconds.
constexpr seconds renewal_interval{2};
constexpr seconds health_limit{5};
/// Longest answer of a control socket that is kept until its end comes.
constexpr std::size_t max_answer_bytes = 1024 * 1024;
/// So much more than our own echoes: packets that may be too large went out.
constexpr std::uint64_t large_bytes = 1000;
/// Limits of an accelerated probe round: a time, and a number of round trips.
constexpr milliseconds hurry{100};
constexpr int hurry_trips = 4;
constexpr unsigned small_echo_bytes = 28;

constexpr std::pair<const char*, int> signals[] = {{"TERM", SIGTERM}, {"INT", SIGINT},
                                                   {"QUIT", SIGQUIT}, {"HUP", SIGHUP},
                                                   {"USR1", SIGUSR1}, {"USR2", SIGUSR2}};

int signal_of(const std::string& name) {
  for (const auto& [word, number] : signals)
    if (name == word) return number;
  return SIGTERM;
}

std::uint32_t user_of(const DesiredTunnel& tunnel) {
  return tunnel.launch.as_root ? 0 : tunnel.tun.owner;
}

}  // namespace

void ForeignWorker::configure(const DesiredTunnel& wanted) {
  TunnelWorker::configure(wanted);
  wanted_ = wanted;
  if (conversation_)
    conversation_->configure(wanted);
  else
    conversation_ = foreign_engine(engine_).process(wanted);
  std::erase_if(peers_, [&](const auto& one) { return !wanted.link_peers.contains(one.first); });
  for (const auto& [peer, address] : wanted.link_peers) peers_[peer].mtu.configure(wanted.tun.mtu);
}

// ---- start and end ----

void ForeignWorker::launch(const DesiredTunnel& wanted) {
  const std::uint32_t user = user_of(wanted);
  if (end_strays(wanted.tun.owner) > 0)
    spdlog::warn("processes were left behind and are ended tunnel={}", tunnel_);
  folder_.make(user);
  folder_.write(wanted.launch.files, user);
  if (user != 0) allow_tun(user);
  const Fd output = output_.open();
  Fd socket;
  if (!wanted.launch.socket.empty()) {
    socket = folder_.listen(wanted.launch.socket, user);
    folder_.link(wanted.launch.socket, wanted.launch.socket_link);
  }
  launched(
      launch_foreign(host_.io.get_executor(), {wanted.launch.argv, wanted.launch.environment,
                                               folder_.path(), user, output.get(), socket.get()}),
      wanted.spec.digest);
  started_ = Clock::now();
  conversation_ = foreign_engine(engine_).process(wanted);
  passing_ = "it is not ready yet; what it prints is in " + output_.file().string();
}

/// New keys are there for its next start.
void ForeignWorker::change(const DesiredTunnel& wanted) {
  if (!updates_live(digest_, wanted.spec.digest)) return TunnelWorker::change(wanted);
  configure(wanted);
  folder_.write(wanted.launch.files, user_of(wanted));
  serves(wanted.spec.digest);
}

/// Its sessions are found again by echoes; until then the routes stay as they are.
bool ForeignWorker::reach() {
  if (!conversation_) conversation_ = foreign_engine(engine_).process(wanted_);
  conversation_->adopted();
  started_ = Clock::now();
  for (auto& [peer, one] : peers_) {
    one.answered_ = started_;
    path(peer).session_up(Health::unknown, started_);
    sessions_[peer].peer = peer;
  }
  return fs::exists(folder_.path());
}

void ForeignWorker::ask_to_stop() {
  const std::string farewell = conversation_->farewell();
  if (!farewell.empty() && control_ && !control_->is_closed() && !control_failed_)
    control_->send(farewell);
  else
    signal_process(*process_, signal_of(wanted_.launch.stop_signal));
}

void ForeignWorker::forget() {
  control_.reset();
  thread_watches_.clear();
  threads_ended_ = true;
  received_.clear();
  control_failed_ = false;
  conversation_.reset();
  if (health_) kill_process(*health_);
  health_.reset();
  for (auto& [peer, one] : peers_) one.mtu.reset();
  activity_ = {};
  if (wanted_.tun.owner >= worker_uid_base) {
    end_strays(wanted_.tun.owner);
    forbid_tun(wanted_.tun.owner);
  }
  folder_.unlink(wanted_.launch.socket_link);
  folder_.remove();
}

/// What it printed last says mostly why it ended.
std::string ForeignWorker::last_words(const std::string& how) {
  std::vector<std::string> lines = output_.last_lines();
  std::erase_if(lines, [](const std::string& line) {
    return line.find("Exiting due to fatal error") != line.npos ||
           line.find("Use --help for more information") != line.npos;
  });
  const auto activity = host_.activity(tunnel_);
  if (activity && activity->carrier)
    return "it went into the background: it has to stay in the foreground, or nobody can watch it";
  if (!lines.empty()) return lines.back().substr(0, max_words);
  return how == "exited with status 0" ? "it has to go on as long as its tunnel, in the foreground"
                                       : "";
}

// ---- while it runs ----

void ForeignWorker::watch(Clock::time_point now, bool) {
  if (lifecycle_.state() == WorkerState::starting) watch_start(now);
  if (lifecycle_.state() != WorkerState::running || now < next_look_) return;
  next_look_ = now + look_interval;
  look_around(now);
}

void ForeignWorker::watch_start(Clock::time_point now) {
  connect_control();
  if (is_ready()) {
    reason_.clear();
    passing_.clear();
    on(WorkerEvent::ready);
    owner_.changed(*this);
  } else if (now - started_ > start_limit) {
    const auto lines = output_.last_lines();
    hangs(fmt::format("not ready after {} seconds{}", start_limit.count(),
                      lines.empty() ? "" : ": " + lines.back().substr(0, max_words)));
  }
}

/// A process with many threads and much memory is dead long before it is gone, and its packets
/// stand still from the beginning.
void ForeignWorker::watch_threads() {
  thread_watches_.clear();
  for (Fd& thread : open_threads(*process_, watched_threads)) {
    thread_watches_.emplace_back(host_.io, thread.release());
    thread_watches_.back().async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                      [this](const boost::system::error_code& error) {
                                        if (error || !process_) return;
                                        threads_ended_ = true;
                                        if (!is_dying(*process_)) return;  // one of many ended
                                        passing_ = "its process ends";
                                        for (auto& [peer, path] : paths_)
                                          path.silence(true, Clock::now());
                                        owner_.changed(*this);
                                      });
  }
  threads_ended_ = thread_watches_.empty();
}

bool ForeignWorker::is_ready() {
  if (const auto ready = conversation_->ready()) return *ready;
  if (wanted_.launch.ready.empty()) {
    const auto activity = host_.activity(tunnel_);
    return activity && activity->carrier;
  }
  return output_.text().find(wanted_.launch.ready) != std::string::npos;
}

void ForeignWorker::look_around(Clock::time_point now) {
  if (threads_ended_) watch_threads();
  connect_control();
  if (control_ && !control_failed_) {
    if (received_.size() > max_answer_bytes) received_.clear();
    const bool silent = asked_ != Clock::time_point{} && now - asked_ > control_limit;
    if (silent) {
      control_failed_ = true;
      host_.events.add({"control_silent", tunnel_, "",
                        "its control socket does not answer; echoes alone tell how it is"});
    } else {
      control_->send(conversation_->question());
    }
    if (asked_ == Clock::time_point{}) asked_ = now;
  }
  take_counters();
  end_silent_sessions(now);
  check_health_command(now);
}

/// After an adoption, at the start, and when it was closed.
void ForeignWorker::connect_control() {
  if (control_ && !control_->is_closed()) return;
  const std::string socket = conversation_->control_socket();
  if (socket.empty()) return;
  try {
    control_ = std::make_unique<EngineControl>(host_.io, folder_.path() / socket,
                                               [this](std::string_view text) { receive(text); });
  } catch (const std::exception&) {
    return;  // not yet
  }
  received_.clear();
  asked_ = {};
  control_failed_ = false;
  if (const std::string greeting = conversation_->greeting(); !greeting.empty())
    control_->send(greeting);
}

void ForeignWorker::receive(std::string_view text) {
  received_ += text;
  if (conversation_->receive(received_)) asked_ = {};
  if (const std::string refusal = conversation_->refusal(); !refusal.empty()) hangs(refusal);
}

/// Per peer if the engine counts so, else the device's.
void ForeignWorker::take_counters() {
  for (auto& [peer, session] : sessions_) {
    const PeerCount count = conversation_->count(peer);
    if (!count.known) continue;
    const std::uint64_t before = session.rx_bytes;
    if (count.by_peer)
      session.address = count.address;
    else if (!listener_)
      session.address = count.address.empty()
                            ? fmt::format("{}:{}", wanted_.spec.address, wanted_.spec.port)
                            : count.address;
    if (!count.by_peer && sessions_.size() > 1) continue;
    session.rx_bytes = count.counted ? count.rx_bytes : activity_.rx_bytes;
    session.tx_bytes = count.counted ? count.tx_bytes : activity_.tx_bytes;
    // Among several peers the device's packets are nobody's in particular: the engine's count is
    // the witness then, in packets of full size.
    if (count.by_peer && peers_.size() > 1 && session.rx_bytes > before)
      peers_[peer].rx_packets += (session.rx_bytes - before) / wanted_.tun.mtu;
  }
  if (sessions_.empty() && !listener_) explain_silence();
}

void ForeignWorker::explain_silence() {
  const Silence silence = conversation_->silence(std::chrono::system_clock::now());
  if (!silence.reason.empty()) reason_ = silence.reason;
  if (!silence.passing.empty()) passing_ = silence.passing;
}

// ---- echoes ----

std::map<std::string, std::vector<unsigned>> ForeignWorker::echoes_due(Clock::time_point now) {
  std::map<std::string, std::vector<unsigned>> due;
  if (lifecycle_.state() != WorkerState::running) return due;
  const auto activity = host_.activity(tunnel_);
  if (!activity) return due;
  // What was received is taken off: the peer's echoes are answered at their own size, and each end
  // would take the other's looks for traffic for ever.
  const std::uint64_t sent = activity->tx_bytes - activity_.tx_bytes;
  const std::uint64_t received = activity->rx_bytes - activity_.rx_bytes;
  const bool large_sent =
      activity_.carrier && sent + answered_bytes_ > received + echo_bytes_ + large_bytes;
  for (auto& [peer, one] : peers_) {
    // The device's packets are the peer's only where there is no other.
    const bool alone = peers_.size() == 1;
    one.rx_packets += alone ? activity->rx_packets - activity_.rx_packets : 0;
  }
  activity_ = *activity;
  echo_bytes_ = answered_bytes_ = 0;
  for (auto& [peer, one] : peers_) {
    std::vector<unsigned>& sizes = due[peer];
    sizes.push_back(0);
    if (sessions_.contains(peer))
      for (const unsigned size : one.mtu.next(now, large_sent)) sizes.push_back(size);
    // Short rounds say little when nothing comes back, so there are no two of them in a row then.
    one.hurries = sizes.size() > 1 && !one.unanswered;
    for (const unsigned size : sizes) echo_bytes_ += std::max(size, small_echo_bytes);
  }
  return due;
}

void ForeignWorker::echoed(const std::string& peer, const std::vector<Echo>& echoes) {
  const auto found = peers_.find(peer);
  if (found == peers_.end() || lifecycle_.state() != WorkerState::running) return;
  const auto now = Clock::now();
  const bool answered = std::ranges::any_of(echoes, &Echo::answered);
  const TunnelHealth before = health(peer);
  if (answered) {
    found->second.answered_ = now;
    if (!sessions_.contains(peer)) {
      reason_.clear();
      passing_.clear();
      sessions_[peer].peer = peer;
      found->second.mtu.reset();
      path(peer).session_up(Health::down, now);
      take_counters();
      host_.events.add({"session_up", tunnel_, peer, sessions_[peer].address});
    }
  }
  for (const Echo& echo : echoes)
    if (echo.answered) answered_bytes_ += std::max(echo.bytes, small_echo_bytes);
  if (!sessions_.contains(peer)) return;
  std::vector<std::pair<unsigned, bool>> sizes;
  for (const Echo& echo : echoes) {
    if (echo.bytes != 0) sizes.emplace_back(echo.bytes, echo.answered);
    if (echo.bytes == 0 && echo.answered)
      sessions_[peer].rtt_us = static_cast<std::uint32_t>(echo.rtt.count());
  }
  probes_[peer].observe({answered}, sessions_[peer].rtt_us);
  found->second.mtu.answered(sizes, answered);
  found->second.unanswered = !answered;
  judge_mtu(peer, now);
  if (answered || !found->second.hurries)
    path(peer).heartbeat({{answered}, found->second.rx_packets}, now);
  if (health(peer) != before) owner_.changed(*this);
  if (!answered && !listener_ && control_ && now - found->second.answered_ > renewal_interval &&
      now - renewed_ > renewal_interval) {
    renewed_ = now;
    if (const std::string renewal = conversation_->renewal(); !renewal.empty())
      control_->send(renewal);
  }
}

/// Large packets wait for it: then the round is as short as the round trip allows.
milliseconds ForeignWorker::echo_time() const {
  const milliseconds whole = TunnelWorker::echo_time();
  milliseconds least = whole;
  for (const auto& [peer, one] : peers_)
    if (const auto session = sessions_.find(peer);
        session != sessions_.end() && session->second.rtt_us != 0 && one.hurries)
      least = std::min(least, hurry + milliseconds(hurry_trips * session->second.rtt_us / 1000));
  return least;
}

void ForeignWorker::judge_mtu(const std::string& peer, Clock::time_point now) {
  const PathMtu& mtu = peers_.at(peer).mtu;
  PathHealth& path = this->path(peer);
  const unsigned before = path.health().mtu;
  std::string unfit;
  if (!mtu.known())
    unfit = "its path's MTU is not known yet";
  else if (*mtu.known() == 0)
    unfit = "its path carries small packets only";
  else if (wanted_.carries_v6 && *mtu.known() < routing::ipv6_least_mtu)
    unfit = fmt::format("its path carries packets of {} bytes, and IPv6 needs {}", *mtu.known(),
                        routing::ipv6_least_mtu);
  // What is adopted stays as it is until it is known.
  if (path.health().state == Health::unknown && !mtu.known()) unfit.clear();
  path.mtu(mtu.lowered(), unfit, now);
  if (path.health().mtu == before) return;
  host_.events.add({mtu.lowered() != 0 ? "mtu_lowered" : "mtu_restored", tunnel_, peer,
                    fmt::format("its path carries packets of {} bytes", *mtu.known())});
}

void ForeignWorker::end_silent_sessions(Clock::time_point now) {
  std::vector<std::string> silent;
  for (const auto& [peer, session] : sessions_)
    if (const auto found = peers_.find(peer);
        found == peers_.end() || now - found->second.answered_ > silence_limit)
      silent.push_back(peer);
  for (const std::string& peer : silent) {
    reason_ = fmt::format("no echo was answered for {} seconds", silence_limit.count());
    sessions_.erase(peer);
    path(peer).session_down(false, now);
    host_.events.add({"session_down", tunnel_, peer, reason_});
  }
  if (!silent.empty()) owner_.changed(*this);
}

// ---- the health command ----

void ForeignWorker::check_health_command(Clock::time_point now) {
  if (wanted_.launch.health.empty()) return;
  std::optional<bool> healthy;
  if (health_ && ended_within(*health_, milliseconds(0))) {
    healthy = exit_reason(*health_) == "exited with status 0";
    health_.reset();
  } else if (health_ && now - health_since_ > health_limit) {
    kill_process(*health_);
  }
  if (healthy) {
    for (auto& [peer, session] : sessions_) path(peer).targets(*healthy, now);
    owner_.changed(*this);
  }
  if (health_) return;
  try {
    const Fd output = output_.open();
    health_ = launch_foreign(
        host_.io.get_executor(),
        {wanted_.launch.health, {}, folder_.path(), user_of(wanted_), output.get(), -1});
    health_since_ = now;
  } catch (const std::exception& error) {
    reason_ = std::string("its health command: ") + error.what();
  }
}

}  // namespace tunorch
