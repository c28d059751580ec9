// Makes the status, and the report of a plan, of what the daemon has. Changes nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "orchestrator/health/drains.hpp"
#include "orchestrator/plan/plan.hpp"
#include "orchestrator/tunnels/tunnel_worker.hpp"
#include "protocol/status.hpp"

namespace tunorch {

/// What a status is made of.
struct StatusInputs {
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
  const NodeCounters& counters;
  std::optional<PageState> web;  // nothing: the file asks for none
  bool histograms;               // of round trips too: most of the text where there are many peers
  const std::string& started;    // when the daemon was
};

Status make_status(const StatusInputs& standing);

PlanReport plan_report(const Desired& desired, const Observed& observed, const HealthTable& health);

}  // namespace tunorch
