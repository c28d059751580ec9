// Longest-prefix match from addresses to peers: whose a source is, and where a destination goes.
// Pure; one hash table a prefix length in use, so a look-up costs as many probes as there are
// lengths.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "worker/packet.hpp"

namespace tunorch::worker {

class PrefixTable {
 public:
  /// "10.0.0.0/8", or an address alone. False where it is neither. The last owner of a prefix wins.
  bool add(const std::string& prefix, int owner);

  /// The owner of the longest prefix that holds the address, or -1.
  int find(const IpAddress& address) const;

 private:
  struct Hash {
    std::size_t operator()(const IpAddress& address) const;
  };
  struct Level {
    unsigned length;
    std::unordered_map<IpAddress, int, Hash> owners;
  };

  std::vector<Level> levels_[2];  // IPv4, IPv6; longest first
};

}  // namespace tunorch::worker
