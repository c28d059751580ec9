#include "worker/worker.hpp"

#include <algorithm>
#include <stdexcept>

#include "worker/outer_socket.hpp"
#include "worker/tun.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// From the first SYN or accept to a finished greeting, in each state on the way.
constexpr seconds greeting_limit{5};
/// Last words and the peer's farewell.
constexpr seconds closing_limit{1};
/// PINGs lost in a row before a stream is given up whose sisters answer.
constexpr int max_lost_in_row = 3;
/// Without an announced session nothing collects them.
constexpr std::size_t max_decisions = 64;
/// It exits if no spec arrives.
constexpr seconds start_limit{30};
constexpr milliseconds deadline_interval{250};
constexpr milliseconds idle_interval{1000};
/// Strangers' refusals are rate limit: strangers must not be able to fill the log.
constexpr int max_refusals_a_second = 10;

std::string_view text_of(const std::uint8_t* payload, std::size_t size) {
  return {reinterpret_cast<const char*>(payload), size};
}

/// Of "1.2.3.4:5" and "[::1]:5".
std::string_view host_part(std::string_view address) {
  const bool bracketed = address.starts_with('[');
  return address.substr(bracketed, address.rfind(':') - 2 * static_cast<std::size_t>(bracketed));
}

}  // namespace

Worker::Worker(Fd control_socket) : control_(poller_, std::move(control_socket), *this) {}

Worker::~Worker() {
  for (const auto& lane : lanes_) lane->stop();
}

int Worker::run() {
  while (!exit_status_) {
    const bool more = std::ranges::any_of(
        connections_, [](const auto& connection) { return connection->has_more(); });
    poller_.wait(more ? nanoseconds(0) : std::max(nanoseconds(0), next_due() - Clock::now()));
    for (std::size_t i = 0; i < connections_.size(); ++i)
      if (connections_[i]->has_more()) connections_[i]->read();
    const auto now = Clock::now();
    hand_over();
    if (now >= next_beat_) beat(now);
    if (dialer_ && !stop_at_) dialer_->dial(now);
    check_deadlines(now);
    control_.sweep();
    if (stop_at_ && (now >= *stop_at_ || (connections_.empty() && !lanes_busy()))) exit_status_ = 0;
  }
  return *exit_status_;
}

Worker::Clock::time_point Worker::next_due() const {
  auto due = next_beat_;
  if (dialer_ && !stop_at_) due = std::min(due, dialer_->next_due());
  if (stop_at_) due = std::min(due, *stop_at_);
  if (!connections_.empty()) due = std::min(due, Clock::now() + deadline_interval);
  return due;
}

// ---- connections ----

void Worker::refused(const std::string& peer, const std::string& address,
                     const std::string& reason) {
  const auto now = Clock::now();
  if (now - refusals_since_ >= seconds(1)) {
    refusals_since_ = now;
    refusals_this_second_ = 0;
  }
  if (++refusals_this_second_ > max_refusals_a_second) return;
  Report report;
  report.event = ReportKind::refused;
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
    return one->peer == -1 && host_part(one->address()) == host;
  }));
}

void Worker::end_oldest_half_open(const std::string& host) {
  std::map<std::string_view, std::size_t> counts;
  for (const auto& one : connections_)
    if (one->peer == -1) ++counts[host_part(one->address())];
  const auto most = std::ranges::max_element(counts, {}, &decltype(counts)::value_type::second);
  if (most == counts.end()) return;
  const auto oldest = std::ranges::find_if(connections_, [&](const auto& one) {
    const std::string_view from = host_part(one->address());
    return one->peer == -1 && (host.empty() ? counts[from] == most->second : from == host);
  });
  if (oldest == connections_.end()) return;
  refused("", (*oldest)->address(), "too many handshakes under way: the oldest has to go");
  connections_.erase(oldest);
}

void Worker::on_secured(Connection& connection) {
  if (!spec_->listener)
    connection.send(FrameType::hello,
                    hello_text(make_hello(*spec_, connection.stream, wanted_offloads_)));
}

