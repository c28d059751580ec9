#include "orchestrator/daemon/supervisor.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "orchestrator/config/load.hpp"
#include "orchestrator/daemon/busy.hpp"
#include "orchestrator/engines/command.hpp"
#include "orchestrator/engines/openvpn.hpp"
#include "orchestrator/engines/wireguard.hpp"
#include "orchestrator/pki/pki.hpp"
#include "orchestrator/plan/carriage.hpp"
#include "orchestrator/plan/digest.hpp"
#include "orchestrator/telemetry/daemon_log.hpp"
#include "orchestrator/tunnels/database_files.hpp"
#include "orchestrator/tunnels/foreign_worker.hpp"
#include "orchestrator/tunnels/native_worker.hpp"

namespace tunorch {
namespace {

using std::chrono::seconds;

constexpr seconds watchdog_limit{5};

template <class T>
bool is(const Step& step) {
  return std::holds_alternative<T>(step);
}

bool is_carriage(const Step& step) {
  return is<NexthopStep>(step) || is<GroupStep>(step) || is<RouteStep>(step) || is<RuleStep>(step);
}

std::vector<std::filesystem::path> worker_files(const Paths& paths,
                                                const std::set<std::string>& extensions) {
  std::error_code missing;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(paths.workers(), missing))
    if (extensions.contains(entry.path().extension())) files.push_back(entry.path());
  return files;
}

std::map<std::string, std::string> read_all(const std::map<std::string, std::string>& paths) {
  std::map<std::string, std::string> texts;
  std::string missing;
  for (const auto& [name, path] : paths) {
    const auto text = read_text(path);
    if (!text) missing += (missing.empty() ? "" : ", ") + path;
    texts[name] = text.value_or("");
  }
  if (!missing.empty())
    throw std::runtime_error("cannot read what the cluster file names: " + missing);
  return texts;
}

}  // namespace

Supervisor::Supervisor(boost::asio::io_context& io, Paths paths,
                       std::filesystem::path worker_executable, LogRing& log)
    : io_(io),
      log_(log),
      host_{io, std::move(paths), std::move(worker_executable), events_,
            [this](const std::string& device) { return activity_of(device); }},
      journal_(host_.paths.journal()),
      check_timer_(io),
      retry_timer_(io),
      wait_timer_(io),
      confirm_timer_(io) {}

std::optional<routing::LinkActivity> Supervisor::activity_of(const std::string& device) {
  try {
    return kernel_->netlink().activity(device);
  } catch (const std::system_error&) {
    return std::nullopt;
  }
}

// ---- start and end ----

Desired Supervisor::load_desired(const AppliedFile& file, bool with_node_keys) const {
  const Cluster cluster = parse_cluster(file.text, file.name, file.base_dir);
  Desired desired = select_node(cluster, host_.paths.node);
  if (!with_node_keys) return desired;
  const NodeKeys keys = load_keys(cluster.pki_dir, host_.paths.node);
  desired.certificate_ends = keys.ends;
  for (DesiredTunnel& tunnel : desired.tunnels) add_keys(cluster, keys, tunnel);
  return desired;
}

void Supervisor::add_keys(const Cluster& cluster, const NodeKeys& keys,
                          DesiredTunnel& tunnel) const {
  const auto dir = host_.paths.tunnel_dir(tunnel.name);
  switch (tunnel.engine) {
    case Engine::native:
      if (tunnel.spec.transport == "postgres")
        tunnel.spec.secrets = read_database_files(tunnel.spec.postgres);
      tunnel.spec = with_keys(tunnel.spec, keys);
      return;
    case Engine::openvpn:
      tunnel.launch = openvpn_launch(tunnel, dir, keys);
      break;
    case Engine::wireguard: {
      std::vector<std::string> peers;
      for (const worker::PeerSpec& peer : tunnel.spec.peers) peers.push_back(peer.node);
      tunnel.launch =
          wireguard_launch(tunnel, load_wireguard_keys(cluster.pki_dir, host_.paths.node, peers));
      break;
    }
    case Engine::command:
      tunnel.launch = command_launch(tunnel, dir, read_all(command_copies(tunnel, dir)));
  }
  tunnel.spec.digest = digest_of(tunnel.launch);
}

void Supervisor::use_protocol(std::uint8_t protocol) {
  if (kernel_ && kernel_->protocol() == protocol) return;
  if (kernel_ && !desired_.cluster.empty())
    throw std::runtime_error("cannot change `protocol` of an applied cluster: its routes carry " +
                             std::to_string(kernel_->protocol()) + "; run `tunorch down` first");
  kernel_.emplace(protocol, journal_);
  kernel_->on_refusal = [](const std::string& words) {
    spdlog::warn("setting left alone: {}", words);
  };
  kernel_->probe_abilities();
  kernel_->remove_unmarked_devices();
}

