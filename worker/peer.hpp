// A node on the other end of this tunnel and the session with it, if one lives: its connections,
// its PINGs, its counters. Plain data shared by the data path and the roles.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/connection.hpp"
#include "worker/probe.hpp"
#include "worker/spec.hpp"

namespace tunorch::worker {

struct Counters {
  std::uint64_t tx_bytes = 0, rx_bytes = 0, tx_packets = 0, rx_packets = 0;
};

struct Peer {
  PeerSpec spec;
  std::vector<Connection*> streams;  // by stream; null where there is none
  std::optional<Probe> probe;        // while a session lives
  bool announced = false;            // session_up was reported
  Counters counters;                 // of this session

  Connection* live_stream() const {
    for (Connection* connection : streams)
      if (connection && connection->is_live()) return connection;
    return nullptr;
  }
};

}  // namespace tunorch::worker
