#include "orchestrator/daemon/apply.hpp"

#include <algorithm>
#include <stdexcept>

namespace tunorch {
namespace {

using std::chrono::milliseconds;

/// Follows from the tunnels' health, which changes all the time: the next tick's business.
bool follows_from_health(const Step& step) {
  const auto* route = std::get_if<RouteStep>(&step);
  return std::holds_alternative<WorkerStep>(step) || std::holds_alternative<NexthopStep>(step) ||
         std::holds_alternative<GroupStep>(step) ||
         (route &&
          (route->after ? route->after : route->before)->type == routing::RouteType::unicast);
}

}  // namespace

Applied Applier::next(const FileText& file, milliseconds confirm, Time now) const {
  Applied next{file, false, std::nullopt, {}};
  if (confirm.count() <= 0) return next;
  next.unconfirmed = true;
  next.confirm_by = now + confirm;
  // Applied again before it was confirmed: what was confirmed last is what to go back to.
  if (node_.applied)
    next.before = node_.applied->unconfirmed ? node_.applied->before : node_.applied->file;
  return next;
}

void Applier::apply(const Applied& next, const Desired& wanted, const Say& say) {
  host_.prepare(wanted);
  node_.observed = performer_.observe(wanted);
  const Plan plan = make_plan(wanted, node_.observed, host_.health());
  if (!plan.conflicts.empty()) {
    std::string text = "nothing was changed:";
    for (const std::string& conflict : plan.conflicts) text += "\n  " + conflict;
    throw std::runtime_error(text);
  }
  for (const std::string& note : plan.notes) say("  note: " + note);
  // ---- the wall: above, only reads ----
  // Saved first: a daemon that is killed half way finishes it at its next start.
  save_applied(paths_, next);
  std::vector<Step> done;
  try {
    for (const Step& step : plan.steps) {
      say(describe(step));
      perform_and_record(performer_, step, wanted, node_.observed);
      done.push_back(step);
    }
  } catch (const std::exception& error) {
    std::string text = error.what();
    undo(done, text);
    if (node_.applied)
      save_applied(paths_, *node_.applied);
    else
      forget_applied(paths_);
    throw std::runtime_error(text);
  }
  node_.desired = wanted;
  node_.applied = next;
  node_.conflicts.clear();
  node_.notes = plan.notes;
  host_.taken_over();
  verify();
}

void Applier::undo(const std::vector<Step>& done, std::string& text) {
  for (auto step = done.rbegin(); step != done.rend(); ++step) {
    try {
      perform_and_record(performer_, inverse(*step), node_.desired, node_.observed);
      text += "\n  undone: " + describe(*step);
    } catch (const std::exception& failure) {
      text += "\n  cannot undo: " + describe(*step) + ": " + failure.what();
    }
  }
  if (done.empty()) text += "\n  nothing was changed before it";
}

/// The pipeline's last stage: what the kernel shows now must leave nothing to do.
void Applier::verify() {
  node_.observed = performer_.observe(node_.desired);
  std::string left;
  for (const Step& step : make_plan(node_.desired, node_.observed, host_.health()).steps)
    if (!follows_from_health(step)) left += "\n  " + describe(step);
  if (!left.empty())
    throw std::runtime_error("applied, but the kernel still differs from what was asked:" + left);
}

std::optional<milliseconds> Applier::time_left(Time now) const {
  if (!unconfirmed()) return std::nullopt;
  return std::max(std::chrono::duration_cast<milliseconds>(node_.applied->confirm_by - now),
                  milliseconds(0));
}

void Applier::confirm() {
  if (!unconfirmed())
    throw std::runtime_error(
        "nothing to confirm: the last apply was made without --confirm, is confirmed already, or "
        "it "
        "timed out and was reverted (see `tunorch events`)");
  Applied confirmed = *node_.applied;
  confirmed.unconfirmed = false;
  confirmed.before.reset();
  save_applied(paths_, confirmed);
  node_.applied = confirmed;
}

std::optional<FileText> Applier::rollback_target() const {
  if (!unconfirmed())
    throw std::runtime_error(
        "there is nothing to go back to: the last apply was made without --confirm, or is "
        "confirmed or "
        "reverted already");
  return node_.applied->before;
}

void Applier::roll_back(const FileText& before, const Say& say) {
  apply({before, false, std::nullopt, {}}, host_.load(before), say);
}

}  // namespace tunorch
