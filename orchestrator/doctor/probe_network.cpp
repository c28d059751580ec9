// Links, addresses, routes and rules of this network namespace, and who listens in it.
#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <system_error>

#include "orchestrator/config/reserved.hpp"
#include "orchestrator/doctor/probe.hpp"
#include "routing/netlink.hpp"
#include "routing/sysctl.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;
using routing::Netlink;
using routing::Route;

int setting(const std::string& key) {
  const auto value = routing::read_sysctl(key);
  return value ? std::atoi(value->c_str()) : 0;
}

/// ip-sysctl.rst: the greater of the two counts.
int rp_filter(std::string dev) {
  std::ranges::replace(dev, '.', '/');
  return std::max(setting("net.ipv4.conf.all.rp_filter"),
                  setting("net.ipv4.conf." + dev + ".rp_filter"));
}

bool leaves_by_ours(const NetworkFacts& network, const Route& route) {
  return std::ranges::any_of(route.nexthops, [&](const routing::Nexthop& nexthop) {
    const auto link = network.links.find(nexthop.dev);
    return link != network.links.end() && link->second.link.alias.starts_with("tunorch:");
  });
}

WayFacts way_to(Netlink& netlink, const std::string& peer, const std::string& address,
                std::uint32_t mark) {
  WayFacts way{peer, address};
  routing::FlowKey flow;
  flow.destination = *Prefix::parse(address);
  flow.source.v6 = flow.destination.v6;  // any address; the kernel wants it whole all the same
  flow.source.length = flow.destination.length;
  flow.mark = mark;
  const routing::Decision decision = netlink.decide(flow);
  way.error = decision.error;
  if (way.error != 0) return way;
  way.dev = decision.dev;
  if (!decision.route) return way;
  way.mtu = decision.route->mtu;
  for (const routing::Nexthop& nexthop : decision.route->nexthops)
    way.gateway |= nexthop.dev == way.dev && nexthop.gateway.has_value();
  return way;
}

/// To each peer's address, as a tunnel's own connections go there: past a full tunnel.
void probe_ways(const Desired& desired, Netlink& netlink, NetworkFacts& network) {
  std::set<std::string> seen;
  const std::uint32_t mark = desired.full_tunnel() ? own_connections_mark : 0;
  for (const DesiredTunnel& tunnel : desired.tunnels) {
    if (tunnel.spec.transport == "postgres" || tunnel.spec.peers.empty()) continue;
    const std::string& address = tunnel.spec.listener ? tunnel.dialer : tunnel.endpoint;
    if (address.empty() || !seen.insert(address).second) continue;
    network.ways.push_back(way_to(netlink, tunnel.spec.peers.front().node, address, mark));
  }
}

/// Ours are uids of workers, and what RUNTIME/w/*.process names.
bool is_ours(const Paths& paths, int pid) {
  const std::string name = process_name(pid);
  if (name == "tunorch" || name == "tunorch-worker") return true;
  struct stat status {};
  constexpr std::uint32_t uids = 64;
  if (::stat(fmt::format("/proc/{}", pid).c_str(), &status) == 0 &&
      status.st_uid >= worker_uid_base && status.st_uid < worker_uid_base + uids)
    return true;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(paths.workers(), none))
    if (entry.path().extension() == ".process" &&
        std::atoi(read_text(entry.path()).value_or("").c_str()) == pid)
      return true;
  return false;
}

std::string unit_of(int pid) {
  std::error_code none;
  if (!fs::exists("/run/systemd/system", none)) return "";
  std::ifstream groups(fmt::format("/proc/{}/cgroup", pid));
  for (std::string line; std::getline(groups, line);)
    if (line.ends_with(".service") && line.find("user@") == std::string::npos)
      return line.substr(line.rfind('/') + 1);
  return "";
}

