// Clients whose apply is done and who wait until the tunnels are healthy, or until their time is
// up. What is missing, and the clock, come in.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "protocol/daemon.hpp"

namespace tunorch {

struct WaitingApply {
  std::function<void(const DaemonAnswer&)> send;
  std::chrono::steady_clock::time_point deadline;
  bool wait_peers = false;
  std::set<std::pair<std::string, std::string>> lived = {};  // tunnel, peer: must live again
  std::size_t sent = 0;                                      // how many were missing then
};

class TunnelSet;
struct Desired;

/// What such a client still waits for, in words: workers that do not run, and tunnels that are not
/// healthy towards a peer that counts.
std::vector<std::string> missing_of(const Desired& desired, const TunnelSet& tunnels,
                                    const WaitingApply& waiting);

class WaitingApplies {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void add(WaitingApply waiting) { waiting_.push_back(std::move(waiting)); }
  bool empty() const { return waiting_.empty(); }

  /// Answers those for whom nothing is missing, or whose time is up; the others learn what is
  /// missing when it changed. `done` is the last answer's frame.
  void answer(Time now, const std::function<std::vector<std::string>(const WaitingApply&)>& missing,
              const ApplyDone& done);
  /// The next deadline; nothing: nobody waits.
  std::optional<Time> next() const;
  /// What they wait for will not be.
  void fail(const std::string& error);

 private:
  std::vector<WaitingApply> waiting_;
};

}  // namespace tunorch
