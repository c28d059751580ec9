#include "worker/lane.hpp"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <string_view>

#include "worker/outer_socket.hpp"

namespace tunorch::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// Holds a batch and the frame that overflows it, or many records and what is left of a frame.
constexpr std::size_t block_bytes = 192 * 1024;
/// Last words and the peer's farewell.
constexpr seconds closing_limit{1};
/// A stream without an answered PING is given up: TCP alone would wait a quarter of an hour.
constexpr seconds silence_limit{10};
/// An unused stream moves little more than PINGs between two of them.
constexpr std::uint64_t idle_bytes = 4096;
/// More wake-ups than that are spaced out, as network cards do with their interrupts: each then
/// moves several packets, and waking the next in line costs less than what it is woken for. A turn
/// a round trip of 125 us is not touched.
constexpr int quick_turns_a_millisecond = 8;
constexpr std::chrono::microseconds rest_time{100};
/// STATEs of one stream under way to the worker. A daemon says a few in a row.
constexpr int max_states_waiting = 256;
/// How often deadlines are looked at, and how soon after a stream ended.
constexpr milliseconds sweep_interval{250}, closing_interval{10};

nanoseconds monotonic(Lane::Clock::time_point now) {
  return now.time_since_epoch();
}

}  // namespace

Lane::Lane(int number, const Fd& queue, const std::vector<std::unique_ptr<Lane>>& lanes,
           Mailbox& worker, Owner& owner)
    : number_(number),
      lanes_(lanes),
      worker_(worker),
      owner_(owner),
      mailbox_(poller_),
      relay_(
          poller_, [this] { path_.take_relayed(); },
          [this](int from) {
            Lane& lane = *lanes_[static_cast<std::size_t>(from)];
            lane.mailbox_.post([&lane] { lane.path_.resume(); });
          }),
      pool_(block_bytes),
      path_(poller_, number, queue, relays_) {}

Lane::~Lane() {
  stop();
}

void Lane::stop() {
  if (!thread_.joinable()) return;
  mailbox_.post([this] { stopping_ = true; });
  thread_.join();
}

void Lane::start() {
  for (const auto& lane : lanes_) relays_.push_back(&lane->relay_);
  thread_ = std::thread([this] { run(); });
}

// ---- from the worker's thread ----

void Lane::set_rules(std::shared_ptr<const PathRules> rules) {
  mailbox_.post([this, rules = std::move(rules)] { path_.set_rules(rules); });
}

void Lane::set_session(int peer, const SessionView& view, std::size_t sessions) {
  mailbox_.post([this, peer, view, sessions] { path_.set_session(peer, view, sessions); });
}

void Lane::adopt(std::unique_ptr<Connection> connection) {
  ++connections_left_;
  connection->detach();
  // std::function must be copyable, and unique_ptr is not.
  mailbox_.post([this, brought = std::make_shared<std::unique_ptr<Connection>>(
                           std::move(connection))] { serve(std::move(*brought)); });
}

void Lane::send(StreamId id, FrameType type, std::string text) {
  mailbox_.post([this, id, type, text = std::move(text)] {
    if (Stream* stream = find(id)) stream->connection->send(type, text);
  });
}

void Lane::close(StreamId id, std::string reason) {
  mailbox_.post([this, id, reason = std::move(reason)] {
    if (Stream* stream = find(id)) let_go(*stream, reason);
  });
}

void Lane::close_all(std::string reason) {
  mailbox_.post([this, reason = std::move(reason)] {
    for (const auto& stream : streams_) let_go(*stream, reason);
  });
}

void Lane::ping(milliseconds timeout) {
  mailbox_.post([this, timeout] { ping_all(timeout); });
}

void Lane::report() {
  mailbox_.post([this] { make_report(); });
}

void Lane::carry(Fd queue, milliseconds limit) {
  mailbox_.post([this, limit, brought = std::make_shared<Fd>(std::move(queue))] {
    if (path_.carries()) finish_carrying();
    path_.carry(std::move(*brought));
    carry_until_ = Clock::now() + limit;
  });
}

// ---- its thread ----

