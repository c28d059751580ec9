// Which tunnels are to be left by new flows, and until when their old flows have time. Pure: time
// and the number of buckets still in use come in.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "orchestrator/health/health.hpp"

namespace tunorch {

class Drains {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  /// Begins one, or gives one that is under way another deadline.
  void begin(const std::string& tunnel, time_point deadline);
  void end(const std::string& tunnel) { drains_.erase(tunnel); }
  Drain state(const std::string& tunnel) const;

  /// Those that are done now: no bucket is left (`buckets_left` answers 0), or time is up.
  std::vector<std::string> finish(time_point now,
                                  const std::function<unsigned(const std::string&)>& buckets_left);

 private:
  struct One {
    Drain state = Drain::draining;
    time_point deadline;
  };
  std::map<std::string, One> drains_;
};

}  // namespace tunorch
