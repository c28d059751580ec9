#include "orchestrator/config/outline.hpp"

#include <fmt/format.h>

#include "orchestrator/config/engines.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

/// What a firewall has to let in.
json words_of(const Bundle& bundle, const Tunnel& tunnel) {
  json words = json::array();
  if (tunnel.engine == Engine::native && tunnel.transport == "postgres") return words;
  const Protocols protocols = protocols_of(tunnel.engine, bundle.engines);
  if (protocols.tcp) words.push_back("tcp");
  if (protocols.udp) words.push_back("udp");
  return words;
}

}  // namespace

json outline(const Cluster& cluster) {
  json nodes = json::object();
  for (const Node& node : cluster.nodes)
    nodes[node.name] = {{"listens", json::array()}, {"dials", json::array()}};
  for (const Bundle& bundle : cluster.bundles) {
    for (const std::string& dialer : bundle.dial) nodes[dialer]["dials"].push_back(bundle.name);
    for (const Tunnel& tunnel : bundle.tunnels)
      if (const json protocols = words_of(bundle, tunnel); !protocols.empty())
        nodes[bundle.listen]["listens"].push_back(
            {{"bundle", bundle.name},
             {"tunnel", fmt::format("{}-{}", bundle.name, tunnel.id)},
             {"protocols", protocols},
             {"port", bundle.port + tunnel.id}});
  }
  return {{"cluster", cluster.name}, {"nodes", nodes}};
}

}  // namespace tunorch
