#include "orchestrator/supervisor.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "orchestrator/config.hpp"
#include "orchestrator/pki.hpp"
#include "orchestrator/status.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr milliseconds check_interval{100};
constexpr seconds retry_after{1};

template <class T>
bool is(const Step& step) {
  return std::holds_alternative<T>(step);
}

std::vector<std::filesystem::path> worker_files(const Paths& paths,
                                                const std::set<std::string>& extensions) {
  std::error_code missing;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(paths.workers(), missing))
    if (extensions.contains(entry.path().extension())) files.push_back(entry.path());
  return files;
}

/// Marks a busy stretch, also when it ends by an exception.
class Busy {
 public:
  explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
  ~Busy() { flag_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  bool& flag_;
};

}  // namespace

Supervisor::Supervisor(boost::asio::io_context& io, Paths paths,
                       std::filesystem::path worker_executable)
    : io_(io),
      host_{io, std::move(paths), std::move(worker_executable)},
      journal_(host_.paths.journal()),
      check_timer_(io),
      retry_timer_(io),
      wait_timer_(io) {}

// ---- the applied file ----

Desired Supervisor::load_desired(const Applied& applied, bool with_node_keys) const {
  const Cluster cluster = parse_cluster(applied.text, applied.name, applied.base_dir);
  Desired desired = select_node(cluster, host_.paths.node);
  if (!with_node_keys) return desired;
  const NodeKeys keys = load_keys(cluster.pki_dir, host_.paths.node);
  for (DesiredTunnel& tunnel : desired.tunnels)
    tunnel.spec = with_keys(tunnel.spec, keys.ca_pem, keys.certificate_pem, keys.key_pem);
  return desired;
}

void Supervisor::save(const Applied& applied) const {
  make_dir(host_.paths.applied().parent_path());
  write_whole(
      host_.paths.applied(),
      json{{"text", applied.text}, {"name", applied.name}, {"base_dir", applied.base_dir}}.dump(2));
}

std::optional<Supervisor::Applied> Supervisor::load_applied() const {
  const auto text = read_text(host_.paths.applied());
  const json saved = text ? json::parse(*text, nullptr, false) : json();
  if (!saved.is_object()) return std::nullopt;
  return Applied{saved.value("text", ""), saved.value("name", ""), saved.value("base_dir", "")};
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
}

// ---- start and end ----

void Supervisor::resume() {
  make_dir(host_.paths.runtime);
  check_workers();
  const auto applied = load_applied();
  Desired wanted;
  try {
    if (applied) wanted = load_desired(*applied, true);
  } catch (const std::exception& error) {
    // What runs goes on as it is; the next apply says what is wrong to somebody who can mend it.
    spdlog::error("cannot load the last applied file: {}", error.what());
  }
  use_protocol(wanted.protocol);
  adopt_workers(wanted);
  if (wanted.cluster.empty()) return;
  desired_ = std::move(wanted);
  observed_ = observe(desired_);
  spdlog::info("resuming cluster={} node={} adopted={}", desired_.cluster, desired_.node,
               workers_.size());
  tick();
}

void Supervisor::adopt_workers(const Desired& desired) {
  for (const std::filesystem::path& file : worker_files(host_.paths, {".process"})) {
    const std::string tunnel = file.stem();
    if (const DesiredTunnel* wanted = desired.find_tunnel(tunnel))
      worker(tunnel).configure(*wanted);
    if (!worker(tunnel).adopt()) workers_.erase(tunnel);
  }
}

void Supervisor::take_down(std::function<void(const std::string&)> say,
                           std::function<void(std::vector<std::string>)> on_done) {
  if (!kernel_) find_leftovers();
  down_.emplace(Down{std::move(say), std::move(on_done), {}});
  desired_ = Desired{};
  desired_.protocol = kernel_->protocol();
  observed_ = observe(desired_);
  Busy busy(busy_);
  // Workers end before their devices go, so that they can take leave of their peers.
  for (const Step& step : make_plan(desired_, observed_, {}).steps) {
    if (!is<RouteStep>(step) && !is<WorkerStep>(step)) continue;
    try {
      perform(desired_, step);
      down_->say(describe(step));
    } catch (const std::exception& error) {
      down_->problems.push_back(error.what());
    }
  }
  boost::asio::post(io_, [this] { tick(); });
}

