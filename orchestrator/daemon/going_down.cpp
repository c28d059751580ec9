// The end of a supervisor's life: workers end, then everything else is put back.
#include <spdlog/spdlog.h>

#include "orchestrator/daemon/busy.hpp"
#include "orchestrator/daemon/load.hpp"
#include "orchestrator/daemon/supervisor.hpp"
#include "orchestrator/plan/plan.hpp"
#include "orchestrator/telemetry/daemon_log.hpp"

namespace tunorch {
namespace {

bool is_multipath(const Step& step) {
  return std::holds_alternative<NexthopStep>(step) || std::holds_alternative<GroupStep>(step) ||
         std::holds_alternative<RouteStep>(step) || std::holds_alternative<RuleStep>(step);
}

/// No worker lives any more, so what is left in their folder is of workers that died without a
/// daemon.
void remove_files(const Paths& paths) {
  forget_applied(paths);
  std::error_code ignored;
  std::filesystem::remove(paths.log(), ignored);
  remove_whole(paths.web_process());
  std::filesystem::remove(put_aside(paths.log()), ignored);
  for (const auto& file : files_of(paths.workers(), {".sock", ".process", ".new", ".log"}))
    std::filesystem::remove(file, ignored);
  remove_made_dir(paths.workers());
  remove_made_dir(paths.runtime);
  remove_made_dir(paths.applied().parent_path());
}

}  // namespace

/// Without a daemon before it, `down` itself finds the workers, and the protocol number in the last
/// applied file; the default if that cannot be read.
void Supervisor::open_leftovers() {
  Desired applied_then;
  try {
    if (const auto applied = load_applied(host_.paths))
      applied_then = load_without_keys(applied->file, host_.paths);
  } catch (const std::exception& error) {
    spdlog::warn("cannot load the last applied file: {}", error.what());
  }
  machine_.use_protocol(applied_then.protocol);
  machine_.web().adopt();
  machine_.tunnels().adopt(applied_then);
}

void Supervisor::take_down(Say say, std::function<void(std::vector<std::string>)> on_done) {
  if (!machine_.is_open()) open_leftovers();
  state_ = after(state_, DaemonEvent::down);
  down_.emplace(Down{std::move(say), std::move(on_done)});
  node_.desired = Desired{};
  node_.desired.protocol = machine_.protocol();
  node_.observed = machine_.observe(node_.desired);
  Busy busy(busy_);
  // Workers end before their devices go, so that they can take leave of their peers.
  remove_now(true);
  schedule_tick();
}

/// With `workers` what needs them and they themselves, else all that is left.
void Supervisor::remove_now(bool workers) {
  for (const Step& step : make_plan(node_.desired, node_.observed, {}).steps) {
    const bool is_worker = std::holds_alternative<WorkerStep>(step);
    if (workers ? !is_multipath(step) && !is_worker : is_worker) continue;
    try {
      perform_and_record(machine_, step, node_.desired, node_.observed);
      down_->say(describe(step));
    } catch (const std::exception& error) {
      down_->problems.push_back(error.what());
    }
  }
}

void Supervisor::finish_down() {
  node_.observed = machine_.observe(node_.desired);
  remove_now(false);
  state_ = after(state_, DaemonEvent::all_ended);
  // Nothing may be waited for any more, or the loop would not end.
  for (boost::asio::steady_timer* timer : {&check_timer_, &wait_timer_, &confirm_timer_})
    timer->cancel();
  kernel_watch_.stop();
  if (probes_) probes_->stop();
  events_.unfollow_all();
  log_.unfollow_all();
  watchdog_.reset();
  on_down();
  if (down_->problems.empty()) machine_.discard_journal();
  remove_files(host_.paths);
  const Down down = std::move(*down_);
  down_.reset();
  down.on_done(down.problems);
}

}  // namespace tunorch
