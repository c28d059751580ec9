// A cluster file: whatever its bytes are, it gives a cluster or its problems. Of a cluster every
// node's plan can be made, and leads to where nothing is left to do.
#include <map>
#include <string>

#include "orchestrator/config/load.hpp"
#include "orchestrator/config/outline.hpp"
#include "orchestrator/config/problem.hpp"
#include "orchestrator/engines/command.hpp"
#include "orchestrator/engines/openvpn.hpp"
#include "orchestrator/plan/plan.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace tunorch;

/// Above that planning takes long without anything new in it.
constexpr std::size_t most_tunnels = 200, most_nodes = 24;

Observed bare_machine(const Cluster& cluster, const Desired& desired, bool nexthops) {
  Observed observed;
  observed.abilities = {nexthops, nexthops, nexthops, nexthops ? "" : "not here"};
  for (const char* name : {"lo", "eth0"}) {
    routing::Link link;
    link.name = name;
    link.admin_up = true;
    observed.links.push_back(link);
  }
  for (const Node& node : cluster.nodes) {
    if (node.masquerade.empty()) continue;
    observed.links.push_back(observed.links.back());
    observed.links.back().name = node.masquerade;
  }
  for (const std::string& key : sysctl_keys(desired, {})) observed.sysctls[key] = {"0", true, {}};
  return observed;
}

void perform(Observed& observed, const Plan& plan) {
  for (const Step& step : plan.steps) {
    require(!describe(step).empty() && !describe(inverse(step)).empty());
    record(observed, step);
  }
}

/// Cold, then with every worker running and every tunnel up, then with one down, then all gone.
void plan_node(const Cluster& cluster, const std::string& node, bool nexthops) {
  const Desired desired = desired_for(cluster, node);
  Observed observed = bare_machine(cluster, desired, nexthops);
  const Plan cold = make_plan(desired, observed, {});
  if (!cold.conflicts.empty()) return;  // a device of the file's has the name of one that is there
  perform(observed, cold);
  require(make_plan(desired, observed, {}).empty());
  for (auto& [tunnel, worker] : observed.workers) worker.state = WorkerState::running;
  for (routing::Link& link : observed.links) link.carrier = true;
  HealthTable health = all_up(desired);
  perform(observed, make_plan(desired, observed, health));
  require(make_plan(desired, observed, health).empty());
  for (auto& [peer, tunnels] : health) tunnels.begin()->second = {Health::down};
  for (const Step& step : make_multipath_plan(desired, observed, health)) record(observed, step);
  require(make_multipath_plan(desired, observed, health).empty());
  Desired nothing;
  nothing.protocol = desired.protocol;
  perform(observed, make_plan(nothing, observed, {}));
  require(make_plan(nothing, observed, {}).empty());
  require(observed.multipath.routes.empty() && observed.multipath.groups.empty());
  require(observed.multipath.rules.empty() && observed.multipath.nexthops.empty());
}

void launch_engines(const Cluster& cluster, const std::string& node) {
  for (const DesiredTunnel& tunnel : desired_for(cluster, node).tunnels) {
    if (tunnel.engine == Engine::openvpn) openvpn_launch(tunnel, "/run/x", {"ca", "crt", "key"});
    if (tunnel.engine != Engine::command) continue;
    std::map<std::string, std::string> copies;
    for (const auto& [name, path] : command_copies(tunnel, "/run/x")) copies[name] = "text";
    command_launch(tunnel, "/run/x", copies);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Cluster cluster;
  try {
    cluster = parse_cluster(std::string(text_of(data, size)), "cluster.yaml", "/etc/tunorch");
  } catch (const ConfigError& error) {
    require(!error.problems().empty());
    for (const Problem& problem : error.problems())
      require(!problem.message.empty() && problem.line >= 0 && problem.column >= 0);
    return 0;
  }
  require(!cluster.nodes.empty() && !cluster.bundles.empty());
  require(!outline(cluster).dump().empty());
  std::size_t tunnels = 0;
  for (const Bundle& bundle : cluster.bundles) tunnels += bundle.tunnels.size();
  if (tunnels > most_tunnels || cluster.nodes.size() > most_nodes) return 0;
  for (const Node& node : cluster.nodes) {
    for (const bool nexthops : {false, true}) plan_node(cluster, node.name, nexthops);
    launch_engines(cluster, node.name);
  }
  return 0;
}