/// Without a daemon before it, `down` itself finds the workers, and the protocol number in the last
/// applied file; where that cannot be read, the default.
void Supervisor::find_leftovers() {
  Desired applied_then;
  try {
    if (const auto applied = load_applied()) applied_then = load_desired(*applied, false);
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
  check_timer_.cancel();
  retry_timer_.cancel();
  wait_timer_.cancel();
  on_down();
  if (down_->problems.empty()) journal_.discard();
  std::error_code ignored;
  std::filesystem::remove(host_.paths.applied(), ignored);
  std::filesystem::remove(host_.paths.log(), ignored);
  // No worker lives any more, so what is left there is of workers that died without a daemon.
  for (const auto& file : worker_files(host_.paths, {".sock", ".process"}))
    std::filesystem::remove(file, ignored);
  remove_made_dir(host_.paths.workers());
  remove_made_dir(host_.paths.runtime);
  remove_made_dir(host_.paths.applied().parent_path());
  const Down down = std::move(*down_);
  down_.reset();
  down.on_done(down.problems);
}

// ---- requests ----

void Supervisor::handle(const json& request, const std::shared_ptr<ControlConnection>& client) {
  const std::string op = request["op"];
  try {
    if (down_) throw std::runtime_error("this daemon is going down: try again in a moment");
    if (op == "apply") {
      handle_apply(request, client);
    } else if (op == "plan") {
      handle_plan(request, client);
    } else if (op == "status") {
      client->send(make_status(desired_, host_.paths.node, workers_));
    } else if (op == "down") {
      take_down(
          [client](const std::string& step) {
            client->send({{"step", step}});
          },
          [client](const std::vector<std::string>& problems) {
            client->send({{"done", problems.empty()}, {"problems", problems}});
          });
    } else {
      throw std::runtime_error("unknown request '" + op + "'");
    }
  } catch (const ConfigError& error) {
    client->send({{"error", error.what()}, {"kind", "config"}});
  } catch (const std::exception& error) {
    client->send({{"error", error.what()}});
  }
}

void Supervisor::handle_plan(const json& request,
                             const std::shared_ptr<ControlConnection>& client) {
  const Desired wanted = load_desired(
      {request.value("text", ""), request.value("name", ""), request.value("base_dir", "")}, true);
  use_protocol(wanted.protocol);
  client->send(plan_report(wanted, observe(wanted), health()));
}

void Supervisor::handle_apply(const json& request,
                              const std::shared_ptr<ControlConnection>& client) {
  const Applied applied{request.value("text", ""), request.value("name", ""),
                        request.value("base_dir", "")};
  const Desired wanted = load_desired(applied, true);
  WaitingApply waiting;
  waiting.client = client;
  waiting.deadline = steady_clock::now() + milliseconds(request.value("timeout_ms", 30000));
  waiting.wait_peers = request.value("wait_peers", false);
  for (const auto& [tunnel, one] : workers_)
    for (const auto& [peer, session] : one->sessions()) waiting.lived.insert({tunnel, peer});
  apply(applied, wanted, [&](const std::string& step) { client->send({{"step", step}}); });
  wait_for_health(std::move(waiting));
}

// ---- apply ----

void Supervisor::apply(const Applied& applied, const Desired& wanted,
                       const std::function<void(const std::string&)>& say) {
  {
    Busy busy(busy_);
    use_protocol(wanted.protocol);
    for (const auto& [tunnel, one] : workers_) one->reset();
    observed_ = observe(wanted);
    const Plan plan = make_plan(wanted, observed_, health());
    if (!plan.conflicts.empty()) {
      std::string text = "nothing was changed:";
      for (const std::string& conflict : plan.conflicts) text += "\n  " + conflict;
      throw std::runtime_error(text);
    }
    for (const std::string& note : plan.notes) say("  note: " + note);
    // Saved first: a daemon killed half way finishes it at its next start.
    const auto before = load_applied();
    save(applied);
    std::vector<Step> done;
    try {
      for (const Step& step : plan.steps) {
        say(describe(step));
        perform(wanted, step);
        done.push_back(step);
      }
    } catch (const std::exception& error) {
      std::string text = error.what();
      for (auto step = done.rbegin(); step != done.rend(); ++step) {
        const Step undo = inverse(*step);
        try {
          perform(desired_, undo);
          text += "\n  undone: " + describe(*step);
        } catch (const std::exception& failure) {
          text += "\n  cannot undo: " + describe(*step) + ": " + failure.what();
        }
      }
      if (done.empty()) text += "\n  nothing was changed before it";
      if (before)
        save(*before);
      else
        std::filesystem::remove(host_.paths.applied());
      boost::asio::post(io_, [this] { tick(); });
      throw std::runtime_error(text);
    }
    desired_ = wanted;
    for (const DesiredTunnel& tunnel : desired_.tunnels) worker(tunnel.name).configure(tunnel);
    verify(desired_);
  }
  spdlog::info("applied cluster={} node={} tunnels={}", desired_.cluster, desired_.node,
               desired_.tunnels.size());
  tick();
}

/// The pipeline's last stage: what the kernel shows now must leave nothing to do.
void Supervisor::verify(const Desired& wanted) {
  observed_ = observe(wanted);
  std::string left;
  for (const Step& step : make_plan(wanted, observed_, health()).steps)
    if (!is<WorkerStep>(step)) left += "\n  " + describe(step);
  if (!left.empty())
    throw std::runtime_error("applied, but the kernel still differs from what was asked:" + left);
}

void Supervisor::wait_for_health(WaitingApply waiting) {
  waiting_.push_back(std::move(waiting));
  answer_waiting();
}

std::vector<std::string> Supervisor::missing(const WaitingApply& waiting) const {
  std::vector<std::string> missing;
  for (const DesiredBundle& bundle : desired_.bundles)
    for (const std::string& tunnel : bundle.tunnels) {
      const TunnelWorker& one = *workers_.at(tunnel);
      const std::string why = one.reason().empty() ? "" : ": " + one.reason();
      if (one.lifecycle().state() != WorkerState::running) {
        missing.push_back(tunnel + ": its worker is " + to_string(one.lifecycle().state()) + why);
        continue;
      }
      for (const std::string& peer : bundle.peers) {
        const bool must =
            !bundle.listener || waiting.wait_peers || waiting.lived.contains({tunnel, peer});
        if (must && one.health(peer).state != Health::up)
          missing.push_back(tunnel + ": not healthy towards " + peer + why);
      }
    }
  return missing;
}

void Supervisor::answer_waiting() {
  const auto now = steady_clock::now();
  auto next = steady_clock::time_point::max();
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    const auto left = missing(*waiting);
    if (!left.empty() && now < waiting->deadline) {
      next = std::min(next, waiting->deadline);
      ++waiting;
      continue;
    }
    waiting->client->send({{"done", left.empty()}, {"missing", left}});
    waiting = waiting_.erase(waiting);
  }
  if (waiting_.empty()) return;
  wait_timer_.expires_at(next);
  wait_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) answer_waiting();
  });
}