void Supervisor::resume() {
  watchdog_.emplace(watchdog_limit);
  applied_ = load_applied(host_.paths);
  Desired wanted, without_keys;
  try {
    if (applied_) without_keys = load_desired(applied_->file, false);
    if (applied_) wanted = load_desired(applied_->file, true);
  } catch (const std::exception& error) {
    // What runs goes on as it is.
    cannot_load(error.what());
  }
  use_protocol(without_keys.protocol);
  if (!load_problem_.empty()) guard_routes(without_keys);
  watch_kernel();
  probe_.emplace(io_);
  adopt_workers(wanted);
  if (!load_problem_.empty()) web_.want(without_keys.metrics);  // it tells of that
  check();
  if (wanted.cluster.empty()) return;
  desired_ = std::move(wanted);
  observed_ = observe(desired_);
  spdlog::info("resuming cluster={} node={} adopted={}", desired_.cluster, desired_.node,
               workers_.size());
  tick();
  await_confirmation();
}

void Supervisor::cannot_load(const std::string& why) {
  const std::string problem = "cannot load what was applied last: " + why;
  if (problem == load_problem_) return;
  load_problem_ = problem;
  events_.add({"failed", "", "", load_problem_});
}

/// Whoever mends the file or the keys need not tell us.
void Supervisor::load_again() {
  const Applied applied = *applied_;
  try {
    apply(applied, load_desired(applied.file, true),
          [](const std::string& step) { spdlog::info("{}", step); });
    await_confirmation();
  } catch (const std::exception& error) {
    cannot_load(error.what());
  }
}

void Supervisor::adopt_workers(const Desired& desired) {
  web_.adopt();
  for (const std::filesystem::path& file : worker_files(host_.paths, {".process"})) {
    const std::string tunnel = file.stem();
    const auto process = ProcessFile::parse(read_text(file).value_or(""));
    const Engine engine = process ? process->engine : Engine::native;
    TunnelWorker& one = *(workers_[tunnel] = make_worker(tunnel, engine));
    const DesiredTunnel* wanted = desired.find_tunnel(tunnel);
    if (wanted && wanted->engine == engine) one.configure(*wanted);
    if (!one.adopt()) workers_.erase(tunnel);
  }
}

void Supervisor::take_down(Say say, std::function<void(std::vector<std::string>)> on_done) {
  if (!kernel_) find_leftovers();
  down_.emplace(Down{std::move(say), std::move(on_done), {}});
  desired_ = Desired{};
  desired_.protocol = kernel_->protocol();
  observed_ = observe(desired_);
  Busy busy(busy_);
  // Workers end before their devices go, so that they can take leave of their peers.
  for (const Step& step : make_plan(desired_, observed_, {}).steps) {
    if (!is_carriage(step) && !is<WorkerStep>(step)) continue;
    try {
      perform(desired_, step);
      down_->say(describe(step));
    } catch (const std::exception& error) {
      down_->problems.push_back(error.what());
    }
  }
  arm();
}

/// Without a daemon before it, `down` itself finds the workers, and the protocol number in the last
/// applied file; where that cannot be read, the default.
void Supervisor::find_leftovers() {
  Desired applied_then;
  try {
    if (const auto applied = load_applied(host_.paths))
      applied_then = load_desired(applied->file, false);
  } catch (const std::exception& error) {
    spdlog::warn("cannot load the last applied file: {}", error.what());
  }
  use_protocol(applied_then.protocol);
  adopt_workers(applied_then);
}

void Supervisor::finish_down() {
  observed_ = observe(desired_);
  for (const Step& step : make_plan(desired_, observed_, {}).steps) {
    if (is<WorkerStep>(step)) continue;
    try {
      perform(desired_, step);
      down_->say(describe(step));
    } catch (const std::exception& error) {
      down_->problems.push_back(error.what());
    }
  }
  for (boost::asio::steady_timer* timer :
       {&check_timer_, &retry_timer_, &wait_timer_, &confirm_timer_})
    timer->cancel();
  over_ = true;
  if (monitor_watch_) monitor_watch_->cancel();
  if (probe_) probe_->stop();
  events_.unfollow_all();  // they would be waited for
  log_.unfollow_all();
  watchdog_.reset();
  on_down();
  if (down_->problems.empty()) journal_.discard();
  remove_files();
  const Down down = std::move(*down_);
  down_.reset();
  down.on_done(down.problems);
}

