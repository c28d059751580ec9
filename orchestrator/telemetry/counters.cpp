#include "orchestrator/telemetry/counters.hpp"

#include <algorithm>

namespace tunorch {
namespace {

/// From a neighbour in the rack to a satellite with a standing queue.
const std::vector<double> rtt_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                     0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5};
/// From one netlink message to what probes take to be sure.
const std::vector<double> failover_bounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                          0.025,  0.05,    0.1,    0.25,  0.5,    1,     5};

}  // namespace

Histogram::Histogram(std::vector<double> bounds) {
  counts_.counts.resize(bounds.size() + 1);
  counts_.bounds = std::move(bounds);
}

void Histogram::observe(double value) {
  const auto bound = std::ranges::lower_bound(counts_.bounds, value);
  ++counts_.counts[static_cast<std::size_t>(bound - counts_.bounds.begin())];
  counts_.sum += value;
}

ProbeCounters::ProbeCounters() : rtt_seconds_(rtt_bounds) {}

void ProbeCounters::observe(const std::vector<bool>& answered, std::uint32_t rtt_us) {
  for (const bool one : answered) {
    lost_lately_[(counts_.answered + counts_.lost) % window] = !one;
    ++(one ? counts_.answered : counts_.lost);
  }
  if (std::ranges::find(answered, true) != answered.end())
    rtt_seconds_.observe(static_cast<double>(rtt_us) / 1e6);
}

double ProbeCounters::loss_percent() const {
  const auto known = std::min<std::uint64_t>(counts_.answered + counts_.lost, window);
  return known == 0
             ? 0
             : 100.0 * static_cast<double>(lost_lately_.count()) / static_cast<double>(known);
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

void NodeCounters::failover(Outage cause, double seconds) {
  failovers_.try_emplace(to_string(cause), failover_bounds).first->second.observe(seconds);
}

std::map<std::string, HistogramCounts> NodeCounters::failovers() const {
  std::map<std::string, HistogramCounts> all;
  for (const auto& [cause, durations] : failovers_) all[cause] = durations.counts();
  return all;
}

}  // namespace tunorch