// ---- the tick ----

Observed Supervisor::observe(const Desired& desired) {
  Observed observed = kernel_->observe(desired);
  note_workers(observed);
  return observed;
}

void Supervisor::note_workers(Observed& observed) const {
  observed.workers.clear();
  for (const auto& [tunnel, one] : workers_) observed.workers[tunnel] = one->observed();
}

HealthTable Supervisor::health() const {
  HealthTable table;
  for (const DesiredBundle& bundle : desired_.bundles)
    for (const std::string& tunnel : bundle.tunnels)
      if (const auto found = workers_.find(tunnel); found != workers_.end())
        for (const std::string& peer : bundle.peers)
          table[tunnel][peer] = found->second->health(peer);
  return table;
}

/// Everything that happens ends here. Routes first: they are what traffic waits for. The observed
/// state is kept up to date by record(), so this costs no look at the kernel.
void Supervisor::tick() {
  if (busy_) return;
  if (down_) {
    const bool all_gone = std::ranges::none_of(
        workers_, [](const auto& entry) { return entry.second->lifecycle().alive(); });
    if (all_gone) finish_down();
    return;
  }
  if (desired_.cluster.empty()) return;  // nothing was applied: leave what is there alone
  {
    Busy busy(busy_);
    try {
      for (const Step& step : make_route_plan(desired_, observed_, health())) {
        perform(desired_, step);
        spdlog::info("route changed step=\"{}\"", describe(step));
      }
      note_workers(observed_);
      const Plan plan = make_plan(desired_, observed_, health());
      for (const std::string& conflict : plan.conflicts) spdlog::error("conflict: {}", conflict);
      if (plan.conflicts.empty())
        for (const Step& step : plan.steps) {
          if (const auto* start = std::get_if<WorkerStep>(&step); start && !start->before) {
            try {
              perform(desired_, step);
            } catch (const std::exception& error) {
              worker(start->after->tunnel).start_failed(error.what());
              look_again(milliseconds(0));  // its device may be gone
            }
            continue;
          }
          perform(desired_, step);
          spdlog::info("mended step=\"{}\"", describe(step));
        }
    } catch (const std::exception& error) {
      spdlog::error("cannot follow the plan, trying again soon: {}", error.what());
      look_again(retry_after);
    }
  }
  answer_waiting();
}