void Supervisor::remove_files() {
  forget_applied(host_.paths);
  std::error_code ignored;
  std::filesystem::remove(host_.paths.log(), ignored);
  remove_whole(host_.paths.web_process());
  std::filesystem::remove(put_aside(host_.paths.log()), ignored);
  // No worker lives any more, so what is left there is of workers that died without a daemon.
  for (const auto& file : worker_files(host_.paths, {".sock", ".process", ".new", ".log"}))
    std::filesystem::remove(file, ignored);
  remove_made_dir(host_.paths.workers());
  remove_made_dir(host_.paths.runtime);
  remove_made_dir(host_.paths.applied().parent_path());
}

// ---- what happens ----

/// A death is followed at once: traffic waits. Other news of one moment share a tick.
void Supervisor::changed(TunnelWorker& worker) {
  if (!changed_at_) changed_at_ = Clock::now();
  // Nothing waits for the end of a `down`, and it is to find nothing left behind.
  if (!worker.lifecycle().alive() && !down_)
    tick();
  else
    arm();
}

void Supervisor::arm() {
  if (std::exchange(armed_, true)) return;
  boost::asio::post(io_, [this] {
    armed_ = false;
    tick();
  });
}

/// The groups are right by now, so nothing new goes to the dead worker's device. What is stranded
/// in its queues goes out by the tunnel with the most sessions.
void Supervisor::ended(TunnelWorker& dead) {
  TunnelWorker* living = nullptr;
  for (const DesiredBundle& bundle : desired_.bundles) {
    if (std::ranges::find(bundle.tunnels, dead.tunnel()) == bundle.tunnels.end()) continue;
    for (const std::string& tunnel : bundle.tunnels) {
      const auto other = workers_.find(tunnel);
      if (other == workers_.end() || other->second.get() == &dead || !other->second->can_carry())
        continue;
      if (!living || other->second->sessions().size() > living->sessions().size())
        living = other->second.get();
    }
  }
  if (living) living->carry(dead.queues());
  dead.drop_carrier();
  boost::asio::post(io_, [this, tunnel = dead.tunnel()] {
    try {
      // To ask makes the kernel see it now, and not up to a second later.
      if (desired_.find_tunnel(tunnel)) kernel_->netlink().carrier(tunnel);
    } catch (const std::system_error& error) {
      spdlog::debug("carrier not asked for: {}", error.what());
    }
    // One that is no longer wanted is forgotten, but not from within its own call.
    const auto found = workers_.find(tunnel);
    if (found == workers_.end() || found->second->lifecycle().alive()) return;
    const DesiredTunnel* wanted = desired_.find_tunnel(tunnel);
    if (wanted && wanted->engine == found->second->engine()) return;
    workers_.erase(found);
    if (!wanted) return;
    worker(*wanted).configure(*wanted);
    tick();
  });
}

// ---- the tick ----

Observed Supervisor::observe(const Desired& desired) {
  Observed observed = kernel_->observe(desired);
  note_workers(observed);
  return observed;
}

/// Everything that happens ends here. Routes first: they are what traffic waits for. The observed
/// state is kept up to date by record(), so this costs no look at the kernel.
void Supervisor::tick() {
  if (busy_) return arm();
  if (down_) {
    const bool all_gone = std::ranges::none_of(
        workers_, [](const auto& entry) { return entry.second->lifecycle().alive(); });
    if (all_gone) finish_down();
    return;
  }
  if (desired_.cluster.empty()) return;  // nothing was applied: leave what is there alone
  {
    Busy busy(busy_);
    // One that fails must not keep the next from being done: what mend() makes may be what the
    // routes lack.
    attempt([this] { change_carriage(); });
    attempt([this] { talk_.tell(desired_, workers_, drains_); });
    attempt([this] { mend(); });
    changed_at_.reset();
    looked_ = false;
  }
  answer_waiting();
}

void Supervisor::attempt(const std::function<void()>& part) {
  try {
    part();
  } catch (const std::exception& error) {
    spdlog::error("cannot follow the plan, looking again: {}", error.what());
    look_again();
  }
}

void Supervisor::change_carriage() {
  const auto since = changed_at_.value_or(Clock::now());
  // Carrier is the worker's to raise, and a nexthop needs it.
  for (routing::Link& link : observed_.links)
    if (!link.carrier)
      if (const auto found = workers_.find(link.name);
          found != workers_.end() && !found->second->sessions().empty())
        link.carrier = kernel_->netlink().carrier(link.name);
  const std::vector<Step> steps = make_carriage_plan(desired_, observed_, health());
  for (const Step& step : steps) perform(desired_, step);
  report_moves(steps, since);
}

