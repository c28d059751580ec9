// apply, confirm and revert, and the clients that wait for their end.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "orchestrator/config/load.hpp"
#include "orchestrator/daemon/busy.hpp"
#include "orchestrator/daemon/status.hpp"
#include "orchestrator/daemon/supervisor.hpp"

namespace tunorch {
namespace {

using nlohmann::json;
using std::chrono::system_clock;

AppliedFile file_of(const json& request) {
  return {request.value("text", ""), request.value("name", ""), request.value("base_dir", "")};
}

/// What follows from the tunnels' health, which changes all the time: the next tick's business.
bool follows_from_health(const Step& step) {
  const auto* route = std::get_if<RouteStep>(&step);
  return std::holds_alternative<WorkerStep>(step) || std::holds_alternative<NexthopStep>(step) ||
         std::holds_alternative<GroupStep>(step) ||
         (route &&
          (route->after ? route->after : route->before)->type == routing::RouteType::unicast);
}

}  // namespace

void Supervisor::handle_plan(const json& request, const Client& client) {
  const Desired wanted = load_desired(file_of(request), true);
  use_protocol(wanted.protocol);
  client->send(plan_report(wanted, observe(wanted), health()));
}

void Supervisor::handle_apply(const json& request, const Client& client) {
  Applied applied{file_of(request), false, std::nullopt, {}};
  if (const milliseconds confirm(request.value("confirm_ms", 0)); confirm.count() > 0) {
    applied.unconfirmed = true;
    applied.confirm_by = system_clock::now() + confirm;
    // Applied again before it was confirmed: what was confirmed last is what to go back to.
    if (applied_) applied.before = applied_->unconfirmed ? applied_->before : applied_->file;
  }
  const Desired wanted = load_desired(applied.file, true);
  WaitingApply waiting;
  waiting.client = client;
  waiting.deadline = Clock::now() + milliseconds(request.value("timeout_ms", 30000));
  waiting.wait_peers = request.value("wait_peers", false);
  for (const auto& [tunnel, one] : workers_)
    for (const auto& [peer, session] : one->sessions()) waiting.lived.insert({tunnel, peer});
  try {
    apply(applied, wanted, [&](const std::string& step) { client->send({{"step", step}}); });
    tally_.applied(true);
  } catch (...) {
    tally_.applied(false);
    throw;
  }
  await_confirmation();
  wait_for_health(std::move(waiting));
}

void Supervisor::apply(const Applied& applied, const Desired& wanted, const Say& say) {
  const auto began = Clock::now();
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
    save_applied(host_.paths, applied);
    std::vector<Step> done;
    try {
      for (const Step& step : plan.steps) {
        say(describe(step));
        perform(wanted, step);
        done.push_back(step);
      }
    } catch (const std::exception& error) {
      std::string text = error.what();
      undo(done, text);
      if (applied_)
        save_applied(host_.paths, *applied_);
      else
        forget_applied(host_.paths);
      arm();
      throw std::runtime_error(text);
    }
    desired_ = wanted;
    applied_ = applied;
    load_problem_.clear();
    conflicts_.clear();
    notes_ = plan.notes;
    for (const DesiredTunnel& tunnel : desired_.tunnels)
      if (worker(tunnel).engine() == tunnel.engine) worker(tunnel).configure(tunnel);
    verify(desired_);
  }
  const std::chrono::duration<double, std::milli> took = Clock::now() - began;
  events_.add({"applied", "", "", "cluster " + desired_.cluster, took.count()});
  tick();
}

void Supervisor::undo(const std::vector<Step>& done, std::string& text) {
  for (auto step = done.rbegin(); step != done.rend(); ++step) {
    try {
      perform(desired_, inverse(*step));
      text += "\n  undone: " + describe(*step);
    } catch (const std::exception& failure) {
      text += "\n  cannot undo: " + describe(*step) + ": " + failure.what();
    }
  }
  if (done.empty()) text += "\n  nothing was changed before it";
}

/// The pipeline's last stage: what the kernel shows now must leave nothing to do.
void Supervisor::verify(const Desired& wanted) {
  observed_ = observe(wanted);
  std::string left;
  for (const Step& step : make_plan(wanted, observed_, health()).steps)
    if (!follows_from_health(step)) left += "\n  " + describe(step);
  if (!left.empty())
    throw std::runtime_error("applied, but the kernel still differs from what was asked:" + left);
}

