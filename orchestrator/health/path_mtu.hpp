// What a foreign tunnel's path carries towards one peer, found by echoes of several sizes that may
// not be fragmented: ICMP that says so is often filtered (RFC 4821, RFC 8899). Pure: time and
// answers come in, the sizes to try come out.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

namespace tunorch {

class PathMtu {
 public:
  using time_point = std::chrono::steady_clock::time_point;

  /// `full` is the device's MTU, in bytes as all sizes here: of a whole IP packet.
  void configure(unsigned full);
  /// A new session: what was known of the path is void.
  void reset();

  /// Sizes to try in the next round, beside the small echo; often none. `large_sent`: packets that
  /// may be too large went this way since the last round.
  std::vector<unsigned> next(time_point now, bool large_sent);
  /// The sizes of that round and whether each was answered. `path_lives`: the small echo was, else
  /// the round says nothing.
  void answered(const std::vector<std::pair<unsigned, bool>>& sizes, bool path_lives);

  /// What passes, as far as is known; nothing: not known yet. 0: only small packets.
  std::optional<unsigned> known() const { return known_; }
  /// The same where it is less than the device's MTU, else 0.
  unsigned lowered() const { return known_ && *known_ < full_ ? *known_ : 0; }

 private:
  void search_above(unsigned passed);

  unsigned full_ = 0;
  std::optional<unsigned> known_;
  bool searching_ = true;
  unsigned passed_ = 0;   // in this search: the largest that did,
  unsigned failed_ = 0;   // and the least that did not; 0: none
  bool doubted_ = false;  // what is known to pass was lost once
  time_point checked_{};
};

}  // namespace tunorch
