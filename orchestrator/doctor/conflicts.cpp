// What others on this host do that gets into the tunnels' way.
#include <fmt/format.h>

#include <algorithm>

#include "orchestrator/config/engines.hpp"
#include "orchestrator/config/reserved.hpp"
#include "orchestrator/doctor/judges.hpp"

namespace tunorch {
namespace {

constexpr std::uint32_t main_table = 254;

std::string ip(bool v6) {
  return v6 ? "ip -6" : "ip -4";
}

std::string delete_route(const routing::Route& route) {
  std::string text =
      fmt::format("{} route del {}{} table {}", ip(route.dst.v6),
                  route.type == routing::RouteType::unreachable ? "unreachable " : "",
                  route.dst.text(), route.table);
  if (route.metric != 0) text += fmt::format(" metric {}", route.metric);
  return text + fmt::format(" proto {}", route.protocol);
}

bool is_tunnel_device(const Examined& examined, const routing::Route& route) {
  const auto found = route.nexthops.empty()
                         ? examined.host.network.links.end()
                         : examined.host.network.links.find(route.nexthops.front().dev);
  return found != examined.host.network.links.end() &&
         (found->second.link.kind == "tun" || found->second.link.kind == "wireguard");
}

void judge_route(const Examined& examined, const routing::Route& route, Findings& findings) {
  const std::uint32_t first_metric = route.dst.v6 ? 1024 : 0;  // what ours have
  bool own_table = false;
  for (const DesiredRoute& ours : examined.desired->routes) {
    own_table |= ours.table == route.table && ours.table != main_table;
    if (ours.table != route.table) continue;
    if (ours.dst == route.dst && route.metric <= first_metric) {
      Finding finding{"conflicts.route", Severity::error,
                      "somebody else's route stands in the way: " + route.text()};
      finding.meaning = fmt::format(
          "it has the place of the route to {}; apply refuses to replace "
          "what is not its own",
          ours.peer);
      finding.mend = delete_route(route);
      findings.push_back(finding);
      return;
    }
    if (ours.dst.length > 0 && ours.dst.v6 == route.dst.v6 && ours.dst != route.dst &&
        ours.dst.contains(route.dst) && is_tunnel_device(examined, route)) {
      Finding finding{
          "conflicts.vpn", Severity::note,
          fmt::format("another tunnel has a part of {}: {}", ours.dst.text(), route.text())};
      finding.meaning = fmt::format("packets to there take it and not the bundle to {}", ours.peer);
      finding.mend = delete_route(route);
      findings.push_back(finding);
      return;
    }
  }
  if (!own_table) return;
  Finding finding{"conflicts.table", Severity::warning,
                  "somebody else uses our routing table: " + route.text()};
  finding.meaning = "what the rules send there may take this route";
  finding.mend = delete_route(route);
  findings.push_back(finding);
}

/// 198.18.0.0/15 is for tests of network devices (RFC 2544); other programs borrow it too.
void judge_link_net(const Examined& examined, Findings& findings) {
  for (const DesiredTunnel& tunnel : examined.desired->tunnels) {
    Prefix subnet = tunnel.link_address;
    subnet.length = tunnel.link_length;
    subnet = subnet.network();
    for (const routing::Route& route : examined.host.network.foreign_routes) {
      if (route.dst.v6 || route.dst.length == 0 || route.table != main_table) continue;
      if (!route.dst.contains(subnet) && !subnet.contains(route.dst)) continue;
      Finding finding{
          "conflicts.link-net", Severity::warning,
          fmt::format("{} of tunnel {} is in use: {}", subnet.text(), tunnel.name, route.text())};
      finding.meaning =
          "probes through the tunnels and theirs meet: give link_net another prefix "
          "in the file, or end what has it";
      finding.mend = delete_route(route);
      findings.push_back(finding);
      return;
    }
  }
}

void judge_routes(const Examined& examined, Findings& findings) {
  const std::size_t before = findings.size();
  for (const routing::Route& route : examined.host.network.foreign_routes)
    judge_route(examined, route, findings);
  judge_link_net(examined, findings);
  if (findings.size() == before) add_ok(findings, "conflicts.route", "no routes in the way");
}

void judge_rules(const Examined& examined, Findings& findings) {
  if (examined.desired && examined.desired->rules.empty()) return;
  bool found = false;
  for (const routing::OtherRule& rule : examined.host.network.other_rules) {
    if (rule.preference < own_connections_preference || rule.preference > full_tunnel_preference)
      continue;
    found = true;
    Finding finding{"conflicts.rule", Severity::warning,
                    "somebody else's rule is among ours: " + rule.text()};
    finding.meaning = fmt::format(
        "preferences {} to {} are tunorch's; it may lead packets past "
        "the bundle",
        own_connections_preference, full_tunnel_preference);
    finding.mend = fmt::format("{} rule del pref {}", ip(rule.v6), rule.preference);
    if (rule.protocol != 0) finding.mend += fmt::format(" protocol {}", rule.protocol);
    findings.push_back(finding);
  }
  if (!found) add_ok(findings, "conflicts.rule", "no rules among ours");
}

struct Port {
  bool tcp = true, udp = true;
  std::uint16_t number = 0;
};

std::vector<Port> listening_ports(const Desired& desired) {
  std::vector<Port> ports;
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    const bool rows = tunnel.engine == Engine::native && tunnel.spec.transport == "postgres";
    if (!tunnel.spec.listener || rows) continue;
    const Protocols protocols = protocols_of(tunnel.engine, tunnel.engines);
    ports.push_back({protocols.tcp, protocols.udp, tunnel.spec.port});
  }
  return ports;
}

void judge_ports(const Examined& examined, Findings& findings) {
  bool taken = false;
  const std::vector<Port> ports = listening_ports(*examined.desired);
  for (const ListenerFacts& listener : examined.host.services.listeners) {
    const bool ours = std::ranges::any_of(ports, [&](const Port& port) {
      return port.number == listener.port && (listener.tcp ? port.tcp : port.udp);
    });
    if (!ours) continue;
    taken = true;
    const std::string who = listener.pid == 0
                                ? "a program that cannot be seen"
                                : fmt::format("{} (pid {})", listener.program, listener.pid);
    Finding finding{
        "conflicts.port", Severity::error,
        fmt::format("port {}/{} is taken by {}", listener.port, listener.tcp ? "tcp" : "udp", who)};
    finding.meaning =
        "a tunnel of the file is to listen there: end that, or give the bundle "
        "another port in the file";
    if (!listener.unit.empty())
      finding.mend = "systemctl disable --now " + quoted(listener.unit);
    else if (listener.pid != 0)
      finding.mend = fmt::format("kill {}", listener.pid);
    findings.push_back(finding);
  }
  if (!ports.empty() && !taken) add_ok(findings, "conflicts.port", "the ports are free, or ours");
}

bool lets_in(const std::vector<OpenPorts>& open, bool tcp, std::uint16_t number) {
  return std::ranges::any_of(open, [&](const OpenPorts& ports) {
    return (tcp ? ports.tcp : ports.udp) && ports.first <= number && number <= ports.last;
  });
}

void judge_firewall(const Examined& examined, Findings& findings) {
  const ServiceFacts& services = examined.host.services;
  const bool firewalld = services.running.contains("firewalld");
  if (!services.ufw && !firewalld) return;
  const char* name = services.ufw ? "ufw" : "firewalld";
  const auto& open = services.ufw ? services.ufw_open : services.firewalld_open;
  std::vector<std::string> closed, commands;
  for (const Port& port : listening_ports(*examined.desired))
    for (const bool tcp : {true, false}) {
      if (!(tcp ? port.tcp : port.udp) || lets_in(open, tcp, port.number)) continue;
      closed.push_back(fmt::format("{}/{}", port.number, tcp ? "tcp" : "udp"));
      commands.push_back(services.ufw ? "ufw allow " + closed.back()
                                      : "firewall-cmd --permanent --add-port=" + closed.back());
    }
  if (firewalld && !services.ufw && !closed.empty()) commands.emplace_back("firewall-cmd --reload");
  if (closed.empty()) {
    add_ok(findings, "conflicts.firewall", fmt::format("{} lets the ports in", name));
  } else {
    Finding finding{"conflicts.firewall", Severity::warning,
                    fmt::format("{} is on, and says nothing of {}", name, listed(closed))};
    finding.meaning = "dialers cannot come in";
    finding.mend = listed(commands, " && ");
    findings.push_back(finding);
  }
  const bool forwards = std::ranges::any_of(
      examined.desired->sysctls,
      [](const DesiredSysctl& wanted) { return wanted.setting.key == "net.ipv4.ip_forward"; });
  if (!services.ufw || services.ufw_routes || !forwards) return;
  Finding finding{"conflicts.forwarding", Severity::warning, "ufw drops what is forwarded"};
  finding.meaning = "subnets of this node are not reached through the bundle";
  finding.mend = "ufw default allow routed";
  findings.push_back(finding);
}

void judge_networkd(const Examined& examined, Findings& findings) {
  const ServiceFacts& services = examined.host.services;
  if (!services.running.contains("systemd-network")) return;
  if (services.networkd_keeps_routes && services.networkd_keeps_rules)
    return add_ok(findings, "conflicts.networkd",
                  "systemd-networkd keeps others' routes and rules");
  std::vector<std::string> what;
  if (!services.networkd_keeps_routes) what.emplace_back("routes");
  if (!services.networkd_keeps_rules) what.emplace_back("rules");
  Finding finding{"conflicts.networkd", Severity::warning,
                  "systemd-networkd deletes others' " + listed(what, " and ") + " when it starts"};
  finding.meaning = "the daemon puts them back, but until then packets are lost";
  finding.mend =
      "mkdir -p /etc/systemd/networkd.conf.d && printf '%s\\n' '[Network]' "
      "ManageForeignRoutes=no ManageForeignRoutingPolicyRules=no > "
      "/etc/systemd/networkd.conf.d/90-tunorch.conf && systemctl restart systemd-networkd";
  findings.push_back(finding);
}

void judge_network_manager(const Examined& examined, Findings& findings) {
  if (!examined.host.services.running.contains("NetworkManager") || !examined.desired) return;
  std::string wanted;
  for (const DesiredBundle& bundle : examined.desired->bundles) {
    const std::string devices = "interface-name:" + bundle.name + "-*";
    if (examined.host.services.unmanaged_devices.find(devices) == std::string::npos)
      wanted += (wanted.empty() ? "" : ";") + devices;
  }
  if (wanted.empty())
    return add_ok(findings, "conflicts.networkmanager", "NetworkManager leaves our devices alone");
  Finding finding{"conflicts.networkmanager", Severity::note,
                  "NetworkManager is not told to leave the tunnels' devices alone"};
  finding.meaning = "it shows them as connections, and who ends one there ends a tunnel";
  finding.mend = fmt::format(
      "printf '%s\\n' '[keyfile]' 'unmanaged-devices+={}' > "
      "/etc/NetworkManager/conf.d/90-tunorch.conf && nmcli general reload conf",
      wanted);
  findings.push_back(finding);
}

}  // namespace

void judge_conflicts(const Examined& examined, Findings& findings) {
  if (examined.desired) judge_ports(examined, findings);
  if (examined.desired) judge_routes(examined, findings);
  judge_rules(examined, findings);
}

void judge_services(const Examined& examined, Findings& findings) {
  judge_networkd(examined, findings);
  judge_network_manager(examined, findings);
  if (examined.desired) judge_firewall(examined, findings);
}

}  // namespace tunorch
