// Packets between one TUN queue and the streams of one lane: who gets what the kernel sends, and
// what may be handed to the kernel of what a peer sends. The hot path: no allocation and no clock
// for a packet.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/fair_queue.hpp"
#include "worker/poller.hpp"
#include "worker/prefix_table.hpp"
#include "worker/relay.hpp"
#include "worker/stream.hpp"
#include "worker/tun.hpp"
#include "worker/udp_gro.hpp"
#include "worker/vnet_header.hpp"

namespace tunorch::worker {

/// Why packets were dropped, counted since start.
struct Drops {
  std::uint64_t malformed = 0;   // no IP packet, or a virtio header that is not true of it
  std::uint64_t source = 0;      // from a peer: not from its prefixes
  std::uint64_t isolated = 0;    // from a dialer to another dialer
  std::uint64_t refused = 0;     // the kernel did not take it
  std::uint64_t late = 0;        // held up on the way, or before it, for too long
  std::uint64_t multicast = 0;   // from the kernel: nothing a tunnel carries
  std::uint64_t no_peer = 0;     // from the kernel: no peer has the destination
  std::uint64_t no_session = 0;  // from the kernel: its peer has no session
  std::uint64_t backlog = 0;     // from the kernel: its session's connection is full
  std::uint64_t unable = 0;      // from the kernel: of a kind its peer's kernel cannot take

  Drops& operator+=(const Drops& other);
  std::map<std::string, std::uint64_t> by_name() const;
};

/// A peer's session as all lanes know it.
struct SessionView {
  int streams = 0;         // as many as its dialer has; 0: there is no session
  std::uint16_t live = 0;  // a bit a stream
  Offloads offloads{};     // what it takes
};

/// What all lanes share, read-only.
struct PathRules {
  PrefixTable table;  // owner: a peer's number
  bool listener = false, isolate = true;
  bool coalesces_udp = false;  // the kernel takes UDP datagrams as one
  bool drops_late = true;      // a database is to bring whatever it was given
};

class DataPath {
 public:
  using Clock = std::chrono::steady_clock;

  /// Lane `lane` of `relays.size()`; each lane owns the relay of its number.
  DataPath(Poller& poller, int lane, const Fd& queue, const std::vector<Relay*>& relays);
  ~DataPath();
  DataPath(const DataPath&) = delete;
  DataPath& operator=(const DataPath&) = delete;

  void set_rules(std::shared_ptr<const PathRules> rules) { rules_ = std::move(rules); }
  /// `sessions`: of all peers.
  void set_session(int peer, const SessionView& view, std::size_t sessions);
  /// A stream of this lane lives, or no longer does.
  void attach(Stream& stream);
  void detach(const Stream& stream);
  /// The lane's stream of that number, or null.
  Stream* stream(int peer, int number);

  /// A DATA frame's payload from a peer. It may be changed in place, and has to stay until
  /// finish_delivery().
  void deliver(Stream& from, std::uint8_t* payload, std::size_t size);
  bool drops_late() const { return rules_ && rules_->drops_late; }
  /// The same, of one that comes too late (Lateness).
  void drop_late() { ++drops_.late; }
  /// Payloads given to deliver() are about to go: what waits for more of its kind is written.
  void finish_delivery();
  /// What other lanes gave us.
  void take_relayed();
  /// Counted as the one above: what has been waiting for room for longer than Lateness::limit.
  void drop_late_waiting();
  /// A connection or a relay has room again.
  void resume();
  /// When lose_patience() is to be called; max() where nothing waits.
  Clock::time_point patience_ends() const { return patience_ends_; }
  /// The connection still has no room: what comes is read nevertheless, and waits here, where flows
  /// take turns, instead of in the kernel's queue, where each waits for all before it.
  void lose_patience();

  /// Takes over a queue of a tunnel whose worker died: what is stranded there goes out by this one
  /// until `finish_carrying`. One at a time.
  void carry(Fd queue);
  bool carries() const { return carried_queue_.has_value(); }
  struct Carried {
    std::uint64_t packets = 0, lost = 0;
  };
  /// A last drain, and it lets go of it.
  Carried finish_carrying();

  /// Of packets that found no room.
  std::size_t waiting_bytes() const { return held_.size() + waiting_.bytes(); }
  /// The device was deleted under us.
  bool device_gone() const { return device_gone_; }
  const Drops& drops() const { return drops_; }

 private:
  class Queue final : public EventHandler {
   public:
    Queue(DataPath& path, int fd, bool own) : path(path), fd(fd), own(own) {}
    void on_events(std::uint32_t events) override {
      // A TUN shows EPOLLERR only when its device is gone (tun_chr_poll() in drivers/net/tun.c).
      if ((events & EPOLLERR) && own) path.device_gone_ = true;
      path.drain(*this);
    }

    DataPath& path;
    int fd;
    bool own;  // else it is one of a tunnel whose worker died
  };

  struct PathPeer {
    SessionView view;
    std::array<Stream*, max_streams> streams{};  // of this lane
  };

  /// Where a packet goes.
  struct Way {
    int lane;
    Stream* stream;  // where the lane is ours
  };

  enum class Sent : std::uint8_t { yes, dropped, no_room };

  bool drain(Queue& queue);
  bool read_on(Queue& queue);
  Sent route(const std::uint8_t* payload, std::size_t size, Stream* landed);
  bool put(Stream& to, Stream* landed, const std::uint8_t* payload, std::size_t size);
  std::optional<Way> way_of(const std::uint8_t* payload, std::size_t size);
  Stream* any_stream() const;
  void touch(Stream& stream);
  void flush_touched();
  void pause();
  bool waits() const { return !held_.empty() || !waiting_.empty(); }
  bool send_waiting();
  void wait(const std::uint8_t* payload, std::size_t size);
  void watch_queues(std::uint32_t events);

  Poller& poller_;
  int lane_;
  const std::vector<Relay*>& relays_;
  Queue queue_;
  UdpGro gro_;
  Fd carried_fd_;
  std::optional<Queue> carried_queue_;
  Carried carried_;
  std::vector<PathPeer> peers_;  // by number
  std::shared_ptr<const PathRules> rules_;
  std::size_t sessions_ = 0;
  bool paused_ = false, device_gone_ = false;
  bool draining_ = false;    // so that a nested resume() does not start over,
  bool room_again_ = false;  // but is remembered
  Stream* last_ = nullptr;   // where the packet read last went: the next likely goes there too
  std::vector<Stream*> touched_;
  std::vector<std::uint8_t> scrap_;  // for packets read while no stream's buffer is at hand
  std::vector<std::uint8_t> held_;   // the first that found no room, or empty
  Clock::time_point held_since_;
  FairQueue waiting_;    // those behind it
  bool patient_ = true;  // what comes meanwhile stays in the kernel
  Clock::time_point patience_ends_ = Clock::time_point::max();
  bool relay_waits_ = false;  // what other lanes gave us waits for room
  Drops drops_;
};

}  // namespace tunorch::worker
