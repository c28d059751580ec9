#include "worker/worker.hpp"

#include <algorithm>
#include <stdexcept>

#include "worker/outer_socket.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// From the first SYN or accept to a finished greeting, in each state on the way.
constexpr seconds greeting_limit{5};
/// Last words and the peer's farewell.
constexpr seconds closing_limit{1};
/// A session without an answered PING is given up: TCP alone would wait a quarter of an hour.
constexpr seconds silence_limit{10};
/// A worker nobody gave a spec to has no reason to be.
constexpr seconds start_limit{30};
constexpr milliseconds deadline_interval{250};
constexpr milliseconds idle_interval{1000};
/// Strangers' refusals are told so many times a second, then only counted by nobody: a log is not
/// to be filled from outside.
constexpr int max_refusals_a_second = 10;

nanoseconds monotonic(Worker::Clock::time_point now) {
  return now.time_since_epoch();
}

std::string_view text_of(const std::uint8_t* payload, std::size_t size) {
  return {reinterpret_cast<const char*>(payload), size};
}

}  // namespace

Worker::Worker(Fd control_socket) : control_(poller_, std::move(control_socket), *this) {}

int Worker::run() {
  while (!exit_status_) {
    const bool more = std::ranges::any_of(
        connections_, [](const auto& connection) { return connection->has_more(); });
    poller_.wait(more ? nanoseconds(0) : std::max(nanoseconds(0), next_due() - Clock::now()));
    for (std::size_t i = 0; i < connections_.size(); ++i)
      if (connections_[i]->has_more()) connections_[i]->read();
    const auto now = Clock::now();
    if (now >= next_beat_) beat(now);
    if (!expiries_.empty() && now >= expiries_.front()) expire_pings(now);
    if (path_ && path_->carries() && now >= carry_until_) {
      const auto carried = path_->finish_carrying();
      Report report = hello();
      report.event = "carried";
      report.packets = carried.packets;
      report.lost = carried.lost;
      control_.tell(report);
    }
    if (dialer_ && !stop_at_) dialer_->dial(now);
    sweep();
    if (path_ && path_->device_gone()) give_up("the device was deleted");
    if (stop_at_ && (now >= *stop_at_ || connections_.empty())) exit_status_ = 0;
  }
  return *exit_status_;
}

Worker::Clock::time_point Worker::next_due() const {
  auto due = next_beat_;
  if (!expiries_.empty()) due = std::min(due, expiries_.front());
  if (dialer_ && !stop_at_) due = std::min(due, dialer_->next_due());
  if (stop_at_) due = std::min(due, *stop_at_);
  if (path_ && path_->carries()) due = std::min(due, carry_until_);
  if (!connections_.empty()) due = std::min(due, Clock::now() + deadline_interval);
  return due;
}

void Worker::sweep() {
  check_deadlines(Clock::now());
  std::erase_if(connections_, [](const auto& connection) {
    return connection->state() == ConnectionState::dead;
  });
  control_.sweep();
}

// ---- connections ----

Connection* Worker::make_connection(Fd socket, const std::string& address, int stream,
                                    ConnectionState state) {
  tune_socket(socket.get(), {spec_->sndbuf_bytes, spec_->rcvbuf_bytes, spec_->congestion});
  const std::string expected = spec_->listener ? "" : spec_->peers.front().node;
  try {
    connections_.push_back(std::make_unique<Connection>(poller_, std::move(socket), *tls_, expected,
                                                        address, state, *this));
  } catch (const std::runtime_error& error) {
    refused("", address, error.what());
    return nullptr;
  }
  connections_.back()->stream = stream;
  return connections_.back().get();
}

void Worker::refused(const std::string& peer, const std::string& address,
                     const std::string& reason) {
  const auto now = Clock::now();
  if (now - refusals_since_ >= seconds(1)) {
    refusals_since_ = now;
    refusals_this_second_ = 0;
  }
  if (++refusals_this_second_ > max_refusals_a_second) return;
  Report report;
  report.event = "refused";
  report.tunnel = spec_->tunnel;
  report.peer = peer;
  report.address = address;
  report.reason = reason;
  control_.tell(report);
}

std::size_t Worker::half_open() const {
  return static_cast<std::size_t>(
      std::ranges::count(connections_, -1, [](const auto& one) { return one->peer; }));
}

std::size_t Worker::half_open_from(const std::string& host) const {
  return static_cast<std::size_t>(std::ranges::count_if(connections_, [&](const auto& one) {
    const std::string& address = one->address();
    const auto colon = address.rfind(':');
    const bool bracketed = address.starts_with('[');
    return one->peer == -1 &&
           address.substr(bracketed, colon - 2 * static_cast<std::size_t>(bracketed)) == host;
  }));
}

