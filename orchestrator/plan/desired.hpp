// What one node should have, picked from a cluster: devices, addresses, settings, workers, routes.
// Pure data and pure selection; it neither reads the kernel nor knows what is there now.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/config/cluster.hpp"
#include "orchestrator/config/reserved.hpp"
#include "orchestrator/pki/node_keys.hpp"
#include "orchestrator/plan/launch.hpp"
#include "protocol/worker.hpp"
#include "routing/link.hpp"
#include "routing/nft.hpp"
#include "routing/route.hpp"
#include "routing/rule.hpp"
#include "routing/sysctl.hpp"

namespace tunorch {

struct DesiredSysctl {
  routing::Sysctl setting;
  bool required = true;     // false: tuning; where it cannot be written that is said, and we go on
  std::string device = {};  // a device of ours it belongs to (it vanishes with it); empty: global
};

struct DesiredTunnel {
  std::string name;  // the device's and the worker's: <bundle>-<id>
  unsigned weight = 1;
  routing::Tun tun;
  std::uint32_t nexthop_id = 0;
  Engine engine = Engine::native;
  worker::Spec spec;     // without keys; with_keys() adds them
  std::string endpoint;  // the listener's outer address
  std::string dialer;    // the dialer's, where there is one and it has an endpoint
  EngineOptions engines;
  Launch launch;  // of the other engines; without keys it is empty
  RestartOptions restart;
  HealthOptions health;
  FailbackOptions failback;
  Prefix link_address;                       // ours in the tunnel's link subnet
  std::uint8_t link_length = 24;             // of that subnet
  std::map<std::string, Prefix> link_peers;  // theirs, by node
  bool carries_v6 = false;
  std::optional<Prefix> inner4;  // source of probes to targets behind the peer
};

struct DesiredMember {
  std::string tunnel;
  unsigned weight = 1;
  unsigned priority = 100;
};

/// The tunnels of a bundle towards one peer. Which of them carry follows from their health.
struct DesiredGroup {
  std::uint32_t id = 0;  // of its nexthop group; id + 1 is used while the buckets change
  std::string bundle, peer;
  std::vector<DesiredMember> members;  // sorted by tunnel
  unsigned mtu = 0;                    // the smallest of its tunnels', where they differ
  Prefix gateway6;                     // IPv6 multipath needs one (a group does not)
  int min_live = 1;
  BalanceOptions balance;
};

/// A prefix behind a peer.
struct DesiredRoute {
  Prefix dst;
  std::optional<Prefix> src;
  std::uint32_t table = 254;  // main
  std::string peer;           // its group's
  bool fallback = true;       // an `unreachable` route below it (all_down: unreachable)
};

struct DesiredBundle {
  std::string name;
  bool listener = false;
  std::vector<std::string> peers;
  std::vector<std::string> tunnels;
};

struct Desired {
  std::string cluster;  // empty: nothing is desired (down)
  std::string node;
  std::uint8_t protocol = 116;
  std::vector<DesiredSysctl> sysctls;
  std::vector<routing::Address> addresses;
  std::vector<DesiredTunnel> tunnels;
  std::vector<DesiredGroup> groups;  // one per peer
  std::vector<DesiredRoute> routes;
  std::vector<routing::Rule> rules;
  std::optional<routing::NftTable> nft_table;
  std::vector<DesiredBundle> bundles;
  std::optional<CertificateEnds> certificate_ends;  // nothing: no keys were loaded
  std::optional<SocketAddress> metrics;
  bool forwards_v6 = false;  // then router advertisements need accept_ra = 2 to be kept

  const DesiredTunnel* find_tunnel(const std::string& name) const;
  const DesiredGroup* find_group(const std::string& peer) const;
  /// Whether everything without a better route goes into a bundle (a /0).
  bool full_tunnel() const;
  /// Whether any address or route of it is an IPv6 one.
  bool needs_ipv6() const;
};

/// Throws std::runtime_error where the cluster has no such node.
Desired desired_for(const Cluster& cluster, const std::string& node);

}  // namespace tunorch
