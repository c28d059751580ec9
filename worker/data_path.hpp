// Packets between the TUN and the sessions: who gets what the kernel sends, and what may be handed
// to the kernel of what a peer sends. The hot path: no allocation and no clock for a packet.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "worker/peer.hpp"
#include "worker/poller.hpp"
#include "worker/prefix_table.hpp"
#include "worker/tun.hpp"

namespace tunorch::worker {

/// Why packets were dropped, counted since start.
struct Drops {
  std::uint64_t malformed = 0;   // no IP packet, or a virtio header that is not true of it
  std::uint64_t source = 0;      // from a peer: not from its prefixes
  std::uint64_t isolated = 0;    // from a dialer to another dialer
  std::uint64_t refused = 0;     // the kernel did not take it
  std::uint64_t multicast = 0;   // from the kernel: nothing a tunnel carries
  std::uint64_t no_peer = 0;     // from the kernel: no peer has the destination
  std::uint64_t no_session = 0;  // from the kernel: its peer has no session
  std::uint64_t backlog = 0;     // from the kernel: its session's connection is full

  std::map<std::string, std::uint64_t> by_name() const;
};

class DataPath {
 public:
  DataPath(Poller& poller, Tun tun);
  ~DataPath();
  DataPath(const DataPath&) = delete;
  DataPath& operator=(const DataPath&) = delete;

  /// The peers are the caller's and must stay in place until the next call.
  void set_peers(std::vector<Peer>& peers, bool listener, bool isolate);

  /// A DATA frame's payload from a peer.
  void deliver(Peer& peer, int owner, std::uint8_t* payload, std::size_t size);

  /// A session came, went, or its connection has room again.
  void sessions_changed();
  void resume();

  /// Takes over the queues of a tunnel whose worker died: what is stranded there goes out by this
  /// one until `finish_carrying`. Of older ones it then lets go.
  void carry(std::vector<Fd> queues);
  struct Carried {
    std::uint64_t packets = 0, lost = 0;
  };
  bool carries() const { return !carried_queues_.empty(); }
  /// A last drain, and it lets go of them.
  Carried finish_carrying();

  /// The device was deleted under us.
  bool device_gone() const { return device_gone_; }
  const Tun& tun() const { return tun_; }
  const Drops& drops() const { return drops_; }

 private:
  class Queue final : public EventHandler {
   public:
    Queue(DataPath& path, const Fd& fd, bool own) : path(path), fd(fd), own(own) {}
    void on_events(std::uint32_t events) override {
      // A TUN shows EPOLLERR only when its device is gone (tun_chr_poll() in drivers/net/tun.c).
      if ((events & EPOLLERR) && own) path.device_gone_ = true;
      path.drain(*this);
    }

    DataPath& path;
    const Fd& fd;
    bool own;  // else it is one of a tunnel whose worker died
  };

  /// Reads for a bounded while; false where there is nothing more to read, or no room for it.
  bool drain(Queue& queue);
  void pause();
  void watch_queues(std::uint32_t events);
  Connection* stream_for(const std::uint8_t* payload, std::size_t size);
  bool send(Connection& to, Connection* landed, const std::uint8_t* payload, std::size_t size);

  Poller& poller_;
  Tun tun_;
  std::vector<Fd> carried_queues_;
  Carried carried_;
  std::vector<std::unique_ptr<Queue>> queues_;  // our own, and those carried
  std::vector<Peer>* peers_ = nullptr;
  PrefixTable table_;
  bool listener_ = false, isolate_ = true;
  bool carrier_ = false, paused_ = false, device_gone_ = false;
  Connection* last_ = nullptr;  // where the packet read last went: the next likely goes there too
  std::vector<Connection*> touched_;
  std::vector<std::uint8_t> scrap_;  // for packets that no session can take
  std::size_t live_sessions_ = 0;
  Drops drops_;
};

}  // namespace tunorch::worker
