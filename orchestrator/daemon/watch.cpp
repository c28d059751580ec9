// What a daemon notices: words of peers, silence of workers, probes, time, and what others do to
// the kernel.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "orchestrator/daemon/supervisor.hpp"

namespace tunorch {
namespace {

using std::chrono::seconds;

constexpr milliseconds check_interval{20};
/// The daemon was not let run for so long: what it did not hear says nothing.
constexpr milliseconds held_up_after{80};
/// Between two looks at the kernel that others' changes ask for.
constexpr milliseconds look_interval{50};
/// Without being asked: settings send no messages when they are written over.
constexpr seconds slow_look_interval{5};
constexpr std::chrono::hours warning_interval{24};

}  // namespace

void Supervisor::note_workers(Observed& observed) const {
  observed.workers.clear();
  for (const auto& [tunnel, one] : workers_) observed.workers[tunnel] = one->observed();
  observed.page = web_.wanted();
}

HealthTable Supervisor::health() const {
  HealthTable table;
  for (const DesiredGroup& group : desired_.groups)
    for (const DesiredMember& member : group.members)
      if (const auto found = workers_.find(member.tunnel); found != workers_.end()) {
        TunnelHealth health = found->second->health(group.peer);
        health.drain = std::max(health.drain, drains_.state(member.tunnel));
        table[group.peer][member.tunnel] = health;
      }
  return table;
}

void Supervisor::peer_told(const std::string& peer, const worker::StateWord& word) {
  if (!word.note.empty()) return heed_note(peer, word.note);
  if (!talk_.is_news(peer, word)) return;
  const auto now = Clock::now();
  if (!changed_at_) changed_at_ = now;
  for (const worker::TunnelState& state : word.states) {
    const auto found = workers_.find(state.tunnel);
    if (found == workers_.end()) continue;
    const auto path = found->second->paths().find(peer);
    if (path == found->second->paths().end()) continue;
    const Drain drain = !state.draining ? Drain::none : state.live ? Drain::draining : Drain::done;
    path->second.told(state.live || state.draining, drain, now);
  }
  tick();
}

/// Now and then, because time alone changes something: a worker that does not speak, a hold or a
/// slow start that is over, a drain. If this process itself was held up, silence means nothing, and
/// the workers get another round.
void Supervisor::check() {
  const auto now = Clock::now();
  const bool held_up = now - last_check_ > held_up_after;
  last_check_ = now;
  if (watchdog_) watchdog_->feed();
  for (const auto& [tunnel, one] : workers_) one->check(now, held_up);
  probe_devices(now);
  warn_of_expiry(now);
  follow_drains();
  go_on_restarting();
  if (now - last_look_ > slow_look_interval && !desired_.cluster.empty()) {
    talk_.forget();
    look_at_kernel();
  }
  if (!load_problem_.empty() && !down_ && now - last_load_ > slow_look_interval) {
    last_load_ = now;
    load_again();
  }
  if (over_) return;  // what was checked may have been the last of a `down`
  check_timer_.expires_after(check_interval);
  check_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) check();
  });
}

/// Once a day, from thirty days before.
void Supervisor::warn_of_expiry(Clock::time_point now) {
  if (!desired_.certificate_ends || (expiry_warned_ && now - *expiry_warned_ < warning_interval))
    return;
  const std::string words =
      expiry_words(host_.paths.node, *desired_.certificate_ends, PkiTime::clock::now());
  if (words.empty()) return;
  expiry_warned_ = now;
  events_.add({"certificate_expires", "", "", words});
}

void Supervisor::probe_devices(Clock::time_point now) {
  if (!probe_) return;
  for (const DesiredTunnel& tunnel : desired_.tunnels) {
    Clock::time_point& due = probe_due_[tunnel.name];
    if (now < due) continue;
    probe_device(tunnel, worker(tunnel));
    due = now + worker(tunnel).echo_time();
  }
}

bool Supervisor::somebody_reaches_targets(const DesiredTunnel& tunnel) const {
  return std::ranges::any_of(desired_.tunnels, [&](const DesiredTunnel& other) {
    const auto reaches = reaches_targets_.find(other.name);
    return other.spec.bundle == tunnel.spec.bundle && reaches != reaches_targets_.end() &&
           reaches->second;
  });
}