void Worker::on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                      std::size_t size) {
  if (type == FrameType::hello && spec_->listener)
    on_hello(connection, text_of(payload, size));
  else if (type == FrameType::config && !spec_->listener)
    on_config(connection, text_of(payload, size));
  else if (type == FrameType::close)
    connection.fail("the peer refused: " + parse_close(text_of(payload, size)));
  else
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
    // The list may have come while its handshake was under way.
    if (reason.empty() && tls_ && tls_->revokes(connection.certificate()))
      reason = "its certificate is revoked";
  }
  if (!reason.empty()) {
    refused(names.empty() ? "" : names.front(), connection.address(), reason);
    return connection.close(reason);
  }
  connection.stream = hello->stream;
  const Config config = make_config(*spec_, *hello, wanted_offloads_);
  connection.version = config.version;
  connection.send(FrameType::config, config_text(config));
  greet(connection, *find_peer(hello->node), hello->streams, hello->offloads);
}

void Worker::on_config(Connection& connection, std::string_view text) {
  const auto config = parse_config(text);
  const bool revoked = tls_ && tls_->revokes(connection.certificate());
  if (revoked || !config || config->version < min_wire_version || config->version > wire_version) {
    const std::string reason =
        revoked ? "its certificate is revoked" : "the listener's CONFIG cannot be followed";
    refused(peers_.front().spec.node, connection.address(), reason);
    connection.close(reason);
    return dialer_->on_closed(connection.stream, Clock::now());
  }
  SocketOptions options = *spec_;
  if (options.sndbuf_bytes == 0) options.sndbuf_bytes = config->sndbuf_bytes;
  if (options.rcvbuf_bytes == 0) options.rcvbuf_bytes = config->rcvbuf_bytes;
  if (options.congestion == "auto") options.congestion = config->congestion;
  tune_socket(connection.fd(), options);
  connection.version = config->version;
  greet(connection, peers_.front(), spec_->streams, config->offloads);
}

/// Both ends want the session: its lane gets the connection when this turn is over.
void Worker::greet(Connection& connection, Peer& peer, int streams, const Offloads& offloads) {
  if (peer.view.streams != streams)
    for (int i = 0; i < max_streams; ++i)
      drop_stream(peer, i, "the peer has another number of streams now");
  // Its peer knows better than we do that the old one is dead.
  drop_stream(peer, connection.stream, "replaced by a new connection from " + connection.address());
  peer.view.streams = streams;
  peer.view.offloads = offloads;
  connection.peer = number_of(peer);
  connection.serial = ++last_serial_;
  PeerStream fresh;
  fresh.serial = connection.serial;
  fresh.version = connection.version;
  fresh.address = connection.address();
  fresh.certificate = connection.certificate();
  fresh.socket = read_socket(connection.fd());
  peer.streams[static_cast<std::size_t>(connection.stream)] = fresh;
  connection.greeted();
}

void Worker::hand_over() {
  for (auto& connection : connections_) {
    if (connection->state() != ConnectionState::greeted) continue;
    Lane& lane = lane_of(connection->stream);
    lane.adopt(std::move(connection));
  }
  std::erase(connections_, nullptr);
}

void Worker::on_closed(Connection& connection, const std::string& reason) {
  refused(spec_->listener ? "" : spec_->peers.front().node, connection.address(), reason);
  if (connection.peer >= 0)
    if (PeerStream* stream = find_stream({connection.peer, connection.stream, connection.serial}))
      *stream = {};
  if (dialer_) dialer_->on_closed(connection.stream, Clock::now());
}

// ---- sessions ----

Lane& Worker::lane_of(int stream) {
  return *lanes_[static_cast<std::size_t>(stream) % lanes_.size()];
}

Peer* Worker::find_peer(const std::string& node) {
  const auto found =
      std::ranges::find(peers_, node, [](const Peer& peer) { return peer.spec.node; });
  return found == peers_.end() ? nullptr : &*found;
}

/// Null if the stream of that number is another one by now.
PeerStream* Worker::find_stream(const StreamId& id) {
  PeerStream& stream = peer_of(id).streams[static_cast<std::size_t>(id.stream)];
  return stream.serial == id.serial ? &stream : nullptr;
}

std::size_t Worker::sessions() const {
  return static_cast<std::size_t>(std::ranges::count_if(peers_, &Peer::has_session));
}

bool Worker::lanes_busy() const {
  return std::ranges::any_of(lanes_, [](const auto& lane) { return lane->busy(); });
}

Report Worker::report(ReportKind event, const Peer& peer, const std::string& reason) const {
  Report report;
  report.event = event;
  report.tunnel = spec_->tunnel;
  report.peer = peer.spec.node;
  if (peer.has_session()) {
    report.address = peer.first_live().address;
    report.socket = peer.first_live().socket;
  }
  report.reason = reason;
  return report;
}

