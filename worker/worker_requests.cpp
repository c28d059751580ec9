// What daemons ask of a worker over its control socket.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "worker/handshake.hpp"
#include "worker/sandbox.hpp"
#include "worker/tun.hpp"
#include "worker/worker.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds stop_limit{300};
/// So long a dead worker's queues are read: what was under way into them when the routes changed
/// has arrived by then, and its successor has not started yet.
constexpr milliseconds carry_limit{100};
constexpr off_t max_secret_bytes = 64 * 1024;

Peer make_peer(const PeerSpec& spec) {
  Peer peer;
  peer.spec = spec;
  return peer;
}

/// The last fds of a packet.
SecretFiles split_secrets(const std::vector<std::string>& names, std::vector<Fd>& fds) {
  SecretFiles secrets;
  if (names.size() > fds.size()) return secrets;
  const std::size_t first = fds.size() - names.size();
  for (std::size_t i = 0; i < names.size(); ++i)
    secrets.emplace(names[i], std::move(fds[first + i]));
  fds.resize(first);
  return secrets;
}

std::string read_memory_file(const Fd& file) {
  std::string text;
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size <= 0 || size > max_secret_bytes || ::lseek(file.get(), 0, SEEK_SET) != 0) return text;
  text.resize(static_cast<std::size_t>(size));
  if (::read(file.get(), text.data(), text.size()) != size) text.clear();
  return text;
}

/// A spec with its key, for as long as OpenSSL needs to take it.
struct SpecWithKey {
  Spec spec;
  ~SpecWithKey() {
    for (auto& [name, text] : spec.secrets) ::explicit_bzero(text.data(), text.size());
  }
};

SpecWithKey with_key(Spec spec, const SecretFiles& secrets) {
  if (const auto key = secrets.find("key"); key != secrets.end())
    spec.secrets["key"] = read_memory_file(key->second);
  return {std::move(spec)};
}

}  // namespace

Report Worker::hello() const {
  Report report;
  report.event = ReportKind::hello;
  if (!spec_) return report;
  report.tunnel = spec_->tunnel;
  report.digest = spec_->digest;
  return report;
}

std::vector<Report> Worker::replay() const {
  std::vector<Report> reports;
  for (const Peer& peer : peers_)
    if (peer.announced) reports.push_back(report(ReportKind::session_up, peer));
  if (!trouble_.empty()) reports.push_back(trouble_report());
  return reports;
}

void Worker::on_request(const Request& request, std::vector<Fd> fds) {
  SecretFiles secrets = split_secrets(request.secrets, fds);
  if (!speaks(request.protocol)) {
    give_up("the daemon speaks control protocol " + std::to_string(request.protocol) +
            ", this worker " + std::to_string(control_protocol));
  } else if (request.op == RequestOp::start && !spec_) {
    start(request, std::move(fds), std::move(secrets));
  } else if (request.op == RequestOp::update && spec_) {
    update(request, secrets);
  } else if (request.op == RequestOp::queues && spec_) {
    hand_over_fds();
  } else if (request.op == RequestOp::tell && spec_) {
    tell(request);
  } else if (request.op == RequestOp::carry && spec_) {
    carry(std::move(fds));
  } else if (request.op == RequestOp::stop) {
    stop("the node takes this tunnel down");
  } else {
    Report refused = hello();
    refused.event = ReportKind::refused;
    refused.reason = request.op == RequestOp::unknown
                         ? "unknown request of the daemon: is this worker of an older version?"
                         : "cannot do '" + std::string(to_string(request.op)) + "' now";
    control_.tell(refused);
  }
}

/// Before the first stranger is heard it gives up what carrying packets does not take.
void Worker::start(const Request& request, std::vector<Fd> fds, SecretFiles secrets) {
  if (request.queues < 1 || fds.size() != static_cast<std::size_t>(request.queues) +
                                              static_cast<std::size_t>(request.listeners))
    return give_up("the start request came with the wrong number of descriptors");
  spec_ = request.spec;
  if (spec_->peers.empty()) return give_up("the spec has no peers");
  try {
    if (spec_->transport == "postgres") {
      enter_sandbox(FileAccess::read);
      open_database(std::move(secrets));
    } else {
      tls_.emplace(with_key(*spec_, secrets).spec);
      enter_sandbox(FileAccess::none);
    }
  } catch (const std::runtime_error& error) {
    return give_up(error.what());
  }
  for (std::size_t i = 0; i < fds.size(); ++i)
    (i < static_cast<std::size_t>(request.queues) ? queues_ : listening_)
        .push_back(std::move(fds[i]));
  make_lanes();
  for (const PeerSpec& peer : spec_->peers) peers_.push_back(make_peer(peer));
  publish_rules();
  if (spec_->listener && !postgres_)
    acceptor_.emplace(poller_, listening_, *this);
  else if (!spec_->listener)
    dialer_.emplace(*spec_, *this);
  next_beat_ = Clock::now();
  // One that listens in a database does so when the database answers.
  if (!spec_->listener || !postgres_) tell_ready();
}

