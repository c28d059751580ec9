#include "worker/data_path.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "worker/flow_hash.hpp"
#include "worker/lateness.hpp"
#include "worker/packet.hpp"
#include "worker/vnet_header.hpp"

namespace tunorch::worker {
namespace {

/// Reads of the TUN before others have their turn. At full GSO size this is 4 MiB.
constexpr int reads_a_turn = 64;
/// Turns at what is stranded in another's queue, which holds 500 packets, before others have
/// theirs.
constexpr int most_carried_turns = 16;
/// Streams with something queued before all are sent: each holds a block of memory until then.
constexpr std::size_t max_touched = 8;
/// What waits in a lane at most.
constexpr std::size_t max_waiting_bytes = 2 * 1024 * 1024;
/// A kernel queue that has not been empty this long is standing; what empties sooner is only
/// a burst, and costs no copy.
constexpr std::chrono::milliseconds patience{5};

/// The stream a flow has; where that one is dead, one of the living, and always the same one.
/// Nothing where all are dead.
std::optional<int> choose_stream(const SessionView& view, std::uint32_t hash) {
  if (view.live == 0) return std::nullopt;
  const auto streams = static_cast<std::uint32_t>(view.streams);
  const std::uint32_t own = hash % streams;
  if (view.live >> own & 1u) return static_cast<int>(own);
  std::uint32_t skip = hash / streams % static_cast<std::uint32_t>(std::popcount(view.live));
  std::uint32_t rest = view.live;
  for (; skip > 0; --skip) rest &= rest - 1;
  return std::countr_zero(rest);
}

}  // namespace

Drops& Drops::operator+=(const Drops& other) {
  malformed += other.malformed;
  source += other.source;
  isolated += other.isolated;
  refused += other.refused;
  late += other.late;
  multicast += other.multicast;
  no_peer += other.no_peer;
  no_session += other.no_session;
  backlog += other.backlog;
  unable += other.unable;
  return *this;
}

std::map<std::string, std::uint64_t> Drops::by_name() const {
  std::map<std::string, std::uint64_t> named;
  const auto add = [&](const char* name, std::uint64_t count) {
    if (count > 0) named[name] = count;
  };
  add("malformed", malformed);
  add("source", source);
  add("isolated", isolated);
  add("refused", refused);
  add("late", late);
  add("multicast", multicast);
  add("no_peer", no_peer);
  add("no_session", no_session);
  add("backlog", backlog);
  add("unable", unable);
  return named;
}

DataPath::DataPath(Poller& poller, int lane, const Fd& queue, const std::vector<Relay*>& relays)
    : poller_(poller),
      lane_(lane),
      relays_(relays),
      queue_(*this, queue.get(), true),
      scrap_(max_data_bytes),
      waiting_(max_waiting_bytes) {
  touched_.reserve(max_touched);
  poller_.add(queue_.fd, EPOLLIN, queue_);
}

DataPath::~DataPath() {
  poller_.remove(queue_.fd);
  if (carried_queue_) poller_.remove(carried_queue_->fd);
}

// ---- sessions ----

void DataPath::set_session(int peer, const SessionView& view, std::size_t sessions) {
  const auto number = static_cast<std::size_t>(peer);
  if (peers_.size() <= number) peers_.resize(number + 1);
  PathPeer& place = peers_[number];
  place.view = view;
  // Of its own streams a lane knows better than whoever wrote this.
  for (int i = lane_; i < max_streams; i += static_cast<int>(relays_.size())) {
    const auto bit = static_cast<std::uint16_t>(1u << i);
    const bool live = place.streams[static_cast<std::size_t>(i)] != nullptr;
    place.view.live =
        static_cast<std::uint16_t>(live ? place.view.live | bit : place.view.live & ~bit);
  }
  sessions_ = sessions;
  resume();
}

void DataPath::attach(Stream& stream) {
  const StreamId id = stream.id();
  const auto number = static_cast<std::size_t>(id.peer);
  if (peers_.size() <= number) peers_.resize(number + 1);
  peers_[number].streams[static_cast<std::size_t>(id.stream)] = &stream;
}

void DataPath::detach(const Stream& stream) {
  const StreamId id = stream.id();
  PathPeer& peer = peers_[static_cast<std::size_t>(id.peer)];
  auto& place = peer.streams[static_cast<std::size_t>(id.stream)];
  if (place != &stream) return;
  place = nullptr;
  peer.view.live = static_cast<std::uint16_t>(peer.view.live & ~(1u << id.stream));
  last_ = nullptr;
  std::erase(touched_, &stream);
  resume();
}

Stream* DataPath::stream(int peer, int number) {
  const auto index = static_cast<std::size_t>(peer);
  return index < peers_.size() ? peers_[index].streams[static_cast<std::size_t>(number)] : nullptr;
}

Stream* DataPath::any_stream() const {
  for (const PathPeer& peer : peers_)
    for (Stream* stream : peer.streams)
      if (stream) return stream;
  return nullptr;
}

// ---- from the kernel ----

void DataPath::pause() {
  paused_ = true;
  if (patient_ && patience_ends_ == Clock::time_point::max())
    patience_ends_ = Clock::now() + patience;
  watch_queues(0);
}

void DataPath::resume() {
  if (paused_) {
    paused_ = false;
    watch_queues(EPOLLIN);
  }
  if (draining_)
    room_again_ = true;
  else if (waits())
    drain(queue_);
  if (std::exchange(relay_waits_, false)) take_relayed();
}

/// Its sender has retransmitted by now.
void DataPath::drop_late_waiting() {
  const auto before = Clock::now() - Lateness::limit;
  if (!held_.empty() && held_since_ < before) {
    held_.clear();
    ++drops_.late;
  }
  drops_.late += waiting_.drop_older(before);
}

void DataPath::lose_patience() {
  patience_ends_ = Clock::time_point::max();
  patient_ = false;
  if (!paused_) return;
  paused_ = false;
  watch_queues(EPOLLIN);
}

void DataPath::watch_queues(std::uint32_t events) {
  poller_.modify(queue_.fd, events);
  if (carried_queue_) poller_.modify(carried_queue_->fd, events);
}

/// Nothing, and counted, where no peer gets it.
std::optional<DataPath::Way> DataPath::way_of(const std::uint8_t* payload, std::size_t size) {
  const std::uint8_t* bytes = payload + vnet_header_bytes;
  const std::size_t packet_bytes = size - vnet_header_bytes;
  const auto packet = parse_packet(bytes, packet_bytes);
  if (!packet) {
    ++drops_.malformed;
    return std::nullopt;
  }
  if (packet->destination.is_multicast()) {
    ++drops_.multicast;
    return std::nullopt;
  }
  const int owner = rules_->table.find(packet->destination);
  if (owner < 0) {
    ++drops_.no_peer;
    return std::nullopt;
  }
  if (static_cast<std::size_t>(owner) >= peers_.size()) {
    ++drops_.no_session;
    return std::nullopt;
  }
  PathPeer& peer = peers_[static_cast<std::size_t>(owner)];
  const std::uint32_t hash = peer.view.streams > 1 ? flow_hash(bytes, packet_bytes) : 0;
  const auto stream = choose_stream(peer.view, hash);
  if (!stream) {
    ++drops_.no_session;
    return std::nullopt;
  }
  if (!can_take(payload, peer.view.offloads)) {
    ++drops_.unable;
    return std::nullopt;
  }
  return Way{*stream % static_cast<int>(relays_.size()),
             peer.streams[static_cast<std::size_t>(*stream)]};
}

void DataPath::touch(Stream& stream) {
  if (std::ranges::find(touched_, &stream) != touched_.end()) return;
  if (touched_.size() == max_touched) flush_touched();
  touched_.push_back(&stream);
}

/// A flush may end its stream, and detach() takes it out of here.
void DataPath::flush_touched() {
  while (!touched_.empty()) {
    Stream* stream = touched_.back();
    touched_.pop_back();
    stream->connection->flush();
  }
}

/// Queues the payload, which lies in the stream's own buffer already where that is `landed`. False
/// where there is no room.
bool DataPath::put(Stream& to, Stream* landed, const std::uint8_t* payload, std::size_t size) {
  Connection& connection = *to.connection;
  if (&to == landed)
    connection.commit(size);
  else if (!connection.append_data(payload, size))
    return false;
  last_ = &to;
  ++to.counters.tx_packets;
  to.counters.tx_bytes += size - vnet_header_bytes;
  if (connection.batch_is_full())
    connection.flush();
  else
    touch(to);
  return true;
}

/// With one session a packet that finds no room is to wait (ADR 18); with several it is dropped,
/// and the others go on (ADR 7).
DataPath::Sent DataPath::route(const std::uint8_t* payload, std::size_t size, Stream* landed) {
  const auto way = way_of(payload, size);
  if (!way) return Sent::dropped;
  const bool sent = way->lane == lane_
                        ? put(*way->stream, landed, payload, size)
                        : relays_[static_cast<std::size_t>(way->lane)]->push(lane_, payload, size);
  if (sent) return Sent::yes;
  if (sessions_ <= 1) return Sent::no_room;
  ++drops_.backlog;
  return Sent::dropped;
}

/// False if there is not enough room.
bool DataPath::send_waiting() {
  for (;;) {
    if (held_.empty()) {
      if (waiting_.empty()) return true;
      auto packet = waiting_.pop();
      held_ = std::move(packet.bytes);
      held_since_ = packet.since;
    }
    if (route(held_.data(), held_.size(), nullptr) == Sent::no_room) return false;
    held_.clear();
  }
}

void DataPath::wait(const std::uint8_t* payload, std::size_t size) {
  const std::uint32_t flow = flow_hash(payload + vnet_header_bytes, size - vnet_header_bytes);
  drops_.backlog += waiting_.push(flow, {payload, size}, Clock::now());
}

/// False where there is nothing more to read, or no room for it.
bool DataPath::drain(Queue& queue) {
  if (paused_ || !rules_) return false;
  draining_ = true;
  const bool more = read_on(queue);
  flush_touched();
  // Sending may have made room for what waits, and no event would tell.
  while (std::exchange(room_again_, false) && waits()) {
    send_waiting();
    flush_touched();
  }
  draining_ = false;
  return more;
}

/// Reads for a bounded while. A packet is read straight to the end of the out-buffer of the stream
/// that got the last one, and copied only if it is for another, or has to wait.
bool DataPath::read_on(Queue& queue) {
  bool waiting = !send_waiting();
  bool more = true;
  for (int i = 0; i < reads_a_turn && more; ++i) {
    if (!last_) last_ = any_stream();
    Stream* landed = waiting ? nullptr : last_;
    std::uint8_t* to = landed ? landed->connection->landing() : nullptr;
    if (landed && !to && sessions_ <= 1) waiting = true;
    if (waiting && patient_) {
      pause();
      break;
    }
    if (!to) {
      to = scrap_.data();
      landed = nullptr;
    }
    const ssize_t got = tun::read(queue.fd, to, max_data_bytes);
    if (got < 0) {
      if (errno == EBADFD && queue.own) device_gone_ = true;
      if (!waits()) {
        patient_ = true;
        patience_ends_ = Clock::time_point::max();
      }
      more = false;
      break;
    }
    const auto size = static_cast<std::size_t>(got);
    if (size <= vnet_header_bytes) continue;
    Sent sent = Sent::yes;
    if (!waiting) sent = route(to, size, landed);
    if (waiting) {
      wait(to, size);
    } else if (sent == Sent::no_room) {
      held_.assign(to, to + size);
      held_since_ = Clock::now();
      waiting = true;
    }
    more = !paused_;
    if (!queue.own) ++(sent == Sent::dropped ? carried_.lost : carried_.packets);
  }
  return more;
}

void DataPath::take_relayed() {
  Relay& relay = *relays_[static_cast<std::size_t>(lane_)];
  for (auto payload = relay.front(); !payload.empty(); payload = relay.front()) {
    if (route(payload.data(), payload.size(), nullptr) == Sent::no_room) {
      relay_waits_ = true;
      break;
    }
    relay.pop();
  }
  flush_touched();
}

// ---- what is stranded in a dead worker's queue ----

void DataPath::carry(Fd queue) {
  carried_fd_ = std::move(queue);
  carried_queue_.emplace(*this, carried_fd_.get(), false);
  poller_.add(carried_fd_.get(), paused_ ? 0u : EPOLLIN, *carried_queue_);
  for (int turn = 0; turn < most_carried_turns && drain(*carried_queue_); ++turn) continue;
}

DataPath::Carried DataPath::finish_carrying() {
  if (!carried_queue_) return {};
  drain(*carried_queue_);
  poller_.remove(carried_fd_.get());
  carried_queue_.reset();
  carried_fd_ = Fd();
  return std::exchange(carried_, {});
}

// ---- from a peer ----

void DataPath::deliver(Stream& from, std::uint8_t* payload, std::size_t size) {
  std::uint8_t* bytes = payload + vnet_header_bytes;
  const std::size_t packet_size = size - vnet_header_bytes;
  const auto packet = parse_packet(bytes, packet_size);
  VnetHeader header;
  std::memcpy(&header, payload, sizeof header);
  if (!packet || !check_vnet_header(header, bytes, packet_size)) {
    ++drops_.malformed;
    return;
  }
  if (rules_->table.find(packet->source) != from.connection->peer) {
    ++drops_.source;
    return;
  }
  // Another dialer's address: the kernel would send it straight back into the bundle.
  if (rules_->listener && rules_->isolate && rules_->table.find(packet->destination) >= 0) {
    ++drops_.isolated;
    return;
  }
  std::memcpy(payload, &header, sizeof header);
  ++from.counters.rx_packets;
  from.counters.rx_bytes += packet_size;
  if (rules_->coalesces_udp && gro_.add(payload, size)) return;
  finish_delivery();
  if (rules_->coalesces_udp && gro_.add(payload, size)) return;
  const iovec whole{payload, size};
  if (!tun::write(queue_.fd, {&whole, 1})) ++drops_.refused;
}

void DataPath::finish_delivery() {
  const std::size_t count = gro_.count();
  if (count > 0 && !tun::write(queue_.fd, gro_.finish())) drops_.refused += count;
}

}  // namespace tunorch::worker