void Worker::announce(Peer& peer) {
  if (peer.announced || !peer.has_session()) return;
  peer.announced = true;
  control_.tell(report(ReportKind::session_up, peer));
}

/// All lanes learn which streams of the session live.
void Worker::publish(Peer& peer) {
  peer.view.live = 0;
  for (std::size_t i = 0; i < peer.streams.size(); ++i)
    if (peer.streams[i].live) peer.view.live |= static_cast<std::uint16_t>(1u << i);
  const std::size_t count = sessions();
  agree_on_offloads();
  for (const auto& lane : lanes_) lane->set_session(number_of(peer), peer.view, count);
  if (carrier_ == (count > 0)) return;
  carrier_ = !carrier_;
  tun::set_carrier(queues_.front().get(), carrier_);
}

/// The kernel hands over only what all peers take: there is one device for them.
void Worker::agree_on_offloads() {
  Offloads all = wanted_offloads_;
  for (const Peer& peer : peers_)
    if (peer.has_session()) all = all & peer.view.offloads;
  if (all == offloads_) return;
  offloads_ = all;
  tun::set_offloads(queues_.front().get(), offloads_);
}

void Worker::publish_rules() {
  auto rules = std::make_shared<PathRules>();
  rules->listener = spec_->listener;
  rules->isolate = spec_->isolate;
  rules->coalesces_udp = wanted_offloads_.uso;
  rules->drops_late = !postgres_;
  for (const Peer& peer : peers_)
    if (peer.wanted)
      for (const std::string& prefix : peer.spec.prefixes)
        rules->table.add(prefix, number_of(peer));
  for (const auto& lane : lanes_) lane->set_rules(rules);
}

void Worker::on_stream_up(StreamId id) {
  PeerStream* stream = find_stream(id);
  if (!stream) return;
  Peer& peer = peer_of(id);
  const bool first = !peer.has_session();
  stream->live = true;
  if (first) {
    peer.ended = {};
    peer.decisions.clear();
    peer.announced = false;
  }
  publish(peer);
  if (dialer_) {
    dialer_->on_live(id.stream);
    announce(peer);
  }
  if (!first) {
    Report up = report(ReportKind::stream_up, peer);
    up.stream = id.stream;
    up.address = stream->address;
    control_.tell(up);
  }
  // The first PING goes out at once: the peer's routes wait for the answers.
  next_beat_ = std::min(next_beat_, Clock::now());
}

void Worker::on_stream_down(StreamId id, const Counters& last, const std::string& reason) {
  if (!find_stream(id)) return;
  end_stream(peer_of(id), id.stream, last, reason);
  if (dialer_) dialer_->on_closed(id.stream, Clock::now());
}

/// Ends it by our own decision. A dialer dials again only after on_closed().
void Worker::drop_stream(Peer& peer, int number, const std::string& reason) {
  const PeerStream& stream = peer.streams[static_cast<std::size_t>(number)];
  if (stream.serial == 0) return;
  // Greeted in this very turn, it is not its lane's yet.
  const auto waiting =
      std::ranges::find(connections_, stream.serial, [](const auto& one) { return one->serial; });
  if (waiting != connections_.end())
    (*waiting)->close(reason);
  else
    lane_of(number).close({number_of(peer), number, stream.serial}, reason);
  end_stream(peer, number, stream.counters, reason);
}

/// Takes the stream out of its session; the last one ends the session.
void Worker::end_stream(Peer& peer, int number, const Counters& last, const std::string& reason) {
  PeerStream& stream = peer.streams[static_cast<std::size_t>(number)];
  const bool lived = stream.live;
  const std::string address = stream.address;
  stream = {};
  if (!lived) return;
  peer.ended += last;
  Report down = report(ReportKind::stream_down, peer, reason);
  publish(peer);
  if (!peer.has_session()) {
    if (!std::exchange(peer.announced, false)) return;
    down = report(ReportKind::session_down, peer, reason);
  }
  down.stream = number;
  down.address = address;
  control_.tell(down);
}

void Worker::on_first_ping(StreamId id) {
  if (find_stream(id)) announce(peer_of(id));
}

