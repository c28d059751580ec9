// A small cluster for tests of the pure parts: a gateway, two edges, one bundle of four tunnels.
#pragma once

#include "orchestrator/config/cluster.hpp"

namespace tunorch {

inline Prefix prefix(const char* text) {
  return *Prefix::parse(text);
}

inline Cluster sample_cluster() {
  Cluster cluster;
  cluster.name = "demo";
  cluster.link_net = prefix("198.18.0.0/15");
  cluster.nodes = {
      {"gateway",
       {"203.0.113.10"},
       {prefix("10.77.0.1"), prefix("fd77::1")},
       {prefix("10.20.0.0/16")},
       "",
       1},
      {"edge", {}, {prefix("10.77.0.2"), prefix("fd77::2")}, {prefix("192.168.50.0/24")}, "", 2},
      {"branch", {}, {prefix("10.77.0.3")}, {}, "", 3},
  };
  Bundle bundle;
  bundle.name = "backbone";
  bundle.listen = "gateway";
  bundle.dial = {"edge", "branch"};
  for (int id = 0; id < 4; ++id)
    bundle.tunnels.push_back({id, id == 0 ? 3u : 1u, "", 100, static_cast<std::uint32_t>(14 + id)});
  cluster.bundles = {bundle};
  cluster.tuning.profile = "none";
  cluster.pki_dir = "/nowhere";
  return cluster;
}

}  // namespace tunorch
