#include "orchestrator/health/path_health.hpp"

#include <algorithm>

namespace tunorch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds flap_memory{60};
/// A path may fail so often within that time without being held back.
constexpr std::size_t free_flaps = 2;
constexpr milliseconds first_hold{1000};
/// So many packets between two heartbeats may be our own and the peer's probes: they are no
/// traffic, and prove nothing about it.
constexpr std::uint64_t probe_packets = 4;
/// Steps of a slow start; each rewrites the group.
constexpr int slow_start_steps = 4;

}  // namespace

void PathHealth::configure(const HealthOptions& health, const FailbackOptions& failback,
                           const ProbeWords& words) {
  if (options_.rise != health.rise || options_.fall != health.fall) {
    pings_ = Dampener(health.rise, health.fall, pings_.state());
    targets_ = Dampener(health.rise, health.fall, targets_.state());
  }
  options_ = health;
  failback_ = failback;
  words_ = words;
}

void PathHealth::session_up(Health start, time_point now) {
  connected_ = true;
  forgotten_ = silent_ = false;
  told_down_ = false;  // that was said of the session before
  // A new one is out of the routes until PINGs decide, and one that was adopted stays as it was.
  fresh_ = start == Health::down;
  pings_ = Dampener(options_.rise, options_.fall, fresh_ ? Health::unknown : start);
  targets_ = Dampener(options_.rise, options_.fall, Health::up);
  device_ = Dampener(options_.rise, options_.fall);
  rx_packets_ = 0;
  received_ = false;
  settle(now);
}

void PathHealth::session_down(bool asked, time_point now) {
  connected_ = forgotten_ = silent_ = false;
  settle(now, !asked);
}

void PathHealth::forget() {
  forgotten_ = true;
  health_.state = Health::unknown;
}

void PathHealth::heartbeat(const Evidence& evidence, time_point now) {
  if (!connected_) return;
  received_ = evidence.rx_packets > rx_packets_ + probe_packets;
  rx_packets_ = evidence.rx_packets;
  for (const bool answered : evidence.pings)
    if (answered || !received_) pings_.observe(answered);
  settle(now);
}

void PathHealth::targets(bool quorum, time_point now) {
  if (!connected_) return;
  if (quorum || !received_) targets_.observe(quorum);
  settle(now);
}

bool PathHealth::device_probe(bool answered) {
  const Health before = device_.state();
  return device_.observe(answered) != before && before != Health::unknown;
}

void PathHealth::mtu(unsigned lowered, const std::string& unfit, time_point now) {
  health_.mtu = lowered;
  unfit_ = unfit;
  settle(now, false);
}

void PathHealth::silence(bool silent, time_point now) {
  silent_ = silent;
  settle(now);
}

void PathHealth::told(bool live, Drain drain, time_point now) {
  told_down_ = !live;
  peer_drain_ = drain;
  settle(now, false);  // flaps are held back where they are seen
}

void PathHealth::fail_back(time_point now) {
  released_ = true;
  settle(now);
}

void PathHealth::refresh(time_point now) {
  settle(now);
}

bool PathHealth::undecided() const {
  return forgotten_ || (connected_ && pings_.state() == Health::unknown);
}

bool PathHealth::own_verdict() const {
  return connected_ && !silent_ && !held_ && unfit_.empty() && pings_.state() == Health::up &&
         targets_.state() == Health::up;
}

milliseconds PathHealth::hold() const {
  if (flaps_.size() <= free_flaps) return milliseconds(0);
  const auto doublings = std::min<std::size_t>(flaps_.size() - free_flaps - 1, 10);
  return std::min(options_.damping, first_hold * (1 << doublings));
}

void PathHealth::settle(time_point now, bool flap) {
  if (forgotten_) return;
  while (!flaps_.empty() && now - flaps_.front() > flap_memory) flaps_.pop_front();
  held_ = !flaps_.empty() && now - flaps_.back() < hold();

  const TunnelHealth before = health_;
  health_.connected = connected_;
  health_.drain = peer_drain_;
  health_.state = Health::down;
  if (!connected_ || silent_)
    ;  // its worker or its session says why
  else if (pings_.state() == Health::down)
    reason_ = words_.pings;
  else if (targets_.state() == Health::down)
    reason_ = words_.targets;
  else if (!unfit_.empty())
    reason_ = unfit_;
  else if (told_down_)
    reason_ = "down as the peer sees it";
  else if (pings_.state() == Health::unknown && fresh_)
    reason_ = "waiting for PINGs to be answered";
  else if (pings_.state() == Health::unknown)
    health_.state = Health::unknown;
  else if (held_)
    reason_ = "held back: it failed " + std::to_string(flaps_.size()) + " times within a minute";
  else
    health_.state = Health::up;

  if (health_.state != before.state) since_ = now;
  if (before.state == Health::up && health_.state == Health::down) {
    if (flap) flaps_.push_back(now);
    returned_ = true;
    released_ = false;
  }
  if (health_.state == Health::up && before.state != Health::up) {
    up_since_ = now;
    reason_.clear();
  }
  health_.share = 100;
  if (returned_ && health_.state == Health::up && options_.slow_start.count() > 0) {
    const auto step = options_.slow_start / slow_start_steps;
    const auto done = std::min<std::int64_t>((now - up_since_) / step, slow_start_steps - 1);
    health_.share = static_cast<unsigned>(100 * (done + 1) / slow_start_steps);
  }
  health_.may_fail_back = released_ || failback_.policy == FailbackPolicy::now ||
                          (failback_.policy == FailbackPolicy::hold &&
                           health_.state == Health::up && now - up_since_ >= failback_.hold);
}

}  // namespace tunorch
