#include "orchestrator/telemetry/tally.hpp"

#include <algorithm>

namespace tunorch {
namespace {

using nlohmann::json;

/// From a neighbour in the rack to a satellite with a standing queue.
const std::vector<double> rtt_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                     0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5};
/// From one netlink message to what probes take to be sure.
const std::vector<double> failover_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                          0.025,  0.05,    0.1,    0.25,  0.5,    1,     5};

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::observe(double value) {
  const auto bound = std::ranges::lower_bound(bounds_, value);
  ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
  sum_ += value;
}

json Histogram::to_json() const {
  return {{"bounds", bounds_}, {"counts", counts_}, {"sum", sum_}};
}

ProbeTally::ProbeTally() : rtt_seconds_(rtt_bounds) {}

void ProbeTally::observe(const std::vector<bool>& answered, std::uint32_t rtt_us) {
  for (const bool one : answered) {
    lost_lately_[(answered_ + lost_) % window] = !one;
    ++(one ? answered_ : lost_);
  }
  if (std::ranges::find(answered, true) != answered.end())
    rtt_seconds_.observe(static_cast<double>(rtt_us) / 1e6);
}

json ProbeTally::to_json() const {
  const auto known = std::min<std::uint64_t>(answered_ + lost_, window);
  const double loss =
      known == 0 ? 0
                 : 100.0 * static_cast<double>(lost_lately_.count()) / static_cast<double>(known);
  return {{"probes", {{"answered", answered_}, {"lost", lost_}}}, {"loss_percent", loss}};
}

const char* to_string(Outage cause) {
  switch (cause) {
    case Outage::worker_ended:
      return "worker_ended";
    case Outage::worker_hangs:
      return "worker_hangs";
    case Outage::path:
      return "path";
    case Outage::peer:
      return "peer";
    case Outage::drain:
      return "drain";
    case Outage::other:
      return "other";
  }
  return "?";
}

void Tally::failover(Outage cause, double seconds) {
  failovers_.try_emplace(to_string(cause), failover_bounds).first->second.observe(seconds);
}

json Tally::to_json() const {
  json failovers = json::object();
  for (const auto& [cause, durations] : failovers_) failovers[cause] = durations.to_json();
  return {{"failovers", failovers}, {"applies", {{"done", done_}, {"failed", failed_}}}};
}

}  // namespace tunorch
