#include "orchestrator/tunnel_worker.hpp"

#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <random>
#include <system_error>

#include "routing/tun.hpp"

namespace tunorch {
namespace {

using routing::Fd;
using std::chrono::seconds;

constexpr seconds stop_limit{3};
/// A worker this long without a word is killed and started anew. Far above the time after which it
/// leaves the routes: killing is final, a busy machine is not.
constexpr seconds hang_limit{5};
constexpr int backlog = 256;

double jitter() {
  static std::mt19937 engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

/// Dual-stack on the wildcard address: an endpoint may be a NAT's address, not one of this host.
/// Where IPv6 is off, IPv4 alone.
Fd listen_tcp(std::uint16_t port) {
  const auto fail = [&](const char* what) {
    throw std::system_error(errno, std::generic_category(),
                            std::string("cannot ") + what + " TCP port " + std::to_string(port));
  };
  const int on = 1, off = 0;
  Fd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in6 any6{};
  any6.sin6_family = AF_INET6;
  any6.sin6_port = htons(port);
  sockaddr_in any4{};
  any4.sin_family = AF_INET;
  any4.sin_port = htons(port);
  const bool v6 = fd.valid();
  if (!v6) fd = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) fail("make a socket for");
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (v6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  const auto* address =
      v6 ? reinterpret_cast<const sockaddr*>(&any6) : reinterpret_cast<const sockaddr*>(&any4);
  if (::bind(fd.get(), address, v6 ? sizeof any6 : sizeof any4) != 0 ||
      ::listen(fd.get(), backlog) != 0)
    fail("listen on");
  return fd;
}

}  // namespace

TunnelWorker::TunnelWorker(WorkerHost& host, std::string tunnel, std::function<void()> on_change)
    : host_(host),
      tunnel_(std::move(tunnel)),
      on_change_(std::move(on_change)),
      due_timer_(host.io),
      kill_timer_(host.io) {}

void TunnelWorker::configure(const DesiredTunnel& wanted) {
  lifecycle_.set_options(wanted.restart);
  health_ = wanted.health;
  listener_ = wanted.spec.listener;
}

void TunnelWorker::on(WorkerEvent event) {
  lifecycle_.on(event, Clock::now(), jitter());
  due_timer_.cancel();
  if (lifecycle_.state() != WorkerState::backoff) return;
  due_timer_.expires_at(lifecycle_.due_at());
  due_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    on(WorkerEvent::due);
    on_change_();
  });
}

void TunnelWorker::start(const DesiredTunnel& wanted) {
  configure(wanted);
  std::vector<Fd> opened;
  worker::Request request{"start", worker::control_protocol, wanted.spec.streams, listener_ ? 1 : 0,
                          wanted.spec};
  for (int i = 0; i < request.queues; ++i) opened.push_back(routing::open_tun_queue(tunnel_));
  if (listener_) opened.push_back(listen_tcp(wanted.spec.port));
  std::vector<int> fds;
  for (const Fd& fd : opened) fds.push_back(fd.get());

  const auto socket_path = host_.paths.worker_socket(tunnel_);
  make_dir(host_.paths.workers());
  try {
    const Fd control = listen_for_daemons(socket_path);
    process_ =
        launch_worker(host_.io.get_executor(), host_.executable, wanted.tun.owner, control.get());
    write_whole(host_.paths.worker_process(tunnel_), process_->id.text());
    link_ = std::make_unique<WorkerLink>(host_.io, socket_path);
    link_->send(request, fds);
  } catch (...) {
    if (process_) kill_process(*process_);
    forget_process();
    throw;
  }
  digest_ = wanted.spec.digest;
  heard_ = Clock::now();
  on(WorkerEvent::start);
  watch_exit();
  watch_link();
  spdlog::info("worker started tunnel={} pid={}", tunnel_, pid());
}

void TunnelWorker::start_failed(const std::string& reason) {
  reason_ = reason;
  on(WorkerEvent::start);
  on(WorkerEvent::exited);
  spdlog::warn("worker cannot start tunnel={} reason=\"{}\"", tunnel_, reason);
}