void Worker::on_state(StreamId id, const std::string& text) {
  PeerStream* stream = find_stream(id);
  if (!stream) return;
  auto word = parse_state(text);
  if (!word) {
    const std::string reason = "the peer broke the protocol: a STATE that cannot be read";
    drop_stream(peer_of(id), id.stream, reason);
    if (dialer_) dialer_->on_closed(id.stream, Clock::now());
    return;
  }
  Report told = report(ReportKind::told, peer_of(id));
  told.word = std::move(*word);
  control_.tell(told);
}

// ---- time ----

/// Once per interval: sends PINGs, and a heartbeat to the daemon.
void Worker::beat(Clock::time_point now) {
  if (!spec_) {
    next_beat_ = now + idle_interval;
    if (now - started_ > start_limit) exit_status_ = 1;
    return;
  }
  next_beat_ = now + milliseconds(spec_->interval_ms);
  for (const auto& lane : lanes_) lane->ping(milliseconds(spec_->timeout_ms));
  gather();
}

void Worker::on_lost_pings() {
  if (reports_due_ > 0)
    gather_again_ = true;
  else
    gather();
}

/// Asks the lanes; the heartbeat goes out when the last has answered. A lane that hangs keeps it
/// back, and the daemon sees a worker that hangs.
void Worker::gather() {
  if (reports_due_ > 0) return;
  gather_again_ = false;
  reports_due_ = static_cast<int>(lanes_.size());
  drops_ = {};
  waiting_bytes_ = 0;
  for (const auto& lane : lanes_) lane->report();
}

void Worker::on_report(const LaneReport& report) {
  drops_ += report.drops;
  waiting_bytes_ += report.waiting_bytes;
  for (const StreamReport& one : report.streams) {
    PeerStream* stream = find_stream(one.id);
    if (!stream) continue;
    stream->rtt_us = one.rtt_us;
    stream->counters = one.counters;
    stream->cwnd_segments = one.cwnd_segments;
    stream->queued_bytes = one.queued_bytes;
    for (const bool answered : one.decisions)
      stream->lost_in_row = answered ? 0 : stream->lost_in_row + 1;
    stream->decisions = one.decisions;
  }
  if (--reports_due_ == 0) gathered();
}

void Worker::gathered() {
  for (Peer& peer : peers_) {
    if (!peer.has_session()) continue;
    std::vector<bool> decisions;
    for (PeerStream& stream : peer.streams)
      decisions = merge_decisions(decisions, std::exchange(stream.decisions, {}));
    peer.decisions.insert(peer.decisions.end(), decisions.begin(), decisions.end());
    if (peer.decisions.size() > max_decisions)
      peer.decisions.erase(peer.decisions.begin(), peer.decisions.end() - max_decisions);
    give_up_silent_streams(peer);
  }
  tell_heartbeat();
  if (gather_again_) gather();
}

/// A stream whose path is dead looks alive to TCP for long; its sisters show that the peer lives.
void Worker::give_up_silent_streams(Peer& peer) {
  const bool any_answers = std::ranges::any_of(
      peer.streams, [](const auto& one) { return one.live && one.lost_in_row == 0; });
  if (!any_answers) return;
  for (int i = 0; i < max_streams; ++i) {
    const PeerStream& stream = peer.streams[static_cast<std::size_t>(i)];
    if (!stream.live || stream.lost_in_row < max_lost_in_row) continue;
    drop_stream(peer, i, "no answer to PINGs, while other streams answer");
    if (dialer_) dialer_->on_closed(i, Clock::now());
  }
}

void Worker::tell_heartbeat() {
  Report heartbeat = hello();
  heartbeat.event = ReportKind::heartbeat;
  for (Peer& peer : peers_) {
    if (peer.has_session() && peer.announced) heartbeat.sessions.push_back(peer.take_report());
  }
  heartbeat.waiting_bytes = waiting_bytes_;
  heartbeat.dropped = drops_.by_name();
  control_.tell(heartbeat);
}

void Worker::check_deadlines(Clock::time_point now) {
  for (const auto& connection : connections_) {
    const auto age = now - connection->since();
    if (connection->state() == ConnectionState::closing) {
      if (age > closing_limit) connection->abandon();
    } else if (connection->state() != ConnectionState::dead && age > greeting_limit) {
      connection->fail(
          std::string("no greeting within 5 seconds") +
          (postgres_ ? ": the other end has to serve this tunnel by the same tables" : ""));
    }
  }
  std::erase_if(connections_, [](const auto& connection) {
    return connection->state() == ConnectionState::dead;
  });
}

}  // namespace tunorch::worker