void Supervisor::mend() {
  note_workers(observed_);
  const Plan plan = make_plan(desired_, observed_, health());
  note_neighbours(plan);
  for (const Step& step : plan.steps) {
    const auto* start = std::get_if<WorkerStep>(&step);
    if (!start || start->before) {
      perform(desired_, step);
      if (!start) events_.add({"healed", "", "", describe(step)});
      continue;
    }
    try {
      perform(desired_, step);
    } catch (const std::exception& error) {
      workers_.at(start->after->tunnel)->start_failed(error.what());
      look_again(milliseconds(0));  // its device may be gone
    }
  }
}

/// Who left and who joined, and how long that took from its cause on. After a look at the kernel it
/// was somebody else who had taken it away.
void Supervisor::report_moves(const std::vector<Step>& steps, Clock::time_point since) {
  if (steps.empty()) return;
  const std::chrono::duration<double, std::milli> took = Clock::now() - since;
  if (looked_) {
    for (const Step& step : steps) events_.add({"healed", "", "", describe(step), took.count()});
    return;
  }
  auto now = carrying(desired_, observed_.carriage);
  std::map<std::string, std::set<std::string>> out, in;  // tunnel, peers
  for (const auto& [peer, tunnels] : now)
    for (const std::string& tunnel : tunnels)
      if (!carried_[peer].contains(tunnel)) in[tunnel].insert(peer);
  for (const auto& [peer, tunnels] : carried_)
    for (const std::string& tunnel : tunnels)
      if (!now[peer].contains(tunnel)) out[tunnel].insert(peer);
  carried_ = std::move(now);
  const auto add = [&](const char* kind, const auto& moves) {
    for (const auto& [tunnel, peers] : moves) {
      const bool one = peers.size() == 1;
      const auto found = workers_.find(tunnel);
      std::string cause = found == workers_.end() ? "" : found->second->reason();
      if (drains_.state(tunnel) != Drain::none) cause = "drained";
      if (!one) cause += (cause.empty() ? "" : ", ") + std::to_string(peers.size()) + " peers";
      events_.add({kind, tunnel, one ? *peers.begin() : "", cause, took.count()});
    }
  };
  for (const auto& [tunnel, peers] : out)
    if (const auto found = workers_.find(tunnel); found != workers_.end())
      tally_.failover(drains_.state(tunnel) != Drain::none ? Outage::drain
                                                           : found->second->outage(*peers.begin()),
                      took.count() / 1000);
  add("tunnel_out", out);
  add("tunnel_in", in);
}

void Supervisor::perform(const Desired& desired, const Step& step) {
  if (watchdog_) watchdog_->feed();
  try {
    if (const auto* change = std::get_if<WorkerStep>(&step))
      perform_worker(desired, *change);
    else if (const auto* page = std::get_if<PageStep>(&step))
      web_.want(page->after);
    else
      kernel_->perform(step);
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string("failed: ") + describe(step) + "\n  " + error.what());
  }
  record(observed_, step);
}

void Supervisor::perform_worker(const Desired& desired, const WorkerStep& step) {
  const std::string& tunnel = step.after ? step.after->tunnel : step.before->tunnel;
  const DesiredTunnel* wanted = step.after ? desired.find_tunnel(tunnel) : nullptr;
  if (const auto found = workers_.find(tunnel); found == workers_.end() && wanted)
    workers_[tunnel] = make_worker(tunnel, wanted->engine);
  TunnelWorker& one = *workers_.at(tunnel);
  if (!wanted || one.engine() != wanted->engine)
    one.stop();  // ended() makes room for one of another engine
  else if (step.before && one.lifecycle().state() != WorkerState::stopped)
    one.change(*wanted);
  else if (one.lifecycle().state() == WorkerState::stopped)
    start_worker(one, *wanted);
  // else it is still stopping: its exit makes the tick that starts it
}

/// A program of somebody else's that is not there or cannot run is its tunnel's trouble, and not
/// that of the others in the file.
void Supervisor::start_worker(TunnelWorker& one, const DesiredTunnel& wanted) {
  try {
    one.start(wanted);
  } catch (const std::exception& error) {
    if (wanted.engine == Engine::native) throw;
    one.start_failed(error.what());
  }
}

std::unique_ptr<TunnelWorker> Supervisor::make_worker(const std::string& tunnel, Engine engine) {
  if (engine == Engine::native) return std::make_unique<NativeWorker>(host_, tunnel, *this);
  return std::make_unique<ForeignWorker>(host_, tunnel, *this, engine);
}

TunnelWorker& Supervisor::worker(const DesiredTunnel& wanted) {
  auto& one = workers_[wanted.name];
  if (!one) one = make_worker(wanted.name, wanted.engine);
  return *one;
}

}  // namespace tunorch