void Lane::run() {
  // By itself: another's name is a file in /proc, which a worker may not open.
  ::prctl(PR_SET_NAME, ("stream " + std::to_string(number_)).c_str());
  ::prctl(PR_SET_TIMERSLACK, 1000UL);  // nanoseconds: a rest is to be as long as it says
  while (!stopping_) {
    const bool more = std::ranges::any_of(
        streams_, [](const auto& stream) { return stream->connection->has_more(); });
    poller_.wait(more ? nanoseconds(0) : std::max(nanoseconds(0), next_due() - Clock::now()));
    for (std::size_t i = 0; more && i < streams_.size(); ++i)
      if (streams_[i]->connection->has_more()) streams_[i]->connection->read();
    const auto now = Clock::now();
    if (!more) rest(now);
    if (!expiries_.empty() && now >= expiries_.front()) expire_pings(now);
    if (now >= carry_until_) finish_carrying();
    if (now >= path_.patience_ends()) path_.lose_patience();
    if (now >= next_sweep_) sweep(now);
    if (path_.device_gone() && !std::exchange(device_gone_told_, true))
      tell([](Owner& owner) { owner.on_device_gone(); });
  }
}

void Lane::rest(Clock::time_point now) {
  if (now - window_ >= milliseconds(1)) {
    wakes_often_ = turns_ > quick_turns_a_millisecond;
    window_ = now;
    turns_ = 0;
  }
  if (++turns_ > quick_turns_a_millisecond || wakes_often_) std::this_thread::sleep_for(rest_time);
}

Lane::Clock::time_point Lane::next_due() const {
  auto due =
      std::min({carry_until_, next_sweep_, path_.patience_ends(), Clock::now() + seconds(1)});
  if (!expiries_.empty()) due = std::min(due, expiries_.front());
  return due;
}

void Lane::serve(std::unique_ptr<Connection> connection) {
  streams_.push_back(
      std::make_unique<Stream>(Stream{std::move(connection), Probe(monotonic(Clock::now()))}));
  Stream& stream = *streams_.back();
  path_.attach(stream);
  next_sweep_ = std::min(next_sweep_, Clock::now() + sweep_interval);
  tell([id = stream.id()](Owner& owner) { owner.on_stream_up(id); });
  stream.connection->go_live(poller_, pool_, *this);
}

Stream* Lane::find(const StreamId& id) {
  Stream* stream = path_.stream(id.peer, id.stream);
  return stream && stream->connection->serial == id.serial ? stream : nullptr;
}

Stream& Lane::stream_of(const Connection& connection) {
  return *path_.stream(connection.peer, connection.stream);
}

void Lane::on_frame(Connection& connection, FrameType type, std::uint8_t* payload,
                    std::size_t size) {
  Stream& stream = stream_of(connection);
  const std::string_view text{reinterpret_cast<const char*>(payload), size};
  switch (type) {
    case FrameType::data:
      if (stream.lateness.late()) return path_.drop_late();
      return path_.deliver(stream, payload, size);
    case FrameType::ping:
      return on_ping(stream, payload);
    case FrameType::pong:
      return stream.probe.answered(read_ping(payload), monotonic(Clock::now()));
    case FrameType::state:
      return on_state(stream, text);
    case FrameType::close:
      return connection.fail("the peer closed: " + parse_close(text));
    default:
      connection.fail("the peer broke the protocol: a frame of type " +
                      std::to_string(static_cast<int>(type)) + " out of place");
  }
}

void Lane::on_ping(Stream& stream, const std::uint8_t* payload) {
  stream.lateness.pinged(read_ping(payload).clock_ns, monotonic(Clock::now()));
  stream.connection->send(FrameType::pong, {reinterpret_cast<const char*>(payload), ping_bytes});
  if (!std::exchange(stream.heard, true))
    tell([id = stream.id()](Owner& owner) { owner.on_first_ping(id); });
}

/// The worker reads them more slowly than they can come in, and they would wait in memory.
void Lane::on_state(Stream& stream, std::string_view text) {
  if (++stream.states > max_states_waiting)
    return stream.connection->fail("the peer broke the protocol: STATEs faster than one can read");
  worker_.post([this, id = stream.id(), text = std::string(text)] {
    owner_.on_state(id, text);
    mailbox_.post([this, id] {
      if (Stream* read = find(id)) --read->states;
    });
  });
}

/// Our own decision, which on_closed() does not hear of.
void Lane::let_go(Stream& stream, const std::string& reason) {
  path_.detach(stream);
  stream.connection->close(reason);
  next_sweep_ = Clock::now();
}

void Lane::on_closed(Connection& connection, const std::string& reason) {
  Stream& stream = stream_of(connection);
  path_.detach(stream);
  next_sweep_ = Clock::now();
  tell([id = stream.id(), last = stream.counters, reason](Owner& owner) {
    owner.on_stream_down(id, last, reason);
  });
}

