#include "worker/data_path.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "worker/packet.hpp"
#include "worker/vnet_header.hpp"

namespace tunorch::worker {
namespace {

/// Reads of the TUN before others have their turn. At full GSO size this is 4 MiB.
constexpr int reads_a_turn = 64;

}  // namespace

std::map<std::string, std::uint64_t> Drops::by_name() const {
  std::map<std::string, std::uint64_t> named;
  const auto add = [&](const char* name, std::uint64_t count) {
    if (count > 0) named[name] = count;
  };
  add("malformed", malformed);
  add("source", source);
  add("isolated", isolated);
  add("refused", refused);
  add("multicast", multicast);
  add("no_peer", no_peer);
  add("no_session", no_session);
  add("backlog", backlog);
  return named;
}

DataPath::DataPath(Poller& poller, Tun tun)
    : poller_(poller), tun_(std::move(tun)), scrap_(max_data_bytes) {
  for (const Fd& queue : tun_.queues()) {
    queues_.push_back(std::make_unique<Queue>(*this, queue, true));
    poller_.add(queue.get(), EPOLLIN, *queues_.back());
  }
}

DataPath::~DataPath() {
  for (const auto& queue : queues_) poller_.remove(queue->fd.get());
}

void DataPath::set_peers(std::vector<Peer>& peers, bool listener, bool isolate) {
  peers_ = &peers;
  listener_ = listener;
  isolate_ = isolate;
  table_ = PrefixTable();
  for (std::size_t i = 0; i < peers.size(); ++i)
    for (const std::string& prefix : peers[i].spec.prefixes)
      table_.add(prefix, static_cast<int>(i));
  sessions_changed();
}

void DataPath::sessions_changed() {
  last_ = nullptr;
  live_sessions_ = static_cast<std::size_t>(
      std::ranges::count_if(*peers_, [](const Peer& peer) { return peer.live_stream(); }));
  if (carrier_ != (live_sessions_ > 0)) {
    carrier_ = !carrier_;
    tun_.set_carrier(carrier_);
  }
  resume();
}

// ---- from the kernel ----

void DataPath::pause() {
  paused_ = true;
  watch_queues(0);
}

void DataPath::resume() {
  if (!paused_) return;
  paused_ = false;
  watch_queues(EPOLLIN);
}

void DataPath::watch_queues(std::uint32_t events) {
  for (const auto& queue : queues_) poller_.modify(queue->fd.get(), events);
}

/// The packet's session's connection; null, and counted, where it has none.
Connection* DataPath::stream_for(const std::uint8_t* payload, std::size_t size) {
  const auto packet = parse_packet(payload + vnet_header_bytes, size - vnet_header_bytes);
  if (!packet) {
    ++drops_.malformed;
    return nullptr;
  }
  if (packet->destination.is_multicast()) {
    ++drops_.multicast;
    return nullptr;
  }
  const int owner = table_.find(packet->destination);
  if (owner < 0) {
    ++drops_.no_peer;
    return nullptr;
  }
  Peer& peer = (*peers_)[static_cast<std::size_t>(owner)];
  Connection* stream = peer.live_stream();
  if (!stream) {
    ++drops_.no_session;
    return nullptr;
  }
  ++peer.counters.tx_packets;
  peer.counters.tx_bytes += size - vnet_header_bytes;
  return stream;
}

/// False, and counted, where there is no room.
bool DataPath::send(Connection& to, Connection* landed, const std::uint8_t* payload,
                    std::size_t size) {
  if (&to == landed) {
    to.commit(size);
  } else if (!to.append_data(payload, size)) {
    to.flush();
    if (!to.is_live() || !to.append_data(payload, size)) {
      ++drops_.backlog;
      return false;
    }
  }
  if (to.batch_is_full())
    to.flush();
  else if (std::ranges::find(touched_, &to) == touched_.end())
    touched_.push_back(&to);
  return true;
}

/// A packet is read straight to the end of the out-buffer of the session that got the last one, and
/// copied only if it is for another. With one session a full buffer stops the reading, so that the
/// kernel's queue fills and senders slow down; with several, the full one's packets are dropped and
/// the others go on.
bool DataPath::drain(Queue& queue) {
  if (paused_ || !peers_) return false;
  touched_.clear();
  bool more = true;
  for (int i = 0; i < reads_a_turn && more; ++i) {
    if (!last_ || !last_->is_live()) {
      last_ = nullptr;
      for (const Peer& peer : *peers_)
        if (!last_) last_ = peer.live_stream();
    }
    Connection* landed = last_;
    std::uint8_t* to = landed ? landed->landing() : nullptr;
    if (landed && !to) {
      landed->flush();
      to = landed->is_live() ? landed->landing() : nullptr;
      if (!to && live_sessions_ <= 1) {
        if (landed->is_live()) pause();
        more = false;
        continue;
      }
    }
    if (!to) {
      to = scrap_.data();
      landed = nullptr;
    }
    const ssize_t size = Tun::read(queue.fd, to, max_data_bytes);
    if (size < 0) {
      if (errno == EBADFD && queue.own) device_gone_ = true;
      more = false;
      continue;
    }
    if (static_cast<std::size_t>(size) <= vnet_header_bytes) continue;
    Connection* stream = stream_for(to, static_cast<std::size_t>(size));
    const bool sent = stream && send(*stream, landed, to, static_cast<std::size_t>(size));
    if (stream) last_ = stream;
    if (!queue.own) ++(sent ? carried_.packets : carried_.lost);
  }
  for (Connection* connection : touched_) connection->flush();
  return more;
}

// ---- what is stranded in a dead worker's queues ----

void DataPath::carry(std::vector<Fd> queues) {
  if (carries()) finish_carrying();
  carried_queues_ = std::move(queues);
  for (const Fd& fd : carried_queues_) {
    queues_.push_back(std::make_unique<Queue>(*this, fd, false));
    poller_.add(fd.get(), EPOLLIN, *queues_.back());
    if (paused_) poller_.modify(fd.get(), 0);
    while (drain(*queues_.back())) continue;
  }
}

DataPath::Carried DataPath::finish_carrying() {
  for (const auto& queue : queues_)
    if (!queue->own) {
      drain(*queue);
      poller_.remove(queue->fd.get());
    }
  std::erase_if(queues_, [](const auto& queue) { return !queue->own; });
  carried_queues_.clear();
  return std::exchange(carried_, {});
}

// ---- from a peer ----

void DataPath::deliver(Peer& peer, int owner, std::uint8_t* payload, std::size_t size) {
  std::uint8_t* bytes = payload + vnet_header_bytes;
  const std::size_t packet_size = size - vnet_header_bytes;
  const auto packet = parse_packet(bytes, packet_size);
  VnetHeader header;
  std::memcpy(&header, payload, sizeof header);
  if (!packet || !check_vnet_header(header, bytes, packet_size)) {
    ++drops_.malformed;
    return;
  }
  if (table_.find(packet->source) != owner) {
    ++drops_.source;
    return;
  }
  // Another dialer's address: the kernel would send it straight back into the bundle.
  if (listener_ && isolate_ && table_.find(packet->destination) >= 0) {
    ++drops_.isolated;
    return;
  }
  std::memcpy(payload, &header, sizeof header);
  if (!tun_.write(0, payload, size)) {
    ++drops_.refused;
    return;
  }
  ++peer.counters.rx_packets;
  peer.counters.rx_bytes += packet_size;
}

}  // namespace tunorch::worker
