#include "orchestrator/daemon/supervisor.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "orchestrator/daemon/busy.hpp"
#include "orchestrator/daemon/explain.hpp"
#include "orchestrator/daemon/guard_routes.hpp"
#include "orchestrator/daemon/load.hpp"
#include "orchestrator/plan/plan.hpp"

namespace tunorch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds watchdog_limit{5};
constexpr milliseconds check_interval{20};
/// The daemon did not run for longer than this: silence in that time says nothing.
constexpr milliseconds held_up_after{80};
constexpr milliseconds look_after_failure{50};
constexpr seconds load_interval{5};

}  // namespace

Supervisor::Supervisor(boost::asio::io_context& io, Paths paths,
                       std::filesystem::path worker_executable, LogRing& log)
    : io_(io),
      log_(log),
      host_{io, std::move(paths), std::move(worker_executable), events_,
            [this](const std::string& device) { return machine_.activity(device); }},
      machine_(host_, *this),
      check_timer_(io),
      applier_(node_, machine_, *this, host_.paths),
      drains_(node_, machine_, events_, [this] { tick(); }),
      restart_(drains_, machine_.tunnels()),
      kernel_watch_(io, [this] { observe(); }),
      questions_(io, machine_.tunnels(),
                 [this](const routing::FlowKey& flow) {
                   return explain(flow, node_.desired, node_.observed, machine_.kernel());
                 }),
      moves_(events_, counters_),
      wait_timer_(io),
      confirm_timer_(io) {
  machine_.on_step = [this] {
    if (watchdog_) watchdog_->feed();
  };
}

// ---- start ----

void Supervisor::resume() {
  watchdog_.emplace(watchdog_limit);
  node_.applied = load_applied(host_.paths);
  Desired wanted, without_keys;
  try {
    if (node_.applied) without_keys = load_without_keys(node_.applied->file, host_.paths);
    if (node_.applied) wanted = load(node_.applied->file);
  } catch (const std::exception& error) {
    cannot_load(error.what());
  }
  machine_.use_protocol(without_keys.protocol);
  if (state_ == DaemonState::blocked) guard_routes(without_keys, machine_, events_);
  kernel_watch_.start();
  probes_.emplace(
      io_,
      [this](const DesiredTunnel& tunnel) -> TunnelWorker& {
        return machine_.tunnels().of(tunnel);
      },
      [this](TunnelWorker& worker) { changed(worker); });
  machine_.web().adopt();
  machine_.tunnels().adopt(wanted);
  // The page shows why it is blocked.
  if (state_ == DaemonState::blocked) machine_.web().want(without_keys.metrics);
  check();
  if (wanted.cluster.empty()) return;
  state_ = after(state_, DaemonEvent::applied);
  node_.desired = std::move(wanted);
  node_.observed = machine_.observe(node_.desired);
  spdlog::info("resuming cluster={} node={} adopted={}", node_.desired.cluster, node_.desired.node,
               machine_.tunnels().all().size());
  tick();
  await_confirmation();
}

/// What runs is left as it is.
void Supervisor::cannot_load(const std::string& why) {
  state_ = after(state_, DaemonEvent::cannot_load);
  const std::string problem = "cannot load what was applied last: " + why;
  if (problem == load_problem_) return;
  load_problem_ = problem;
  events_.add({"failed", "", "", load_problem_});
}

/// Whoever fixes the file or the keys need not say so.
void Supervisor::load_again() {
  last_load_ = Clock::now();
  const Applied applied = *node_.applied;
  try {
    apply(applied, load(applied.file), [](const std::string& step) { spdlog::info("{}", step); });
    await_confirmation();
  } catch (const std::exception& error) {
    if (state_ == DaemonState::blocked) cannot_load(error.what());
  }
}

// ---- apply ----

Desired Supervisor::load(const FileText& file) const {
  return load_with_keys(file, host_.paths);
}

void Supervisor::use_protocol(std::uint8_t protocol) {
  if (machine_.protocol() == protocol) return;
  if (!node_.desired.cluster.empty())
    throw std::runtime_error("cannot change `protocol` of an applied cluster: its routes carry " +
                             std::to_string(machine_.protocol()) + "; run `tunorch down` first");
  machine_.use_protocol(protocol);
}