void TunnelWorker::change(const DesiredTunnel& wanted) {
  configure(wanted);
  if (!updates_live(digest_, wanted.spec.digest)) {
    stop();
    return;
  }
  link_->send({"update", worker::control_protocol, 0, 0, wanted.spec});
  digest_ = wanted.spec.digest;
  std::erase_if(sessions_, [&](const auto& entry) {
    return std::ranges::find(wanted.spec.peers, entry.first, &worker::PeerSpec::node) ==
           wanted.spec.peers.end();
  });
}

void TunnelWorker::stop() {
  on(WorkerEvent::stop);
  if (lifecycle_.state() != WorkerState::stopping) return;
  try {
    if (link_) link_->send({"stop", worker::control_protocol, 0, 0, {}});
  } catch (const std::system_error& error) {
    spdlog::debug("stop not delivered tunnel={} reason=\"{}\"", tunnel_, error.what());
  }
  kill_timer_.expires_after(stop_limit);
  kill_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && process_) kill_process(*process_);
  });
}

bool TunnelWorker::adopt() {
  const auto id = ProcessId::parse(read_text(host_.paths.worker_process(tunnel_)).value_or(""));
  if (!id) return false;
  process_ = adopt_process(*id);
  if (!process_) {
    forget_process();
    return false;
  }
  try {
    link_ = std::make_unique<WorkerLink>(host_.io, host_.paths.worker_socket(tunnel_));
  } catch (const std::system_error&) {
    link_.reset();
  }
  const auto hello = link_ ? link_->receive_within(milliseconds(500)) : std::nullopt;
  if (!hello || hello->digest.empty() || hello->protocol != worker::control_protocol) {
    // It was never given its spec, hangs, or speaks another protocol: a new one is quicker.
    kill_process(*process_);
    forget_process();
    return false;
  }
  digest_ = hello->digest;
  heard_ = Clock::now();
  adopted_unheard_ = true;
  on(WorkerEvent::start);
  on(WorkerEvent::ready);
  watch_exit();
  watch_link();
  spdlog::info("worker adopted tunnel={} pid={}", tunnel_, pid());
  return true;
}

void TunnelWorker::watch_exit() {
  const int copy = ::fcntl(process_->pidfd.get(), F_DUPFD_CLOEXEC, 0);
  exit_watch_.emplace(host_.io, copy);
  exit_watch_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this](const boost::system::error_code& error) {
                            if (!error) exited();
                          });
}

void TunnelWorker::watch_link() {
  link_->watch([this](const worker::Report& report) { on_report(report); },
               [this] { link_closed(); });
}

/// The worker ends, or it gave up on a daemon that did not read in time: then it tells its sessions
/// again on a new connection.
void TunnelWorker::link_closed() {
  link_.reset();
  try {
    link_ = std::make_unique<WorkerLink>(host_.io, host_.paths.worker_socket(tunnel_));
  } catch (const std::system_error&) {
    return;  // its exit is next
  }
  sessions_.clear();
  adopted_unheard_ = true;
  watch_link();
}

void TunnelWorker::exited() {
  const bool asked = lifecycle_.state() == WorkerState::stopping;
  const std::string how = exit_reason(*process_);
  // What the worker said last explains more than how it ended, unless it was killed.
  if (reason_.empty() || how.starts_with("killed")) reason_ = how;
  spdlog::info("worker ended tunnel={} pid={} asked={} reason=\"{}\"", tunnel_, pid(), asked,
               reason_);
  on(WorkerEvent::exited);
  if (asked) reason_.clear();
  sessions_.clear();
  forget_process();
  if (lifecycle_.state() == WorkerState::quarantined)
    spdlog::error("worker quarantined tunnel={} restarts={}: apply again to try once more", tunnel_,
                  lifecycle_.restarts());
  on_change_();
}

void TunnelWorker::forget_process() {
  kill_timer_.cancel();
  exit_watch_.reset();
  link_.reset();
  process_.reset();
  digest_.clear();
  silent_ = adopted_unheard_ = false;
  std::error_code ignored;
  std::filesystem::remove(host_.paths.worker_process(tunnel_), ignored);
  std::filesystem::remove(host_.paths.worker_socket(tunnel_), ignored);
}

