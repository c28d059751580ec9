// What is counted for metrics: values in buckets, PINGs of a path, what happened on this node since
// its daemon started. Pure; what they are called outside is the reader's.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "protocol/status.hpp"

namespace tunorch {

/// How often values were seen, by size.
class Histogram {
 public:
  /// Upper bounds, each included, rising.
  explicit Histogram(std::vector<double> bounds);

  void observe(double value);
  const HistogramCounts& counts() const { return counts_; }

 private:
  HistogramCounts counts_;
};

/// PINGs (or echoes) of one tunnel towards one peer.
class ProbeCounters {
 public:
  ProbeCounters();

  /// Those decided since the last time, in order, and what the last answer took.
  void observe(const std::vector<bool>& answered, std::uint32_t rtt_us);
  const ProbeCounts& counts() const { return counts_; }
  /// Of the last hundred.
  double loss_percent() const;
  const Histogram& rtt_seconds() const { return rtt_seconds_; }

 private:
  static constexpr std::size_t window = 100;

  ProbeCounts counts_;
  std::bitset<window> lost_lately_;  // by number modulo the window
  Histogram rtt_seconds_;
};

/// What took a tunnel out of the routes.
enum class Outage : std::uint8_t {
  worker_ended,
  worker_hangs,
  path,   // probes were lost
  peer,   // it left, or said so
  drain,  // an operator's
  other,  // the file's: it was changed or stopped
};

const char* to_string(Outage cause);

class NodeCounters {
 public:
  /// A tunnel left the routes, `seconds` after the cause.
  void failover(Outage cause, double seconds);
  void applied(bool done) { ++(done ? applies_.done : applies_.failed); }

  /// In seconds, by cause.
  std::map<std::string, HistogramCounts> failovers() const;
  const AppliesCount& applies() const { return applies_; }

 private:
  std::map<std::string, Histogram> failovers_;
  AppliesCount applies_;
};

}  // namespace tunorch