void Supervisor::prepare(const Desired& wanted) {
  use_protocol(wanted.protocol);
  machine_.tunnels().reset();
}

HealthTable Supervisor::health() const {
  return machine_.tunnels().health(node_.desired, drains_.drains());
}

void Supervisor::taken_over() {
  state_ = after(state_, DaemonEvent::applied);
  load_problem_.clear();
  machine_.tunnels().configure(node_.desired);
}

void Supervisor::apply(const Applied& applied, const Desired& wanted, const Say& say) {
  const auto began = Clock::now();
  {
    Busy busy(busy_);
    try {
      applier_.apply(applied, wanted, say);
    } catch (const std::exception&) {
      schedule_tick();  // what was undone may have to be followed
      throw;
    }
  }
  const std::chrono::duration<double, std::milli> took = Clock::now() - began;
  events_.add({"applied", "", "", "cluster " + node_.desired.cluster, took.count()});
  tick();
}

void Supervisor::await_confirmation() {
  confirm_timer_.cancel();
  const auto left = applier_.time_left(std::chrono::system_clock::now());
  if (!left) return;
  confirm_timer_.expires_after(*left);
  confirm_timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (cancelled || down_) return;
    try {
      revert("not confirmed in time");
    } catch (const std::exception& error) {
      spdlog::error("cannot revert: {}", error.what());
    }
  });
}

/// On a client's request, or because nobody confirmed in time (this host may be unreachable).
void Supervisor::revert(const std::string& cause) {
  const auto before = applier_.rollback_target();
  confirm_timer_.cancel();
  events_.add({"reverted", "", "",
               cause + (before ? ": back to " + before->name : ": nothing was applied before")});
  waiting_.fail("reverted before every tunnel was healthy: " + cause);
  const Say say = [](const std::string& step) { spdlog::info("reverting step=\"{}\"", step); };
  if (before) return apply({*before, false, std::nullopt, {}}, load(*before), say);
  take_down(say, [](const std::vector<std::string>& problems) {
    for (const std::string& problem : problems) spdlog::error("{}", problem);
  });
}

// ---- what happens ----

/// A death is followed at once: traffic waits. Other news of one moment share a tick.
void Supervisor::changed(TunnelWorker& worker) {
  if (!changed_at_) changed_at_ = Clock::now();
  // Nothing waits for the end of a `down`, and it must find nothing left behind.
  if (!worker.lifecycle().alive() && !down_)
    tick();
  else
    schedule_tick();
}

void Supervisor::schedule_tick() {
  if (std::exchange(tick_scheduled_, true)) return;
  boost::asio::post(io_, [this] {
    tick_scheduled_ = false;
    tick();
  });
}

/// The groups are right by now, so nothing new goes to the dead worker's device.
void Supervisor::ended(TunnelWorker& dead) {
  machine_.tunnels().salvage(dead, node_.desired);
  boost::asio::post(io_, [this, tunnel = dead.tunnel()] {
    if (node_.desired.find_tunnel(tunnel)) machine_.flush_carrier(tunnel);
    // Not from within its own call.
    if (machine_.tunnels().replace_ended(tunnel, node_.desired)) tick();
  });
}

void Supervisor::peer_told(const std::string& peer, const worker::StateWord& word) {
  if (!word.note.empty()) return questions_.take(peer, word.note);
  if (!talk_.is_news(peer, word)) return;
  const auto now = Clock::now();
  if (!changed_at_) changed_at_ = now;
  for (const worker::TunnelState& state : word.states) {
    TunnelWorker* worker = machine_.tunnels().find(state.tunnel);
    if (!worker) continue;
    const auto path = worker->paths().find(peer);
    if (path == worker->paths().end()) continue;
    const Drain drain = !state.draining ? Drain::none : state.live ? Drain::draining : Drain::done;
    path->second.told(state.live || state.draining, drain, now);
  }
  tick();
}

