#include "orchestrator/config/outline.hpp"

#include <fmt/format.h>

namespace tunorch {
namespace {

using nlohmann::json;

/// What a firewall has to let in. What a program of somebody else's listens with is its own matter.
json protocols_of(const Bundle& bundle, const Tunnel& tunnel) {
  switch (tunnel.engine) {
    case Engine::native:
      return tunnel.transport == "postgres" ? json::array() : json{"tcp"};
    case Engine::openvpn:
      return bundle.openvpn.tcp ? json{"tcp"} : json{"udp"};
    case Engine::wireguard:
      return {"udp"};
    case Engine::command:
      break;
  }
  return {"tcp", "udp"};
}

}  // namespace

json outline(const Cluster& cluster) {
  json nodes = json::object();
  for (const Node& node : cluster.nodes)
    nodes[node.name] = {{"listens", json::array()}, {"dials", json::array()}};
  for (const Bundle& bundle : cluster.bundles) {
    for (const std::string& dialer : bundle.dial) nodes[dialer]["dials"].push_back(bundle.name);
    for (const Tunnel& tunnel : bundle.tunnels)
      if (const json protocols = protocols_of(bundle, tunnel); !protocols.empty())
        nodes[bundle.listen]["listens"].push_back(
            {{"bundle", bundle.name},
             {"tunnel", fmt::format("{}-{}", bundle.name, tunnel.id)},
             {"protocols", protocols},
             {"port", bundle.port + tunnel.id}});
  }
  return {{"cluster", cluster.name}, {"nodes", nodes}};
}

}  // namespace tunorch