// ---- what the worker says ----

void TunnelWorker::on_report(const worker::Report& report) {
  heard_ = Clock::now();
  if (silent_) {
    silent_ = false;
    spdlog::info("worker speaks again tunnel={}", tunnel_);
  }
  if (report.event == "heartbeat") return on_heartbeat(report);
  if (report.event == "ready") {
    reason_.clear();
    on(WorkerEvent::ready);
  } else if (report.event == "session_up") {
    on_session_up(report);
  } else if (report.event == "session_down") {
    sessions_.erase(report.peer);
    reason_ = report.reason;
    spdlog::info("session down tunnel={} peer={} reason=\"{}\"", tunnel_, report.peer,
                 report.reason);
  } else if (report.event == "refused" || report.event == "failed") {
    // On a listener that serves others a stranger's refusal says nothing about the tunnel.
    if (sessions_.empty() || report.event == "failed") reason_ = report.reason;
    spdlog::warn("{} tunnel={} peer={} address={} reason=\"{}\"", report.event, tunnel_,
                 report.peer, report.address, report.reason);
  } else {
    return;  // hello, queues: nothing changes
  }
  on_change_();
}

void TunnelWorker::on_session_up(const worker::Report& report) {
  // A listener hears of a session with the dialer's first PING, which is proof enough; a dialer
  // waits for `rise` answers. After an adoption the routes stay as they are until it is known.
  const Health start = listener_ ? Health::up : adopted_unheard_ ? Health::unknown : Health::down;
  Session session{true, Dampener(health_.rise, health_.fall, start), {}};
  session.last.peer = report.peer;
  session.last.address = report.address;
  sessions_.insert_or_assign(report.peer, std::move(session));
  reason_.clear();
  spdlog::info("session up tunnel={} peer={} address={}", tunnel_, report.peer, report.address);
}

void TunnelWorker::on_heartbeat(const worker::Report& report) {
  bool changed = adopted_unheard_;
  adopted_unheard_ = false;
  dropped_ = report.dropped;
  for (const worker::SessionReport& said : report.sessions) {
    const auto found = sessions_.find(said.peer);
    if (found == sessions_.end()) continue;
    Session& session = found->second;
    session.last = said;
    const Health before = session.dampener.state();
    for (const bool answered : said.probes) session.dampener.observe(answered);
    const Health after = session.dampener.state();
    if (before == after) continue;
    say_health(said.peer, before, after);
    if (after == Health::down) reason_ = "PINGs unanswered";
    if (after == Health::up) reason_.clear();
    changed = true;
  }
  if (changed) on_change_();
}

void TunnelWorker::say_health(const std::string& peer, Health before, Health after) const {
  spdlog::info("health changed tunnel={} peer={} from={} to={}", tunnel_, peer, to_string(before),
               to_string(after));
}

TunnelHealth TunnelWorker::health(const std::string& peer) const {
  if (!lifecycle_.alive()) return {Health::down, false};
  const auto found = sessions_.find(peer);
  if (found == sessions_.end()) return {adopted_unheard_ ? Health::unknown : Health::down, false};
  return {silent_ ? Health::down : found->second.dampener.state(), true};
}

void TunnelWorker::check(Clock::time_point now, bool forgive) {
  if (lifecycle_.state() != WorkerState::running) return;
  if (forgive) heard_ = now;
  const auto quiet = now - heard_;
  if (quiet > hang_limit && process_) {
    spdlog::error("worker hangs, killing it tunnel={} pid={}", tunnel_, pid());
    reason_ = "no heartbeat";
    kill_process(*process_);
    return;
  }
  if (!silent_ && quiet > health_.interval * health_.fall + health_.timeout) {
    silent_ = true;
    reason_ = "no heartbeat";
    spdlog::warn("worker is silent tunnel={} pid={}", tunnel_, pid());
    on_change_();
  }
}

}  // namespace tunorch
