// A node on the other end of this tunnel and the session with it, as the worker's own thread keeps
// account of it from what the lanes tell. Plain data and small sums.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/worker.hpp"
#include "worker/data_path.hpp"
#include "worker/stream.hpp"

namespace tunorch::worker {

struct PeerStream {
  std::uint64_t serial = 0;  // of its connection; 0: there is none
  bool live = false;         // its lane serves it
  int version = min_wire_version;
  std::string address;
  std::string certificate;  // its serial number
  SocketReport socket;
  std::uint32_t rtt_us = 0;
  int lost_in_row = 0;  // PINGs
  Counters counters;    // as last reported, as is the rest
  std::uint32_t cwnd_segments = 0;
  std::uint64_t queued_bytes = 0;
  std::vector<bool> decisions = {};  // of the report just made
};

struct Peer {
  PeerSpec spec;
  bool wanted = true;      // false: was taken out; the number stays its own
  bool announced = false;  // session_up was reported
  SessionView view;
  std::array<PeerStream, max_streams> streams;
  Counters ended;               // of streams of this session that ended
  std::vector<bool> decisions;  // of PINGs, since the last heartbeat

  bool has_session() const;
  /// Of a session: the first stream that lives.
  const PeerStream& first_live() const;
  Counters counters() const;
  std::uint32_t rtt_us() const;  // the shortest
  /// Of a session; the decisions since the report before are taken out.
  SessionReport take_report();
};

/// What PINGs sent over several streams at the same times say of their session: it answered when
/// any of them did. Each in order, the newest last.
std::vector<bool> merge_decisions(const std::vector<bool>& some, const std::vector<bool>& others);

}  // namespace tunorch::worker