void Worker::on_secured(Connection& connection) {
  if (!spec_->listener)
    connection.send(FrameType::hello, hello_text(make_hello(*spec_, connection.stream)));
}

void Worker::on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                      std::size_t size) {
  if (connection.is_live()) {
    switch (type) {
      case FrameType::data:
        path_->deliver(peers_[static_cast<std::size_t>(connection.peer)], connection.peer, payload,
                       size);
        return;
      case FrameType::ping:
        return on_ping(connection, payload);
      case FrameType::pong:
        peers_[static_cast<std::size_t>(connection.peer)].probe->answered(read_ping(payload),
                                                                          monotonic(Clock::now()));
        return;
      case FrameType::state:
        return on_state(connection, text_of(payload, size));
      case FrameType::close:
        return connection.fail("the peer closed: " + parse_close(text_of(payload, size)));
      default:
        break;
    }
  } else if (type == FrameType::hello && spec_->listener) {
    return on_hello(connection, text_of(payload, size));
  } else if (type == FrameType::config && !spec_->listener) {
    return on_config(connection, text_of(payload, size));
  } else if (type == FrameType::close) {
    return connection.fail("the peer refused: " + parse_close(text_of(payload, size)));
  }
  connection.fail("the peer broke the protocol: a frame of type " +
                  std::to_string(static_cast<int>(type)) + " out of place");
}

void Worker::on_hello(Connection& connection, std::string_view text) {
  const auto hello = parse_hello(text);
  const auto names = connection.peer_names();
  std::string reason = hello ? "" : "the HELLO cannot be read";
  if (hello) {
    const bool named = std::ranges::find(names, hello->node) != names.end();
    const std::string certified = named ? hello->node : names.empty() ? "" : names.front();
    reason = refuse_hello(*spec_, *hello, certified);
  }
  if (!reason.empty()) {
    refused(names.empty() ? "" : names.front(), connection.address(), reason);
    return connection.close(reason);
  }
  const auto found =
      std::ranges::find(peers_, hello->node, [](const Peer& peer) { return peer.spec.node; });
  connection.peer = static_cast<int>(found - peers_.begin());
  connection.stream = hello->stream;
  const Config config = make_config(*spec_, *hello);
  connection.version = config.version;
  connection.send(FrameType::config, config_text(config));
  if (connection.state() == ConnectionState::greeting) begin_stream(connection, *found);
}

void Worker::on_config(Connection& connection, std::string_view text) {
  const auto config = parse_config(text);
  if (!config || config->version < min_wire_version || config->version > wire_version) {
    const std::string reason = "the listener's CONFIG cannot be followed";
    refused(peers_.front().spec.node, connection.address(), reason);
    connection.close(reason);
    return dialer_->on_closed(connection.stream, Clock::now());
  }
  SocketTuning tuning{spec_->sndbuf_bytes, spec_->rcvbuf_bytes, spec_->congestion};
  if (tuning.sndbuf_bytes == 0) tuning.sndbuf_bytes = config->sndbuf_bytes;
  if (tuning.rcvbuf_bytes == 0) tuning.rcvbuf_bytes = config->rcvbuf_bytes;
  if (tuning.congestion == "auto") tuning.congestion = config->congestion;
  tune_socket(connection.fd(), tuning);
  connection.peer = 0;
  connection.version = config->version;
  begin_stream(connection, peers_.front());
  dialer_->on_live(connection.stream);
  announce(peers_.front());
}

void Worker::on_state(Connection& connection, std::string_view text) {
  const Peer& peer = peers_[static_cast<std::size_t>(connection.peer)];
  auto word = parse_state(text);
  if (!word) return connection.fail("the peer broke the protocol: a STATE that cannot be read");
  Report told = report("told", peer);
  told.word = std::move(*word);
  control_.tell(told);
}

void Worker::on_ping(Connection& connection, const std::uint8_t* payload) {
  connection.send(FrameType::pong, text_of(payload, ping_bytes));
  if (connection.is_live()) announce(peers_[static_cast<std::size_t>(connection.peer)]);
}

// ---- sessions ----

Report Worker::report(const std::string& event, const Peer& peer, const std::string& reason) const {
  Report report;
  report.event = event;
  report.tunnel = spec_->tunnel;
  report.peer = peer.spec.node;
  if (const Connection* stream = peer.live_stream()) report.address = stream->address();
  report.reason = reason;
  return report;
}

void Worker::announce(Peer& peer) {
  if (peer.announced) return;
  peer.announced = true;
  control_.tell(report("session_up", peer));
}

