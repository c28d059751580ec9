// Health of a tunnel towards one peer, from probe results: `rise` answers in a row make it up,
// `fall` losses in a row make it down. Pure; it neither probes nor knows the time.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace tunorch {

/// unknown: nothing was seen yet. Out of the routes at a cold start, unchanged after adoption.
enum class Health : std::uint8_t { unknown, up, down };

const char* to_string(Health health);

/// keepalived's and HAProxy's rise and fall.
class Dampener {
 public:
  Dampener(int rise, int fall, Health start = Health::unknown)
      : rise_(rise), fall_(fall), state_(start) {}

  /// One probe's result. Returns the state after it.
  Health observe(bool answered);
  Health state() const { return state_; }

 private:
  int rise_, fall_;
  Health state_;
  int answered_ = 0, lost_ = 0;  // in a row
};

/// How far a drain is: new flows leave at once, old ones have until it is done.
enum class Drain : std::uint8_t { none, draining, done };

/// What the plan needs to know of one tunnel towards one peer.
struct TunnelHealth {
  Health state = Health::unknown;
  bool connected = false;  // a session lives: it is down by probes alone
  Drain drain = Drain::none;
  unsigned share = 100;       // percent of its weight: a returning tunnel starts slowly
  bool may_fail_back = true;  // it may take over from a lower tier again
  unsigned mtu = 0;           // what its path carries, where that is less than its device's MTU

  bool operator==(const TunnelHealth&) const = default;
};

/// By peer, then by tunnel.
using HealthTable = std::map<std::string, std::map<std::string, TunnelHealth>>;

}  // namespace tunorch