/// The cached picture of the kernel was wrong somewhere: a new one, and a tick with it.
void Supervisor::look_again(milliseconds after) {
  retry_timer_.expires_after(after);
  retry_timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (cancelled || desired_.cluster.empty()) return;
    observed_ = observe(desired_);
    tick();
  });
}

void Supervisor::perform(const Desired& desired, const Step& step) {
  try {
    if (const auto* change = std::get_if<WorkerStep>(&step))
      perform_worker(desired, *change);
    else
      kernel_->perform(step);
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string("failed: ") + describe(step) + "\n  " + error.what());
  }
  record(observed_, step);
}

void Supervisor::perform_worker(const Desired& desired, const WorkerStep& step) {
  const std::string& tunnel = step.after ? step.after->tunnel : step.before->tunnel;
  TunnelWorker& one = worker(tunnel);
  const DesiredTunnel* wanted = step.after ? desired.find_tunnel(tunnel) : nullptr;
  if (!wanted)
    one.stop();
  else if (step.before && one.lifecycle().state() != WorkerState::stopped)
    one.change(*wanted);
  else if (one.lifecycle().state() == WorkerState::stopped)
    one.start(*wanted);
  // else it is still stopping: its exit makes the tick that starts it
}

TunnelWorker& Supervisor::worker(const std::string& tunnel) {
  auto& one = workers_[tunnel];
  if (!one)
    one = std::make_unique<TunnelWorker>(host_, tunnel, [this, tunnel] {
      tick();
      // A tunnel that is no longer wanted is forgotten, but not from within its own call.
      boost::asio::post(io_, [this, tunnel] {
        const auto found = workers_.find(tunnel);
        if (found != workers_.end() && !desired_.find_tunnel(tunnel) &&
            !found->second->lifecycle().alive())
          workers_.erase(found);
      });
    });
  return *one;
}

/// A worker that hangs keeps its process and its carrier: only its silence tells. If this process
/// itself was held up, silence means nothing, and the workers get another round.
void Supervisor::check_workers() {
  const auto now = steady_clock::now();
  const bool held_up = now - last_check_ > 3 * check_interval;
  last_check_ = now;
  for (const auto& [tunnel, one] : workers_) one->check(now, held_up);
  check_timer_.expires_after(check_interval);
  check_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) check_workers();
  });
}

}  // namespace tunorch