/// A round of ICMP echoes through the tunnel: to its peers' link addresses, and to each of the
/// file's targets. A listener with many dialers leaves the targets to them.
void Supervisor::probe_device(const DesiredTunnel& tunnel, TunnelWorker& one) {
  const std::string round = tunnel.name + "/link";
  const auto answers = probe_->answers(round);
  for (const auto& [peer, address] : tunnel.link_peers) {
    std::vector<TunnelWorker::Echo> of_peer;
    for (const DeviceProbe::Answer& answer : answers)
      if (answer.echo.target == address)
        of_peer.push_back({answer.echo.bytes, answer.answered, answer.rtt});
    if (!of_peer.empty()) one.echoed(peer, of_peer);
  }
  std::vector<DeviceProbe::Echo> echoes;
  for (const auto& [peer, sizes] : one.echoes_due(Clock::now()))
    if (const auto address = tunnel.link_peers.find(peer); address != tunnel.link_peers.end())
      for (const unsigned size : sizes) echoes.push_back({address->second, size});
  probe_->begin_round(round, tunnel.name, tunnel.link_address, echoes);
  probe_targets(tunnel, one);
}

void Supervisor::probe_targets(const DesiredTunnel& tunnel, TunnelWorker& one) {
  if (tunnel.health.targets.empty() || tunnel.spec.listener || !tunnel.inner4) return;
  std::vector<DeviceProbe::Echo> echoes;
  for (const std::string& target : tunnel.health.targets)
    echoes.push_back({*Prefix::parse(target), 0});
  const std::string round = tunnel.name + "/targets";
  const auto reached = probe_->answers(round);
  probe_->begin_round(round, tunnel.name, *tunnel.inner4, echoes);
  if (reached.size() != echoes.size() || one.sessions().empty()) return;
  const bool quorum =
      std::ranges::count_if(reached, &DeviceProbe::Answer::answered) >= tunnel.health.quorum;
  reaches_targets_[tunnel.name] = quorum;
  // Targets that no tunnel reaches are themselves away: that says nothing about this one.
  if (!quorum && !somebody_reaches_targets(tunnel)) return;
  PathHealth& path = one.paths()[one.sessions().begin()->first];
  const TunnelHealth before = path.health();
  path.targets(quorum, Clock::now());
  if (path.health() != before) changed(one);
}

/// Somebody changed links, addresses, routes, rules or nexthops: perhaps ours.
void Supervisor::watch_kernel() {
  if (!monitor_) {
    monitor_.emplace();
    monitor_watch_.emplace(io_, ::dup(monitor_->fd()));
  }
  monitor_watch_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                             [this](const boost::system::error_code& error) {
                               if (error || over_) return;
                               if (monitor_->drain() && !desired_.cluster.empty() && !down_)
                                 look_again(look_interval);
                               watch_kernel();
                             });
}

/// After a while, so that many changes cost one look; the first to ask sets the time.
void Supervisor::look_again(milliseconds after) {
  const auto when = std::max(Clock::now() + after, last_look_ + look_interval);
  if (retry_timer_.expiry() > Clock::now() && retry_timer_.expiry() <= when) return;
  retry_timer_.expires_at(when);
  retry_timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (!cancelled && !desired_.cluster.empty() && !down_) look_at_kernel();
  });
}

/// Once, when they turn up; the plan has no steps for what is in somebody else's way.
void Supervisor::note_neighbours(const Plan& plan) {
  const auto is_new = [](const std::vector<std::string>& before, const std::string& words) {
    return std::ranges::find(before, words) == before.end();
  };
  for (const std::string& conflict : plan.conflicts)
    if (is_new(conflicts_, conflict)) events_.add({"conflict", "", "", conflict});
  for (const std::string& conflict : conflicts_)
    if (is_new(plan.conflicts, conflict)) events_.add({"conflict_over", "", "", conflict});
  for (const std::string& note : plan.notes)
    if (is_new(notes_, note)) spdlog::warn("note: {}", note);
  conflicts_ = plan.conflicts;
  notes_ = plan.notes;
}

void Supervisor::look_at_kernel() {
  last_look_ = Clock::now();
  try {
    observed_ = observe(desired_);
  } catch (const std::system_error& error) {
    spdlog::warn("cannot read the kernel's state, trying again: {}", error.what());
    return look_again();
  }
  looked_ = true;
  tick();
}

}  // namespace tunorch