// ---- waiting for health ----

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
  const auto now = Clock::now();
  auto next = Clock::time_point::max();
  for (auto waiting = waiting_.begin(); waiting != waiting_.end();) {
    const auto left = missing(*waiting);
    if (!left.empty() && now < waiting->deadline) {
      if (std::exchange(waiting->told, left.size()) != left.size())
        waiting->client->send({{"waiting", left.size()}, {"first", left.front()}});
      next = std::min(next, waiting->deadline);
      ++waiting;
      continue;
    }
    json answer{{"done", left.empty()}, {"missing", left}, {"web", web_.status()}};
    if (applied_ && applied_->unconfirmed)
      answer["confirm_within_ms"] =
          std::chrono::duration_cast<milliseconds>(applied_->confirm_by - system_clock::now())
              .count();
    waiting->client->send(answer);
    waiting = waiting_.erase(waiting);
  }
  if (waiting_.empty()) return;
  wait_timer_.expires_at(next);
  wait_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) answer_waiting();
  });
}

// ---- confirm or revert ----

void Supervisor::await_confirmation() {
  confirm_timer_.cancel();
  if (!applied_ || !applied_->unconfirmed) return;
  const auto left = std::max(applied_->confirm_by - system_clock::now(), system_clock::duration(0));
  confirm_timer_.expires_after(std::chrono::duration_cast<Clock::duration>(left));
  confirm_timer_.async_wait([this](const boost::system::error_code& cancelled) {
    if (cancelled || down_) return;
    try {
      revert("not confirmed in time");
    } catch (const std::exception& error) {
      spdlog::error("cannot revert: {}", error.what());
    }
  });
}

/// Its file can be read and its keys cannot: what is meant for a bundle must not go around it. The
/// ways that are there are left as they are.
void Supervisor::guard_routes(const Desired& without_keys) {
  const auto guards = [](const Step& step) {
    const auto* route = std::get_if<RouteStep>(&step);
    const auto* rule = std::get_if<RuleStep>(&step);
    return (route && !route->before && route->after->type == routing::RouteType::unreachable) ||
           (rule && !rule->before);
  };
  const auto guarded = [&](const auto& act) {
    try {
      act();
    } catch (const std::exception& error) {
      events_.add({"failed", "", "", std::string("cannot guard the routes: ") + error.what()});
    }
  };
  guarded([&] {
    for (const Step& step : make_plan(without_keys, observe(without_keys), {}).steps)
      if (guards(step))
        guarded([&] {
          perform(without_keys, step);
          spdlog::info("{}", describe(step));
        });
  });
}

void Supervisor::handle_confirm(const Client& client) {
  if (!applied_ || !applied_->unconfirmed)
    throw std::runtime_error(
        "there is nothing to confirm: the last apply needed none, or its time "
        "was up and it was reverted (`tunorch events` tells)");
  Applied confirmed = *applied_;
  confirmed.unconfirmed = false;
  confirmed.before.reset();
  save_applied(host_.paths, confirmed);
  applied_ = confirmed;
  confirm_timer_.cancel();
  events_.add({"confirmed", "", "", "cluster " + desired_.cluster});
  client->send({{"done", true}});
}

void Supervisor::handle_revert(const Client& client) {
  if (!applied_ || !applied_->unconfirmed)
    throw std::runtime_error(
        "there is nothing to go back to: the last apply was not made with --confirm, or is "
        "confirmed or reverted already");
  confirm_timer_.cancel();
  revert("asked for");
  client->send({{"done", true}});
}

/// Asked for; or nobody confirmed in time, perhaps because nobody can reach this host any more.
void Supervisor::revert(const std::string& cause) {
  const std::optional<AppliedFile> before = applied_->before;
  events_.add({"reverted", "", "",
               cause + (before ? ": back to " + before->name : ": nothing was applied before")});
  const Say say = [](const std::string& step) { spdlog::info("reverting step=\"{}\"", step); };
  if (before) return apply({*before, false, std::nullopt, {}}, load_desired(*before, true), say);
  take_down(say, [](const std::vector<std::string>& problems) {
    for (const std::string& problem : problems) spdlog::error("{}", problem);
  });
}

}  // namespace tunorch
