// What is counted for metrics: values in buckets, PINGs of a path, what happened on this node since
// its daemon started. Pure; what they are called outside is the reader's.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tunorch {

/// How often values were seen, by size.
class Histogram {
 public:
  /// Upper bounds, each included, rising.
  explicit Histogram(std::vector<double> bounds);

  void observe(double value);
  /// {"bounds", "counts": one a bound and one for what is above the last, "sum"}.
  nlohmann::json to_json() const;

 private:
  std::vector<double> bounds_;
  std::vector<std::uint64_t> counts_;
  double sum_ = 0;
};

/// PINGs (or echoes) of one tunnel towards one peer.
class ProbeTally {
 public:
  ProbeTally();

  /// Those decided since the last time, in order, and what the last answer took.
  void observe(const std::vector<bool>& answered, std::uint32_t rtt_us);
  /// {"probes": {"answered", "lost"}, "loss_percent": of the last hundred}.
  nlohmann::json to_json() const;
  const Histogram& rtt_seconds() const { return rtt_seconds_; }

 private:
  static constexpr std::size_t window = 100;

  std::uint64_t answered_ = 0, lost_ = 0;
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

class Tally {
 public:
  /// A tunnel left the routes, so long after its cause.
  void failover(Outage cause, double seconds);
  void applied(bool done) { ++(done ? done_ : failed_); }

  /// {"failovers": {cause: histogram of seconds}, "applies": {"done", "failed"}}.
  nlohmann::json to_json() const;

 private:
  std::map<std::string, Histogram> failovers_;
  std::uint64_t done_ = 0, failed_ = 0;
};

}  // namespace tunorch