/// Of /proc/net/tcp and the like: the sockets that listen (TCP) or are not connected (UDP).
std::map<std::uint64_t, ListenerFacts> listening(const std::set<std::uint16_t>& ports) {
  std::map<std::uint64_t, ListenerFacts> found;  // by inode
  for (const auto& [table, tcp] : {std::pair{"tcp", true}, std::pair{"tcp6", true},
                                   std::pair{"udp", false}, std::pair{"udp6", false}}) {
    std::ifstream lines(std::string("/proc/net/") + table);
    std::string line;
    std::getline(lines, line);  // its heading
    while (std::getline(lines, line)) {
      std::istringstream stream(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout;
      std::uint64_t inode = 0;
      stream >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
          timeout >> inode;
      const auto port = static_cast<std::uint16_t>(
          std::strtoul(local.substr(local.rfind(':') + 1).c_str(), nullptr, 16));
      // TCP_LISTEN, and TCP_CLOSE for a UDP socket that is only bound (net/tcp_states.h).
      if (state != (tcp ? "0A" : "07") || !ports.contains(port)) continue;
      found[inode] = {tcp, port, 0, "", ""};
    }
  }
  return found;
}

/// Inodes of the sockets a process holds; empty where one may not look.
std::set<std::uint64_t> sockets_of(int pid) {
  std::set<std::uint64_t> inodes;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", pid), none)) {
    std::error_code gone;
    const std::string target = fs::read_symlink(entry.path(), gone);
    if (target.starts_with("socket:[")) inodes.insert(std::strtoull(&target[8], nullptr, 10));
  }
  return inodes;
}

}  // namespace

std::string process_name(int pid) {
  std::string name = read_text(fmt::format("/proc/{}/comm", pid)).value_or("");
  while (name.ends_with('\n')) name.pop_back();
  return name;
}

std::vector<int> processes_here() {
  std::vector<int> pids;
  std::error_code error;
  const std::string here = fs::read_symlink("/proc/self/ns/net", error);
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    int pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc() || end != name.data() + name.size()) continue;
    std::error_code hidden;
    const std::string there = fs::read_symlink(entry.path() / "ns/net", hidden);
    // Who may not look takes it to be here.
    if (hidden == std::errc::permission_denied || there == here) pids.push_back(pid);
  }
  return pids;
}

void probe_network(const ProbeRequest& request, HostFacts& host) {
  NetworkFacts& network = host.network;
  try {
    Netlink netlink(request.desired ? request.desired->protocol : std::uint8_t{116});
    for (const routing::Link& link : netlink.links())
      network.links[link.name] = {link, rp_filter(link.name)};
    network.addresses = netlink.all_addresses();
    network.other_rules = netlink.other_rules();
    const std::uint8_t ours = request.desired ? request.desired->protocol : std::uint8_t{116};
    constexpr std::uint32_t all_tables = 0, main_table = 254;
    for (Route& route : netlink.routes(all_tables)) {
      if (route.protocol == ours || leaves_by_ours(network, route)) continue;
      if (route.table == main_table && route.dst.length == 0)
        for (const routing::Nexthop& nexthop : route.nexthops)
          network.default_devices.insert(nexthop.dev);
      network.foreign_routes.push_back(std::move(route));
    }
    if (request.desired) probe_ways(*request.desired, netlink, network);
  } catch (const std::system_error& error) {
    host.unseen.push_back(std::string("links and routes: ") + error.what());
  }
}

void probe_listeners(const ProbeRequest& request, HostFacts& host) {
  if (!request.desired) return;
  std::set<std::uint16_t> ports;
  for (const DesiredTunnel& tunnel : request.desired->tunnels)
    if (tunnel.spec.listener) ports.insert(tunnel.spec.port);
  auto sockets = listening(ports);
  if (sockets.empty()) return;
  for (const int pid : processes_here())
    for (const std::uint64_t inode : sockets_of(pid)) {
      const auto socket = sockets.find(inode);
      if (socket == sockets.end()) continue;
      if (is_ours(request.paths, pid)) {
        sockets.erase(socket);
        continue;
      }
      socket->second.pid = pid;
      socket->second.program = process_name(pid);
      socket->second.unit = unit_of(pid);
    }
  for (auto& [inode, listener] : sockets) {
    if (listener.pid == 0 && !host.root)
      host.unseen.push_back(fmt::format("who listens on port {}: not permitted", listener.port));
    else
      host.services.listeners.push_back(listener);
  }
}

}  // namespace tunorch
