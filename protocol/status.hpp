// The answer to StatusRequest: what a node's bundles, tunnels and peers are doing. Keys once
// published are kept: scripts read `tunorch status --json`.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bad_message.hpp"
#include "protocol/daemon.hpp"
#include "protocol/or_null.hpp"

namespace tunorch {

/// How often values were seen, by size.
struct HistogramCounts {
  std::vector<double> bounds;         // upper ones, each included, rising
  std::vector<std::uint64_t> counts;  // one for each bound, and one for what is above the last
  double sum = 0;
};
BOOST_DESCRIBE_STRUCT(HistogramCounts, (), (bounds, counts, sum))

/// What a process may do: /proc/PID/status (proc(5)).
struct Confinement {
  std::uint32_t uid = 0;
  std::vector<std::string> capabilities;
  std::optional<bool> no_new_privileges, seccomp;
};
BOOST_DESCRIBE_STRUCT(Confinement, (), (uid, capabilities, no_new_privileges, seccomp))

struct ProbeCounts {
  std::uint64_t answered = 0, lost = 0;
};
BOOST_DESCRIBE_STRUCT(ProbeCounts, (), (answered, lost))

/// One live session of a tunnel. What nothing measures has no value.
struct SessionStatus {
  std::string address;       // the peer's outer address
  std::uint32_t rtt_us = 0;  // 0: not known yet
  int streams = 1, live_streams = 1;
  // Nothing until a heartbeat tells: a counter that shows as 0 for a moment would be taken for one
  // that was reset.
  std::optional<std::uint64_t> tx_bytes, rx_bytes, tx_packets, rx_packets, retransmits,
      cwnd_segments, queued_bytes;
  std::optional<ProbeCounts> probes;
  std::optional<double> loss_percent;  // of the last hundred probes
  std::optional<HistogramCounts> rtt_seconds;
  std::optional<unsigned> mtu;
  std::optional<std::uint32_t> sndbuf_bytes, rcvbuf_bytes;
  std::optional<std::string> congestion;
};
BOOST_DESCRIBE_STRUCT(SessionStatus, (),
                      (address, rtt_us, streams, live_streams, tx_bytes, rx_bytes, tx_packets,
                       rx_packets, retransmits, cwnd_segments, queued_bytes, probes, loss_percent,
                       rtt_seconds, mtu, sndbuf_bytes, rcvbuf_bytes, congestion))

struct TunnelStatus {
  std::string name, engine, dev;
  int pid = 0;  // 0: no process
  OrNull<Confinement> confinement;
  std::string worker;  // stopped | starting | running | stopping | backoff | quarantined
  std::string health;  // up | down | unknown
  std::string drain;   // no | draining | drained
  unsigned weight = 0;
  std::uint32_t rtt_us = 0;  // of the slowest peer
  std::uint64_t tx_bytes = 0, rx_bytes = 0;
  int restarts = 0;
  std::map<std::string, SessionStatus> sessions;  // by peer
  std::string reason;                             // why it does not carry; empty: it does
  std::map<std::string, std::uint64_t> dropped;   // packets, by reason
  std::uint64_t waiting_bytes = 0;
};
BOOST_DESCRIBE_STRUCT(TunnelStatus, (),
                      (name, engine, dev, pid, confinement, worker, health, drain, weight, rtt_us,
                       tx_bytes, rx_bytes, restarts, sessions, reason, dropped, waiting_bytes))

struct PeerStatus {
  std::string name;
  std::vector<std::string> live_tunnels;                 // it is reached by
  std::map<std::string, std::string> device_probes;      // up | down | unknown, by tunnel
  std::map<std::string, std::uint64_t> nexthop_packets;  // by tunnel, where the kernel counts them
  std::vector<std::string> carrying;                     // tunnels in its routes
  std::map<std::string, unsigned> weights;               // of those
  std::string mechanism;                                 // of its multipath routes, in words
};
BOOST_DESCRIBE_STRUCT(PeerStatus, (),
                      (name, live_tunnels, device_probes, nexthop_packets, carrying, weights,
                       mechanism))

struct BundleStatus {
  std::string name;
  std::string role;   // listener | dialer
  std::string state;  // up: every tunnel carries, for every peer that is there; degraded | down
  std::uint64_t live = 0;  // tunnels by which some peer is reached
  std::vector<TunnelStatus> tunnels;
  std::vector<PeerStatus> peers;
};
BOOST_DESCRIBE_STRUCT(BundleStatus, (), (name, role, state, live, tunnels, peers))

struct DaemonStatus {
  int pid = 0;
  std::string started;  // RFC 3339, UTC
  OrNull<Confinement> confinement;
};
BOOST_DESCRIBE_STRUCT(DaemonStatus, (), (pid, started, confinement))

/// Times are RFC 3339, UTC.
struct CertificateStatus {
  std::string node, ca;
  std::string expires;  // the earlier of the two
  std::string warning;  // in words; empty: there is time
};
BOOST_DESCRIBE_STRUCT(CertificateStatus, (), (node, ca, expires, warning))

struct AppliesCount {
  std::uint64_t done = 0, failed = 0;
};
BOOST_DESCRIBE_STRUCT(AppliesCount, (), (done, failed))

struct Status {
  std::string cluster;  // empty: nothing is applied
  std::string node, version;
  std::string time;  // RFC 3339, UTC
  DaemonStatus daemon;
  std::vector<BundleStatus> bundles;
  std::map<std::string, std::uint64_t> events;       // how many there were, by kind
  std::map<std::string, HistogramCounts> failovers;  // seconds, by cause
  AppliesCount applies;
  std::optional<PageState> web;                       // nothing: the file asks for none
  std::optional<CertificateStatus> certificate;       // nothing: no keys are loaded
  std::optional<std::string> problem;                 // why what was applied is not in force
  std::optional<std::vector<std::string>> conflicts;  // what is in the way of parts of it
};
BOOST_DESCRIBE_STRUCT(Status, (),
                      (cluster, node, version, time, daemon, bundles, events, failovers, applies,
                       web, certificate, problem, conflicts))

std::string to_line(const Status& status);
/// Fields that are missing have their defaults. Throws BadMessage.
Status status_from(const nlohmann::json& json);

}  // namespace tunorch
