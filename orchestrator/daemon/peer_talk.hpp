// What this node's daemon and its peers' daemons tell each other in-band about their tunnels: which
// live, which drain. Keeps what was said last in each direction; the workers carry the words.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/daemon/tunnel_set.hpp"
#include "orchestrator/health/drains.hpp"
#include "orchestrator/plan/desired.hpp"

namespace tunorch {

class PeerTalk {
 public:
  using States = std::vector<worker::TunnelState>;

  PeerTalk();

  /// Sends each peer what changed since the last time, by every tunnel with a session to it: one
  /// of them may be the one that has just died.
  void tell(const Desired& desired, const Workers& workers, const Drains& drains);
  /// Says it all again at the next tell().
  void forget() { said_.clear(); }

  /// Whether a word that came in is newer than the one before; an older one took a slower tunnel.
  bool is_news(const std::string& peer, const worker::StateWord& word);

 private:
  struct Said {
    States states;
    std::set<std::string> by;  // tunnels

    bool operator==(const Said&) const = default;
  };
  std::string boot_;
  std::map<std::string, Said> said_;                                    // by peer
  std::map<std::string, std::pair<std::string, std::uint64_t>> heard_;  // by peer: boot, sequence
};

}  // namespace tunorch
