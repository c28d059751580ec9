// WireGuard's keys: an X25519 pair a node (RFC 7748), in files as wg(8) has them. A node needs its
// own private key and the public keys of its peers.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "orchestrator/config/cluster.hpp"

namespace tunorch {

/// As 64 hexadecimal digits, which the UAPI takes; the files have base64.
struct WireGuardKeys {
  std::string private_key;
  std::map<std::string, std::string> public_keys;  // by node
};

/// Whether any tunnel of the cluster needs them.
bool needs_wireguard_keys(const Cluster& cluster);

/// NODE.wg.key (mode 0600) and NODE.wg.pub for each node of a bundle that has WireGuard tunnels; a
/// line for each file, as init_pki() has them.
std::vector<std::string> init_wireguard_keys(const Cluster& cluster);

/// `node`'s own key and its peers' public ones. Throws std::runtime_error naming the file and the
/// remedy.
WireGuardKeys load_wireguard_keys(const std::filesystem::path& dir, const std::string& node,
                                  const std::vector<std::string>& peers);

}  // namespace tunorch
