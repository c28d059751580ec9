// One live stream of a session: its connection, its PINGs, its counters. Plain data of the lane
// that serves it.
#pragma once

#include <cstdint>
#include <memory>

#include "protocol/worker.hpp"
#include "worker/bbr_control.hpp"
#include "worker/connection.hpp"
#include "worker/lateness.hpp"
#include "worker/probe.hpp"

namespace tunorch::worker {

struct Counters {
  std::uint64_t tx_bytes = 0, rx_bytes = 0, tx_packets = 0, rx_packets = 0;
  std::uint64_t retransmits = 0;  // TCP segments of the outer connection

  Counters& operator+=(const Counters& other) {
    tx_bytes += other.tx_bytes;
    rx_bytes += other.rx_bytes;
    tx_packets += other.tx_packets;
    rx_packets += other.rx_packets;
    retransmits += other.retransmits;
    return *this;
  }
};

/// Which stream of which peer, and which of the connections that were it in turn.
struct StreamId {
  int peer = -1;  // the worker's number of it
  int stream = 0;
  std::uint64_t serial = 0;
};

struct Stream {
  std::unique_ptr<Connection> connection;
  Probe probe;
  BbrControl bbr = {};
  Lateness lateness = {};
  Counters counters = {};
  bool heard = false;  // its first PING came
  int states = 0;      // STATEs that the worker has still to read
  std::chrono::steady_clock::time_point last_heard = std::chrono::steady_clock::now();
  std::uint32_t delivered = 0;  // segments, as of the last beat
  std::chrono::steady_clock::time_point last_delivered = std::chrono::steady_clock::now();

  StreamId id() const { return {connection->peer, connection->stream, connection->serial}; }
};

}  // namespace tunorch::worker