void Worker::tell_ready() {
  if (std::exchange(ready_, true)) return;
  Report ready = hello();
  ready.event = ReportKind::ready;
  control_.tell(ready);
}

void Worker::make_lanes() {
  const bool tso = spec_->offload != "none";
  wanted_offloads_ = tun::probe_offloads(queues_.front().get(),
                                         {.tso = tso, .ecn = tso, .uso = spec_->offload == "auto"});
  offloads_ = wanted_offloads_;
  for (std::size_t i = 0; i < queues_.size(); ++i)
    lanes_.push_back(
        std::make_unique<Lane>(static_cast<int>(i), queues_[i], lanes_, mailbox_, *this));
  for (const auto& lane : lanes_) lane->start();
}

/// Sessions of peers that stay are not touched.
void Worker::update(const Request& request, const SecretFiles& secrets) {
  const Spec& spec = request.spec;
  for (Peer& peer : peers_) {
    const auto wanted = std::ranges::find(spec.peers, peer.spec.node, &PeerSpec::node);
    peer.wanted = wanted != spec.peers.end();
    if (peer.wanted) {
      peer.spec = *wanted;
      continue;
    }
    peer.announced = false;  // the daemon took it out, and needs no word of its end
    for (int i = 0; i < max_streams; ++i)
      drop_stream(peer, i, "node " + peer.spec.node + " was taken out of the bundle");
  }
  for (const PeerSpec& wanted : spec.peers)
    if (!find_peer(wanted.node)) peers_.push_back(make_peer(wanted));
  if (tls_) take_keys(spec, secrets);
  static_cast<LiveSpec&>(*spec_) = spec;
  spec_->digest = spec.digest;
  next_beat_ = std::min(next_beat_, Clock::now() + milliseconds(spec.interval_ms));
  if (dialer_) dialer_->configure(spec);
  publish_rules();
}

/// For connections to come: those that stand keep what they were made with, unless it is revoked.
void Worker::take_keys(Spec spec, const SecretFiles& secrets) {
  try {
    tls_ = TlsContext(with_key(std::move(spec), secrets).spec);
    drop_revoked();
  } catch (const std::runtime_error& error) {
    Report report = hello();
    report.event = ReportKind::failed;
    report.reason = error.what();
    control_.tell(report);
  }
}

void Worker::drop_revoked() {
  for (Peer& peer : peers_)
    for (int i = 0; i < max_streams; ++i)
      if (tls_->revokes(peer.streams[static_cast<std::size_t>(i)].certificate)) {
        drop_stream(peer, i, "the certificate of " + peer.spec.node + " is revoked");
        if (dialer_) dialer_->on_closed(i, Clock::now());
      }
}

void Worker::hand_over_fds() {
  Report report = hello();
  report.event = ReportKind::queues;
  std::vector<int> fds;
  for (const Fd& fd : queues_) fds.push_back(fd.get());
  for (const Fd& fd : listening_) fds.push_back(fd.get());
  report.queues = static_cast<int>(queues_.size());
  report.listeners = static_cast<int>(listening_.size());
  control_.tell(report, fds);
}

void Worker::tell(const Request& request) {
  const auto text = state_text(request.word);
  if (!text) return;
  for (const std::string& name : request.to) {
    Peer* peer = find_peer(name);
    if (!peer || !peer->has_session()) continue;
    const int stream = static_cast<int>(&peer->first_live() - peer->streams.data());
    lane_of(stream).send({number_of(*peer), stream, peer->first_live().serial}, FrameType::state,
                         *text);
  }
}

/// The queues are of a tunnel of our bundle and our number of streams: each goes to the lane whose
/// flows it has.
void Worker::carry(std::vector<Fd> queues) {
  for (std::size_t i = 0; i < queues.size(); ++i) {
    ++carriers_;
    lanes_[i % lanes_.size()]->carry(std::move(queues[i]), carry_limit);
  }
}

void Worker::on_carried(DataPath::Carried carried) {
  carried_.packets += carried.packets;
  carried_.lost += carried.lost;
  if (--carriers_ > 0) return;
  Report report = hello();
  report.event = ReportKind::carried;
  report.packets = carried_.packets;
  report.lost = carried_.lost;
  carried_ = {};
  control_.tell(report);
}

void Worker::stop(const std::string& reason) {
  if (stop_at_) return;
  acceptor_.reset();
  for (const auto& connection : connections_) connection->close(reason);
  for (const auto& lane : lanes_) lane->close_all(reason);
  for (Peer& peer : peers_)
    for (int i = 0; i < max_streams; ++i) {
      const Counters last = peer.streams[static_cast<std::size_t>(i)].counters;
      end_stream(peer, i, last, reason);
    }
  stop_at_ = Clock::now() + stop_limit;
}

void Worker::give_up(const std::string& reason) {
  Report report = hello();
  report.event = ReportKind::failed;
  report.reason = reason;
  control_.tell(report);
  exit_status_ = 1;
}

}  // namespace tunorch::worker