/// Now and then, because time alone changes something: a worker that does not speak, a hold or a
/// slow start that is over, a drain. If this process itself was held up, the workers get another
/// round.
void Supervisor::check() {
  const auto now = Clock::now();
  const bool held_up = now - last_check_ > held_up_after;
  last_check_ = now;
  if (watchdog_) watchdog_->feed();
  machine_.tunnels().check(now, held_up);
  if (probes_) probes_->run(node_.desired.tunnels, now);
  expiry_.check(host_.paths.node, node_.desired.certificate_ends, now, PkiTime::clock::now(),
                events_);
  drains_.follow(now);
  restart_.go_on(now);
  if (serving() && kernel_watch_.is_due(now)) {
    talk_.forget();
    observe();
  }
  if (state_ == DaemonState::blocked && now - last_load_ > load_interval) load_again();
  if (is_over()) return;  // what was checked may have been the last of a `down`
  check_timer_.expires_after(check_interval);
  check_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) check();
  });
}

void Supervisor::observe() {
  if (!serving()) return;
  kernel_watch_.looked();
  try {
    node_.observed = machine_.observe(node_.desired);
  } catch (const std::system_error& error) {
    spdlog::warn("cannot read the kernel's state, trying again: {}", error.what());
    return kernel_watch_.look_after(look_after_failure);
  }
  fresh_ = true;
  tick();
}

// ---- the tick ----

/// Everything that happens ends here. Routes first: they are what traffic waits for. The observed
/// state is kept up to date by record(), so this costs no look at the kernel.
void Supervisor::tick() {
  if (busy_) return schedule_tick();
  if (state_ == DaemonState::going_down && !machine_.tunnels().any_alive()) return finish_down();
  if (!serving()) return;
  {
    Busy busy(busy_);
    // One that fails must not keep the next from being done: what repair() makes may be what the
    // routes lack.
    attempt([this] { change_multipath(); });
    attempt([this] { talk_.tell(node_.desired, machine_.tunnels().all(), drains_.drains()); });
    attempt([this] { repair(); });
    changed_at_.reset();
    fresh_ = false;
  }
  answer_waiting();
}

void Supervisor::attempt(const std::function<void()>& part) {
  try {
    part();
  } catch (const std::exception& error) {
    spdlog::error("cannot follow the plan, looking again: {}", error.what());
    kernel_watch_.look_after(look_after_failure);
  }
}

void Supervisor::change_multipath() {
  const auto since = changed_at_.value_or(Clock::now());
  // A worker raises its carrier itself, and a nexthop needs it.
  for (routing::Link& link : node_.observed.links)
    if (!link.carrier)
      if (const TunnelWorker* worker = machine_.tunnels().find(link.name);
          worker && !worker->sessions().empty())
        link.carrier = machine_.kernel().netlink().carrier(link.name);
  const std::vector<Step> steps = make_multipath_plan(node_.desired, node_.observed, health());
  for (const Step& step : steps) perform_and_record(machine_, step, node_.desired, node_.observed);
  if (steps.empty()) return;
  const Moves::Duration took = Clock::now() - since;
  if (fresh_)  // another program had changed it
    moves_.report_healed(steps, took);
  else
    moves_.report(node_.desired, node_.observed.multipath, machine_.tunnels(), drains_.drains(),
                  took);
}

void Supervisor::repair() {
  machine_.note_processes(node_.observed);
  const Plan plan = make_plan(node_.desired, node_.observed, health());
  report_neighbours(node_, plan, events_);
  for (const Step& step : plan.steps) {
    const auto* start = std::get_if<WorkerStep>(&step);
    if (!start || start->before) {
      perform_and_record(machine_, step, node_.desired, node_.observed);
      if (!start) events_.add({"healed", "", "", describe(step)});
      continue;
    }
    try {
      perform_and_record(machine_, step, node_.desired, node_.observed);
    } catch (const std::exception& error) {
      machine_.tunnels().start_failed(start->after->tunnel, error.what());
      kernel_watch_.look_after(milliseconds(0));  // its device may be gone
    }
  }
}

}  // namespace tunorch