// ---- time ----

void Lane::ping_all(milliseconds timeout) {
  timeout_ = timeout;
  const auto now = Clock::now();
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    Stream& stream = *streams_[i];
    if (!stream.connection->is_live()) continue;
    if (path_.drops_late()) watch_silence(stream, now);
    stream.connection->set_lean(stream.connection->take_moved() < idle_bytes);
    keep_queues_short(stream, now);
    const std::uint32_t delivered = delivered_segments(stream.connection->fd());
    if (std::exchange(stream.delivered, delivered) != delivered) stream.last_delivered = now;
    std::uint8_t payload[ping_bytes];
    write_ping(payload, stream.probe.next(monotonic(now), delivered));
    stream.connection->send(FrameType::ping,
                            {reinterpret_cast<const char*>(payload), sizeof payload});
  }
  expiries_.push_back(now + timeout);
  beats_apart_ = now - std::exchange(last_beat_, now);
}

/// Looked at with each beat.
void Lane::watch_silence(Stream& stream, Clock::time_point now) {
  if (stream.connection->take_heard())
    stream.last_heard = now;
  else if (now - stream.last_heard >
           std::max<nanoseconds>(stream.lateness.patience(), 2 * (now - last_beat_)))
    stream.lateness.fell_silent();
}

/// The socket takes our PINGs also while the path is dark: what counts is what the peer's TCP has.
void Lane::on_progress(Connection& connection) {
  if (!path_.drops_late()) return;
  const auto stalled = Clock::now() - stream_of(connection).last_delivered;
  if (stalled > Lateness::patience(beats_apart_)) path_.drop_late_waiting();
}

void Lane::keep_queues_short(Stream& stream, Clock::time_point now) {
  const int fd = stream.connection->fd();
  const auto path = read_path(fd);
  if (!path) return;
  control_bbr(fd, stream.bbr.next(now, *path));
  stream.connection->set_unsent_limit(unsent_limit(path->bandwidth));
}

/// PINGs go out to all at one time, so their answers are due at one time. A loss is reported at
/// once: the routes wait for it.
void Lane::expire_pings(Clock::time_point now) {
  bool any = false;
  while (!expiries_.empty() && expiries_.front() <= now) expiries_.pop_front();
  for (const auto& stream : streams_)
    if (stream->connection->is_live() &&
        stream->probe.expire(monotonic(now), timeout_,
                             delivered_segments(stream->connection->fd())))
      any = true;
  if (any) tell([](Owner& owner) { owner.on_lost_pings(); });
}

void Lane::make_report() {
  LaneReport report;
  for (const auto& stream : streams_) {
    if (!stream->connection->is_live()) continue;
    const TcpState tcp = read_tcp(stream->connection->fd());
    stream->counters.retransmits = tcp.retransmits;
    report.streams.push_back({stream->id(), stream->probe.rtt_us(), stream->probe.take_decisions(),
                              stream->counters, tcp.cwnd_segments,
                              stream->connection->queued_bytes()});
  }
  report.drops = path_.drops();
  report.waiting_bytes = path_.waiting_bytes();
  tell([report = std::move(report)](Owner& owner) { owner.on_report(report); });
}

void Lane::finish_carrying() {
  carry_until_ = Clock::time_point::max();
  const auto carried = path_.finish_carrying();
  tell([carried](Owner& owner) { owner.on_carried(carried); });
}

void Lane::sweep(Clock::time_point now) {
  bool closing = false;
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    Stream& stream = *streams_[i];
    Connection& connection = *stream.connection;
    if (connection.is_live() && monotonic(now) - stream.probe.last_answer() > silence_limit)
      connection.fail("no answer to PINGs for 10 seconds");
    if (connection.state() == ConnectionState::closing && now - connection.since() > closing_limit)
      connection.abandon();
    closing = closing || connection.state() == ConnectionState::closing;
  }
  const std::size_t gone = std::erase_if(streams_, [](const auto& stream) {
    return stream->connection->state() == ConnectionState::dead;
  });
  next_sweep_ = streams_.empty() ? Clock::time_point::max()
                                 : now + (closing ? closing_interval : sweep_interval);
  if (gone == 0) return;
  connections_left_ -= gone;
  tell([](Owner&) {});  // it may wait for the last of them
}

}  // namespace tunorch::worker
