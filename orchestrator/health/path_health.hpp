// The health of one tunnel towards one peer over time: PINGs and counters as two witnesses, probe
// targets, the peer's own word, flap damping, slow start and failback. Pure: time comes in.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/health/health.hpp"

namespace tunorch {

/// What a heartbeat tells of a session: PINGs decided since the last one, and packets so far.
struct Evidence {
  std::vector<bool> pings;
  std::uint64_t rx_packets = 0;
};

/// What the two kinds of probes are called where they fail.
struct ProbeWords {
  const char* pings = "PINGs unanswered";
  const char* targets = "probe targets unreachable";
};

class PathHealth {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  void configure(const HealthOptions& health, const FailbackOptions& failback,
                 const ProbeWords& words = {});

  /// A session lives; `start` is what it is taken for until PINGs tell.
  void session_up(Health start, time_point now);
  /// `asked`: it ends on request, which does not count as a flap.
  void session_down(bool asked, time_point now);
  /// Nothing is known: it was adopted. Routes stay as they are.
  void forget();

  /// A lost PING counts only while the counters do not contradict it: a session that still receives
  /// packets is congested, not dead. One that is idle abstains.
  void heartbeat(const Evidence& evidence, time_point now);
  /// One round of the file's probe targets through this tunnel: whether the quorum answered. It is
  /// a witness like PING and contradicted like it.
  void targets(bool quorum, time_point now);
  /// One probe through the device to the peer's link address. Where PINGs tell too it decides
  /// nothing, for ICMP is often filtered; but it is worth a word. True where that changed.
  bool device_probe(bool answered);
  Health device() const { return device_.state(); }
  /// What the path carries where that is less than the device's MTU (0: it is not), and why it
  /// cannot be used at all with that; empty: it can.
  void mtu(unsigned lowered, const std::string& unfit, time_point now);
  /// The worker does not speak at all.
  void silence(bool silent, time_point now);
  /// What the peer says of this tunnel.
  void told(bool live, Drain drain, time_point now);
  /// The operator takes back a failback policy's hold, once.
  void fail_back(time_point now);
  /// Time alone changes something too: call it now and then.
  void refresh(time_point now);

  TunnelHealth health() const { return health_; }
  /// Our own verdict, which the peer gets: without the peer's own, or each would wait for the
  /// other.
  bool own_verdict() const;
  /// There is nothing to tell the peer yet.
  bool undecided() const;
  /// It is not our end that finds the path bad: the session is gone, or the peer's word is.
  bool blames_peer() const { return !connected_ || told_down_; }
  Drain peer_drain() const { return peer_drain_; }
  const std::string& reason() const { return reason_; }
  time_point since() const { return since_; }

 private:
  void settle(time_point now, bool flap = true);
  std::chrono::milliseconds hold() const;

  HealthOptions options_;
  FailbackOptions failback_;
  ProbeWords words_;
  bool connected_ = false, forgotten_ = false, silent_ = false;
  bool told_down_ = false;
  Drain peer_drain_ = Drain::none;
  Dampener pings_{3, 3};
  Dampener targets_{3, 3, Health::up};
  Dampener device_{3, 3};
  std::uint64_t rx_packets_ = 0;
  bool received_ = false;  // packets since the heartbeat before
  bool fresh_ = false;     // this session was never up
  std::string unfit_;      // why its MTU rules it out

  std::deque<time_point> flaps_;  // of the last minute
  bool held_ = false;
  bool returned_ = false;  // it was up before
  bool released_ = false;  // by fail_back()
  TunnelHealth health_{Health::down};
  std::string reason_;
  time_point since_{}, up_since_{};
};

}  // namespace tunorch