void Worker::begin_stream(Connection& connection, Peer& peer) {
  peer.streams.resize(static_cast<std::size_t>(spec_->streams));
  Connection*& place = peer.streams[static_cast<std::size_t>(connection.stream)];
  if (place) {
    // Its peer knows better than we do that the old one is dead.
    let_go(*place, "replaced by a new connection from " + connection.address());
  }
  const auto now = Clock::now();
  if (!peer.live_stream()) {
    peer.probe.emplace(monotonic(now));
    peer.counters = {};
    peer.announced = false;
  }
  place = &connection;
  connection.go_live();
  path_->sessions_changed();
  // The first PING goes out at once: the peer's routes wait for the answers.
  next_beat_ = std::min(next_beat_, now);
}

/// Takes the connection out of its session; the last one ends the session.
void Worker::end_stream(Connection& connection, const std::string& reason) {
  Peer& peer = peers_[static_cast<std::size_t>(connection.peer)];
  auto& place = peer.streams[static_cast<std::size_t>(connection.stream)];
  if (place != &connection) return;
  place = nullptr;
  path_->sessions_changed();
  if (peer.live_stream()) return;
  peer.probe.reset();
  if (std::exchange(peer.announced, false)) control_.tell(report("session_down", peer, reason));
}

/// Our own decision to close, which on_closed() does not hear of.
void Worker::let_go(Connection& connection, const std::string& reason) {
  if (connection.peer >= 0) end_stream(connection, reason);
  connection.close(reason);
}

void Worker::on_closed(Connection& connection, const std::string& reason) {
  if (connection.peer >= 0)
    end_stream(connection, reason);
  else
    refused(spec_->listener ? "" : spec_->peers.front().node, connection.address(), reason);
  if (dialer_) dialer_->on_closed(connection.stream, Clock::now());
}

// ---- time ----

/// One beat an interval: PINGs out, lost ones counted, and the daemon told that we live.
void Worker::beat(Clock::time_point now) {
  if (!spec_) {
    next_beat_ = now + idle_interval;
    if (now - started_ > start_limit) exit_status_ = 1;
    return;
  }
  next_beat_ = now + milliseconds(spec_->interval_ms);
  for (Peer& peer : peers_) {
    Connection* stream = peer.live_stream();
    if (!stream) continue;
    std::uint8_t payload[ping_bytes];
    write_ping(payload, peer.probe->next(monotonic(now)));
    stream->send(FrameType::ping, text_of(payload, sizeof payload));
  }
  expiries_.push_back(now + milliseconds(spec_->timeout_ms));
  expire_pings(now);
  tell_heartbeat();
}

/// PINGs go out to all at one time, so their answers are due at one time. A loss is told at once:
/// the routes wait for it.
void Worker::expire_pings(Clock::time_point now) {
  bool any = false;
  while (!expiries_.empty() && expiries_.front() <= now) expiries_.pop_front();
  for (Peer& peer : peers_)
    if (peer.probe && peer.probe->expire(monotonic(now), milliseconds(spec_->timeout_ms)))
      any = true;
  if (any) tell_heartbeat();
}

void Worker::tell_heartbeat() {
  Report heartbeat = hello();
  heartbeat.event = "heartbeat";
  for (Peer& peer : peers_) {
    const Connection* stream = peer.live_stream();
    if (!stream || !peer.announced || !peer.probe) continue;
    heartbeat.sessions.push_back({peer.spec.node, stream->address(), peer.probe->rtt_us(),
                                  peer.probe->take_decisions(), peer.counters.tx_bytes,
                                  peer.counters.rx_bytes, peer.counters.tx_packets,
                                  peer.counters.rx_packets});
  }
  heartbeat.dropped = path_->drops().by_name();
  control_.tell(heartbeat);
}

void Worker::check_deadlines(Clock::time_point now) {
  for (const auto& connection : connections_) {
    const auto age = now - connection->since();
    switch (connection->state()) {
      case ConnectionState::connecting:
      case ConnectionState::handshaking:
      case ConnectionState::greeting:
        if (age > greeting_limit) connection->fail("no greeting within 5 seconds");
        break;
      case ConnectionState::live: {
        const auto& probe = peers_[static_cast<std::size_t>(connection->peer)].probe;
        if (probe && monotonic(now) - probe->last_answer() > silence_limit)
          connection->fail("no answer to PINGs for 10 seconds");
        break;
      }
      case ConnectionState::closing:
        if (age > closing_limit) connection->abandon();
        break;
      case ConnectionState::dead:
        break;
    }
  }
}

}  // namespace tunorch::worker
