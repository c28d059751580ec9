#include "orchestrator/tunnels/native_worker.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/plan/digest.hpp"
#include "routing/steering.hpp"
#include "routing/tun.hpp"

namespace tunorch {
namespace {

using std::chrono::seconds;

/// A worker silent this long is killed and restarted, starved or not.
constexpr seconds hang_limit{5};
constexpr int backlog = 256;
/// A listener with more leaves the echoes through its device to them.
constexpr std::size_t most_echoed_peers = 16;

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
  // Accepted connections inherit it, and the rules of a full tunnel know them by it.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &own_connections_mark,
                   sizeof own_connections_mark) != 0)
    fail("mark");
  if (v6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  const auto* address =
      v6 ? reinterpret_cast<const sockaddr*>(&any6) : reinterpret_cast<const sockaddr*>(&any4);
  if (::bind(fd.get(), address, v6 ? sizeof any6 : sizeof any4) != 0 ||
      ::listen(fd.get(), backlog) != 0)
    fail("listen on");
  return fd;
}

/// The kernel loads a congestion control's module only for who has CAP_NET_ADMIN
/// (tcp_ca_find_autoload(), net/ipv4/tcp_cong.c), and a worker has not. Where there is none a
/// worker says so.
void load_congestion(const std::string& name) {
  const Fd any(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string module = name == "auto" ? "bbr" : name;
  (void)::setsockopt(any.get(), IPPROTO_TCP, TCP_CONGESTION, module.data(),
                     static_cast<socklen_t>(module.size()));
}

Fd memory_file(const std::string& text, std::uint32_t user) {
  Fd file(::memfd_create("tunorch", MFD_CLOEXEC));
  // libpq refuses a key or a password that others could read.
  if (!file.valid() || ::fchmod(file.get(), 0600) != 0 || ::fchown(file.get(), user, user) != 0 ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw std::system_error(errno, std::generic_category(), "cannot make a memory file for a key");
  return file;
}

}  // namespace

/// The queues of the worker before are used again: a new one beside them would get only a part of
/// the packets, and to close them first would cost the device its carrier.
void NativeWorker::open_queues(int count) {
  const bool usable = queues_.size() == static_cast<std::size_t>(count) &&
                      std::ranges::all_of(queues_, [&](const Fd& queue) {
                        return routing::is_attached(queue, tunnel_);
                      });
  if (usable) return;
  queues_.clear();
  for (int i = 0; i < count; ++i) queues_.push_back(routing::open_tun_queue(tunnel_));
}

/// Several streams need the kernel to keep each flow in one queue; where it cannot, one stream has
/// to do.
int NativeWorker::open_streams(int wanted) {
  open_queues(wanted);
  if (wanted == 1) return wanted;
  try {
    routing::set_steering(queues_.front(), routing::load_steering());
    return wanted;
  } catch (const std::system_error& error) {
    host_.events.add({"one_stream", tunnel_, "",
                      std::string(error.what()) +
                          ": packets would overtake each other, so it has one stream, not " +
                          std::to_string(wanted)});
    open_queues(1);
    return 1;
  }
}

void NativeWorker::launch(const DesiredTunnel& wanted) {
  const bool listens = listener_ && wanted.spec.transport == "tls";
  load_congestion(wanted.spec.congestion);
  worker::Request request{
      worker::RequestOp::start, worker::control_protocol, 0, listens ? 1 : 0, {}, wanted.spec};
  request.queues = request.spec.streams = open_streams(wanted.spec.streams);
  std::vector<int> fds = queues();
  std::optional<Fd> listening;
  if (listens) fds.push_back(listening.emplace(listen_tcp(wanted.spec.port)).get());

  const auto socket_path = host_.paths.worker_socket(tunnel_);
  const Fd control = listen_for_daemons(socket_path);
  const Fd output = output_.open();
  launched(launch_worker(host_.io.get_executor(), host_.executable, wanted.tun.owner, control.get(),
                         output.get()),
           wanted.spec.digest);
  link_ = std::make_unique<WorkerLink>(host_.io, socket_path);
  send_spec(std::move(request), std::move(fds), wanted);
  heard_ = Clock::now();
  watch_link();
}

/// The JSON has no secrets: they go beside it, each in a file that the worker's user alone opens.
void NativeWorker::send_spec(worker::Request request, std::vector<int> fds,
                             const DesiredTunnel& wanted) {
  std::vector<Fd> files;
  for (const auto& [name, text] : wanted.spec.secrets) {
    request.secrets.push_back(name);
    files.push_back(memory_file(text, wanted.tun.owner));
    fds.push_back(files.back().get());
  }
  link_->send(request, fds);
}

void NativeWorker::change(const DesiredTunnel& wanted) {
  if (!link_ || !updates_live(digest_, wanted.spec.digest)) return TunnelWorker::change(wanted);
  configure(wanted);
  heard_ = Clock::now();  // it may have beaten more rarely until now
  when_suspected_.reset();
  send_spec({worker::RequestOp::update, worker::control_protocol, 0, 0, {}, wanted.spec}, {},
            wanted);
  serves(wanted.spec.digest);
  const auto gone = [&](const auto& entry) {
    return std::ranges::find(wanted.spec.peers, entry.first, &worker::PeerSpec::node) ==
           wanted.spec.peers.end();
  };
  std::erase_if(sessions_, gone);
  std::erase_if(paths_, gone);
}

void NativeWorker::ask_to_stop() {
  try {
    if (link_) link_->send({worker::RequestOp::stop});
  } catch (const std::system_error& error) {
    spdlog::debug("stop not delivered tunnel={} reason=\"{}\"", tunnel_, error.what());
  }
}

/// One that was never given its spec, hangs, or speaks another protocol: a new one is quicker.
bool NativeWorker::reach() {
  try {
    link_ = std::make_unique<WorkerLink>(host_.io, host_.paths.worker_socket(tunnel_));
  } catch (const std::system_error&) {
    return false;
  }
  const auto hello = link_->receive_within(milliseconds(500));
  if (!hello || hello->digest.empty() || !worker::speaks(hello->protocol)) return false;
  link_->speak(hello->protocol);
  digest_ = hello->digest;
  heard_ = Clock::now();
  adopted_unheard_ = true;
  try {
    link_->send({worker::RequestOp::queues});
  } catch (const std::system_error&) {
    return false;
  }
  asked_for_queues_ = true;
  watch_link();
  return true;
}

// ---- what it is asked ----

void NativeWorker::tell(const std::vector<std::string>& peers, const worker::StateWord& word) {
  if (!link_) return;
  worker::Request request{worker::RequestOp::tell};
  request.to = peers;
  request.word = word;
  try {
    link_->send(request);
  } catch (const std::system_error& error) {
    spdlog::debug("state not told tunnel={} reason=\"{}\"", tunnel_, error.what());
  }
}

void NativeWorker::carry(const std::vector<int>& queues) {
  if (!link_ || queues.empty()) return;
  try {
    link_->send(
        {worker::RequestOp::carry, worker::control_protocol, static_cast<int>(queues.size())},
        queues);
  } catch (const std::system_error& error) {
    spdlog::warn("stranded packets are lost tunnel={} reason=\"{}\"", tunnel_, error.what());
  }
}

std::vector<int> NativeWorker::queues() const {
  std::vector<int> fds;
  for (const Fd& queue : queues_) fds.push_back(queue.get());
  return fds;
}

void NativeWorker::drop_carrier() {
  if (!queues_.empty()) routing::set_carrier(queues_.front(), false);
}

// ---- its end ----

void NativeWorker::watch_link() {
  link_->watch([this](const worker::Report& report,
                      std::vector<Fd> fds) { on_report(report, std::move(fds)); },
               [this] { link_closed(); });
}

/// The worker ends, or it gave up on a daemon that did not read in time: then it tells its sessions
/// again on a new connection.
void NativeWorker::link_closed() {
  link_.reset();
  try {
    link_ = std::make_unique<WorkerLink>(host_.io, host_.paths.worker_socket(tunnel_));
  } catch (const std::system_error&) {
    return;  // its exit is next
  }
  sessions_.clear();
  for (auto& [peer, path] : paths_) path.forget();
  adopted_unheard_ = true;
  watch_link();
}

void NativeWorker::forget() {
  link_.reset();
  when_suspected_.reset();
  adopted_unheard_ = asked_for_queues_ = false;
  trouble_.clear();
  std::error_code ignored;
  std::filesystem::remove(host_.paths.worker_socket(tunnel_), ignored);
}

// ---- what the worker says ----

void NativeWorker::on_report(const worker::Report& report, std::vector<Fd> fds) {
  heard_ = Clock::now();
  when_suspected_.reset();
  // A refused peer may have any name; it is only logged.
  if (report.event != worker::ReportKind::refused && !may_speak_of(report.peer)) return;
  if (report.event == worker::ReportKind::heartbeat) return on_heartbeat(report);
  if (report.event == worker::ReportKind::told) return owner_.peer_told(report.peer, report.word);
  if (report.event == worker::ReportKind::ready) {
    reason_.clear();
    on(WorkerEvent::ready);
  } else if (report.event == worker::ReportKind::session_up) {
    on_session_up(report);
  } else if (report.event == worker::ReportKind::session_down) {
    sessions_.erase(report.peer);
    path(report.peer).session_down(lifecycle_.state() == WorkerState::stopping, heard_);
    reason_ = trouble_.empty() ? report.reason : trouble_;
    host_.events.add({"session_down", tunnel_, report.peer, report.reason});
  } else if (report.event == worker::ReportKind::stream_up ||
             report.event == worker::ReportKind::stream_down) {
    const std::string which =
        "stream " + std::to_string(report.stream) + " (" + report.address + ")";
    host_.events.add({to_string(report.event), tunnel_, report.peer,
                      which + (report.reason.empty() ? "" : ": " + report.reason)});
    return;
  } else if (report.event == worker::ReportKind::trouble) {
    trouble_ = reason_ = report.reason;
    // Both ends see their connections end: no need to wait for lost PINGs.
    for (auto& [peer, path] : paths_) path.silence(!trouble_.empty(), heard_);
    host_.events.add({trouble_.empty() ? "database_back" : "database_lost", tunnel_, "", trouble_});
  } else if (report.event == worker::ReportKind::refused ||
             report.event == worker::ReportKind::failed) {
    // On a listener that serves others a stranger's refusal says nothing about the tunnel, and one
    // that follows from the database's loss less than that loss.
    if ((sessions_.empty() && trouble_.empty()) || report.event == worker::ReportKind::failed)
      reason_ = report.reason;
    const std::string whom = report.address.empty() ? "" : report.address + ": ";
    host_.events.add({to_string(report.event), tunnel_, report.peer, whom + report.reason});
  } else if (report.event == worker::ReportKind::queues) {
    fds.resize(std::min(fds.size(), static_cast<std::size_t>(std::max(report.queues, 0))));
    const bool ours = std::ranges::all_of(
        fds, [&](const Fd& queue) { return routing::is_attached(queue, tunnel_); });
    if (std::exchange(asked_for_queues_, false) && ours) queues_ = std::move(fds);
    return;
  } else if (report.event == worker::ReportKind::carried) {
    if (report.packets + report.lost > 0)
      host_.events.add({"salvaged", tunnel_, "",
                        std::to_string(report.packets) + " stranded packets sent, " +
                            std::to_string(report.lost) + " lost"});
    return;
  } else {
    return;  // hello: nothing changes
  }
  owner_.changed(*this);
}

/// A worker that was taken over could make up peers, or speak for others'. One that was adopted
/// before its spec could be loaded has none to compare with.
bool NativeWorker::may_speak_of(const std::string& peer) const {
  return peer.empty() || peers_.empty() || peers_.contains(peer);
}

void NativeWorker::configure(const DesiredTunnel& wanted) {
  TunnelWorker::configure(wanted);
  peers_.clear();
  for (const worker::PeerSpec& peer : wanted.spec.peers) peers_.insert(peer.node);
}

void NativeWorker::on_session_up(const worker::Report& report) {
  // A listener hears of a session with the dialer's first PING, which is proof enough; a dialer
  // waits for `rise` answers. After an adoption the routes stay as they are until it is known.
  const Health start = listener_ ? Health::up : adopted_unheard_ ? Health::unknown : Health::down;
  path(report.peer).session_up(start, Clock::now());
  worker::SessionReport session;
  session.peer = report.peer;
  session.address = report.address;
  session.streams = 0;  // until a heartbeat tells of it
  // After a reconnect to the same worker its counters continue.
  if (const auto known = sessions_.find(report.peer);
      known == sessions_.end() || known->second.address != report.address)
    sessions_.insert_or_assign(report.peer, std::move(session));
  sockets_.insert_or_assign(report.peer, report.socket);
  reason_.clear();
  host_.events.add({"session_up", tunnel_, report.peer, report.address});
}

void NativeWorker::on_heartbeat(const worker::Report& report) {
  bool changed = adopted_unheard_;
  if (adopted_unheard_) {
    adopted_unheard_ = false;
    for (auto& [peer, path] : paths_)
      if (!sessions_.contains(peer)) path.session_down(true, heard_);
  }
  dropped_ = report.dropped;
  waiting_bytes_ = report.waiting_bytes;
  for (const worker::SessionReport& said : report.sessions) {
    const auto found = sessions_.find(said.peer);
    if (found == sessions_.end()) continue;
    found->second = said;
    probes_[said.peer].observe(said.probes, said.rtt_us);
    PathHealth& path = this->path(said.peer);
    const TunnelHealth before = path.health();
    const bool own_before = path.own_verdict();
    path.heartbeat({said.probes, said.rx_packets}, heard_);
    changed = changed || path.health() != before || path.own_verdict() != own_before;
  }
  if (changed) owner_.changed(*this);
}

TunnelHealth NativeWorker::health(const std::string& peer) const {
  if (adopted_unheard_ && lifecycle_.alive() && !paths().contains(peer))
    return {Health::unknown, false};
  return TunnelWorker::health(peer);
}

// ---- echoes through the device: they are worth a word, and decide nothing ----

std::map<std::string, std::vector<unsigned>> NativeWorker::echoes_due(Clock::time_point) {
  std::map<std::string, std::vector<unsigned>> due;
  if (sessions().size() <= most_echoed_peers)
    for (const auto& [peer, session] : sessions()) due[peer] = {0};
  return due;
}

void NativeWorker::echoed(const std::string& peer, const std::vector<Echo>& echoes) {
  if (!sessions().contains(peer)) return;
  PathHealth& path = this->path(peer);
  if (!path.device_probe(echoes.front().answered)) return;
  const bool back = path.device() == Health::up;
  host_.events.add({back ? "probe_back" : "probe_lost", tunnel_, peer,
                    back ? "ICMP through the device is answered again"
                         : "ICMP through the device is not answered; PINGs decide"});
}

// ---- its silence ----

void NativeWorker::watch(Clock::time_point now, bool forgive) {
  if (lifecycle_.state() != WorkerState::running) return;
  if (forgive) heard_ = now;
  const auto quiet = now - heard_;
  // It beats every `interval`; the peer would call it lost after about as long.
  const auto limit = health_.interval * health_.fall + health_.timeout / 2;
  if (quiet > hang_limit) return hangs("no heartbeat for 5 seconds");
  if (quiet < limit / 2) return;
  if (!when_suspected_) when_suspected_ = activity(*process_);
  if (quiet < limit) return;
  // The second witness: a process that wants to run and is not let is starved, not hung. A busy
  // machine is no reason to kill what carries its traffic.
  const Activity now_active = activity(*process_);
  const auto ran = now_active.ran - when_suspected_->ran;
  if (now_active.state == 'R' && ran < quiet / 10) return;
  hangs(fmt::format("no heartbeat for {} ms, process state {}",
                    std::chrono::round<milliseconds>(quiet).count(), now_active.state));
}

}  // namespace tunorch
