// What daemons ask of a worker over its control socket.
#include <algorithm>
#include <stdexcept>

#include "worker/handshake.hpp"
#include "worker/worker.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds stop_limit{300};
/// So long a dead worker's queues are read: what was under way into them when the routes changed
/// has arrived by then, and its successor has not started yet.
constexpr milliseconds carry_limit{100};

}  // namespace

Report Worker::hello() const {
  Report report;
  report.event = "hello";
  if (!spec_) return report;
  report.tunnel = spec_->tunnel;
  report.digest = spec_->digest;
  return report;
}

std::vector<Report> Worker::replay() const {
  std::vector<Report> reports;
  for (const Peer& peer : peers_)
    if (peer.announced) reports.push_back(report("session_up", peer));
  return reports;
}

void Worker::on_request(const Request& request, std::vector<Fd> fds) {
  if (request.protocol != control_protocol) {
    give_up("the daemon speaks control protocol " + std::to_string(request.protocol) +
            ", this worker " + std::to_string(control_protocol));
  } else if (request.op == "start" && !spec_) {
    start(request, std::move(fds));
  } else if (request.op == "update" && spec_) {
    update(request.spec);
  } else if (request.op == "queues" && spec_) {
    hand_over_fds();
  } else if (request.op == "tell" && spec_) {
    tell(request);
  } else if (request.op == "carry" && path_) {
    carry(std::move(fds));
  } else if (request.op == "stop") {
    stop("the node takes this tunnel down");
  }
}

void Worker::start(const Request& request, std::vector<Fd> fds) {
  if (request.queues < 1 || fds.size() != static_cast<std::size_t>(request.queues) +
                                              static_cast<std::size_t>(request.listeners))
    return give_up("the start request came with the wrong number of descriptors");
  spec_ = request.spec;
  if (spec_->peers.empty()) return give_up("the spec has no peers");
  try {
    tls_.emplace(*spec_);
  } catch (const std::runtime_error& error) {
    return give_up(error.what());
  }
  spec_->key_pem.clear();  // OpenSSL has it now
  std::vector<Fd> queues;
  for (std::size_t i = 0; i < fds.size(); ++i)
    (i < static_cast<std::size_t>(request.queues) ? queues : listening_)
        .push_back(std::move(fds[i]));
  path_.emplace(poller_, Tun(std::move(queues)));
  for (const PeerSpec& peer : spec_->peers) peers_.push_back({peer, {}, {}, false, {}});
  path_->set_peers(peers_, spec_->listener, spec_->isolate);
  if (spec_->listener)
    door_.emplace(poller_, listening_, *this);
  else
    dialer_.emplace(*spec_, *this);
  Report ready = hello();
  ready.event = "ready";
  control_.tell(ready);
  next_beat_ = Clock::now();
}

/// Sessions of peers that stay are not touched.
void Worker::update(const Spec& spec) {
  std::vector<Peer> peers;
  for (const PeerSpec& wanted : spec.peers) {
    const auto old =
        std::ranges::find(peers_, wanted.node, [](const Peer& peer) { return peer.spec.node; });
    Peer peer = old == peers_.end() ? Peer{} : std::move(*old);
    if (old != peers_.end()) old->streams.clear();
    peer.spec = wanted;
    peers.push_back(std::move(peer));
  }
  for (Peer& gone : peers_)
    for (Connection* connection : gone.streams)
      if (connection) connection->close("node " + gone.spec.node + " was taken out of the bundle");
  peers_ = std::move(peers);
  for (std::size_t i = 0; i < peers_.size(); ++i)
    for (Connection* connection : peers_[i].streams)
      if (connection) connection->peer = static_cast<int>(i);
  spec_->peers = spec.peers;
  spec_->digest = spec.digest;
  spec_->interval_ms = spec.interval_ms;
  spec_->timeout_ms = spec.timeout_ms;
  if (dialer_) dialer_->configure(spec);
  path_->set_peers(peers_, spec_->listener, spec_->isolate);
}

void Worker::hand_over_fds() {
  Report report = hello();
  report.event = "queues";
  std::vector<int> fds;
  for (const Fd& fd : path_->tun().queues()) fds.push_back(fd.get());
  for (const Fd& fd : listening_) fds.push_back(fd.get());
  report.queues = static_cast<int>(path_->tun().queues().size());
  report.listeners = static_cast<int>(listening_.size());
  control_.tell(report, fds);
}

void Worker::tell(const Request& request) {
  const auto text = state_text(request.word);
  if (!text) return;
  for (const std::string& name : request.to) {
    const auto peer =
        std::ranges::find(peers_, name, [](const Peer& one) { return one.spec.node; });
    Connection* stream = peer == peers_.end() ? nullptr : peer->live_stream();
    if (stream && stream->version >= 2) stream->send(FrameType::state, *text);
  }
}

void Worker::carry(std::vector<Fd> queues) {
  path_->carry(std::move(queues));
  carry_until_ = Clock::now() + carry_limit;
}

void Worker::stop(const std::string& reason) {
  if (stop_at_) return;
  door_.reset();
  for (const auto& connection : connections_) let_go(*connection, reason);
  stop_at_ = Clock::now() + stop_limit;
}

void Worker::give_up(const std::string& reason) {
  Report report = hello();
  report.event = "failed";
  report.reason = reason;
  control_.tell(report);
  exit_status_ = 1;
}

}  // namespace tunorch::worker
