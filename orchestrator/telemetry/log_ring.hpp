// The last lines of the daemon's log, bounded in lines and bytes, and their followers.
// Pure: knows neither the clock nor who writes them.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "protocol/event.hpp"

namespace tunorch {

class LogRing {
 public:
  explicit LogRing(std::size_t most_lines = 2000, std::size_t most_bytes = 1024 * 1024)
      : most_lines_(most_lines), most_bytes_(most_bytes) {}

  void add(LogLine line);
  /// The last `lines` that concern this tunnel, oldest first; without a tunnel: of all; 0: as many
  /// as there are.
  std::vector<LogLine> last(const std::string& tunnel, std::size_t lines) const;
  /// Called with each new line that concerns this tunnel, or all, until it returns false, or
  /// unfollow(). It must write nothing to the log.
  std::uint64_t follow(std::string tunnel, std::function<bool(const LogLine&)> follower);
  void unfollow(std::uint64_t number) { followers_.erase(number); }
  void unfollow_all() { followers_.clear(); }

 private:
  struct Follower {
    std::string tunnel;
    std::function<bool(const LogLine&)> tell;
  };

  std::size_t most_lines_, most_bytes_, bytes_ = 0;
  std::deque<LogLine> lines_;
  std::uint64_t last_follower_ = 0;
  std::map<std::uint64_t, Follower> followers_;
};

}  // namespace tunorch
