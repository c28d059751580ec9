// What scripts are shown: `status --json` and the plan's report. Only forms words from data; keys
// once published are kept.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "orchestrator/health/drains.hpp"
#include "orchestrator/plan/plan.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"
#include "protocol/daemon.hpp"

namespace tunorch {

/// What a status is made of.
struct Standing {
  const Desired& desired;
  const Observed& observed;
  const std::string& node;
  const std::map<std::string, std::unique_ptr<TunnelWorker>>& workers;
  const Drains& drains;
  /// By peer, then by tunnel: packets since the group was last changed. Empty where the kernel does
  /// not count them.
  std::map<std::string, std::map<std::string, std::uint64_t>> packets;
  const std::string& problem;                 // why what was applied is not in force; empty: it is
  const std::vector<std::string>& conflicts;  // what is in the way of parts of it
  const std::map<std::string, std::uint64_t>& events;  // how many of each kind there were
  const Tally& tally;
  std::optional<PageState> web;  // nothing: the file asks for none
  bool histograms;               // of round trips too: most of the text where there are many peers
  const std::string& started;    // when the daemon was
};

nlohmann::json make_status(const Standing& standing);

PlanReport plan_report(const Desired& desired, const Observed& observed, const HealthTable& health);

}  // namespace tunorch
