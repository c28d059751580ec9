// The pipeline of one apply: observe, plan, perform, verify; with undo where a step fails, and
// rollback if nobody confirms. Knows neither netlink nor processes nor clients.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/daemon/applied.hpp"
#include "orchestrator/plan/performer.hpp"
#include "orchestrator/plan/plan.hpp"

namespace tunorch {

/// The node as it should be and as it is. The daemon's parts share it.
struct NodeState {
  Desired desired;
  Observed observed;
  std::optional<Applied> applied;
  std::vector<std::string> conflicts, notes;  // of the last plan
};

class Applier {
 public:
  using Time = std::chrono::system_clock::time_point;
  using Say = std::function<void(const std::string&)>;

  /// What an apply needs of the daemon, besides the machine.
  class Host {
   public:
    /// The node's part of a file, with keys. Throws ConfigError or std::runtime_error.
    virtual Desired load(const FileText& file) const = 0;
    /// Before the first look: throws std::runtime_error where `wanted` cannot follow what is
    /// applied.
    virtual void prepare(const Desired& wanted) = 0;
    virtual HealthTable health() const = 0;
    /// All steps are done: from now on `node.desired` is what is wanted.
    virtual void taken_over() = 0;

   protected:
    ~Host() = default;
  };

  Applier(NodeState& node, Performer& performer, Host& host, const Paths& paths)
      : node_(node), performer_(performer), host_(host), paths_(paths) {}

  /// What a client's apply would make of `file`; with a `confirm` above 0 it can be rolled back to
  /// what was confirmed last.
  Applied next(const FileText& file, std::chrono::milliseconds confirm, Time now) const;

  /// Brings the node to `wanted`. Throws std::runtime_error: a conflict, and nothing was changed; a
  /// step that failed, and those before it were undone; or a kernel that differs after all.
  void apply(const Applied& next, const Desired& wanted, const Say& say);

  bool unconfirmed() const { return node_.applied && node_.applied->unconfirmed; }
  /// Until the rollback; at least 0. Nothing: there is nothing to confirm.
  std::optional<std::chrono::milliseconds> time_left(Time now) const;
  /// Throws std::runtime_error where there is nothing to confirm.
  void confirm();

  /// Back to what was confirmed last. Nothing: nothing was applied before, and the node has to go
  /// down. Throws as apply(), and std::runtime_error where there is nothing to go back to.
  std::optional<FileText> rollback_target() const;
  void roll_back(const FileText& before, const Say& say);

 private:
  void undo(const std::vector<Step>& done, std::string& text);
  void verify();

  NodeState& node_;
  Performer& performer_;
  Host& host_;
  const Paths& paths_;
};

}  // namespace tunorch
