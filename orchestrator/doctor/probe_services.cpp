// Other programs that manage networks here, and what their files say; programs of other engines.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "orchestrator/config/engines.hpp"
#include "orchestrator/doctor/probe.hpp"

namespace tunorch {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// A main file, then its drop-ins in the order of their names, where /etc's hides another folder's
/// of the same name (systemd.unit(5), NetworkManager.conf(5)).
std::vector<std::string> lines_with_drop_ins(const std::vector<fs::path>& mains,
                                             const std::vector<fs::path>& folders) {
  std::vector<std::string> lines;
  for (const fs::path& main : mains) {
    std::error_code none;
    if (!fs::exists(main, none)) continue;
    lines = lines_of(main);
    break;
  }
  std::map<std::string, fs::path> drop_ins;
  for (const fs::path& folder : folders) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder, none))
      if (entry.path().extension() == ".conf")
        drop_ins.emplace(entry.path().filename(), entry.path());
  }
  for (const auto& [name, path] : drop_ins)
    std::ranges::copy(lines_of(path), std::back_inserter(lines));
  return lines;
}

/// KEY=no, the last word on it counting. The default is yes (networkd.conf(5)).
bool is_off(const std::vector<std::string>& lines, const std::string& key) {
  bool off = false;
  for (const std::string& line : lines)
    if (line.starts_with(key + "=")) {
      const std::string value = line.substr(key.size() + 1);
      off = value == "no" || value == "false" || value == "0" || value == "off";
    }
  return off;
}

void probe_networkd(ServiceFacts& services) {
  const auto lines =
      lines_with_drop_ins({"/etc/systemd/networkd.conf", "/run/systemd/networkd.conf",
                           "/usr/lib/systemd/networkd.conf"},
                          {"/etc/systemd/networkd.conf.d", "/run/systemd/networkd.conf.d",
                           "/usr/lib/systemd/networkd.conf.d"});
  services.networkd_keeps_routes = is_off(lines, "ManageForeignRoutes");
  services.networkd_keeps_rules = is_off(lines, "ManageForeignRoutingPolicyRules");
}

void probe_network_manager(ServiceFacts& services) {
  const auto lines =
      lines_with_drop_ins({"/etc/NetworkManager/NetworkManager.conf"},
                          {"/etc/NetworkManager/conf.d", "/run/NetworkManager/conf.d",
                           "/usr/lib/NetworkManager/conf.d"});
  for (const std::string& line : lines)
    if (line.starts_with("unmanaged-devices")) services.unmanaged_devices += line + ';';
}

OpenPorts open_ports(const std::string& protocol, const std::string& range) {
  OpenPorts open{protocol != "udp", protocol != "tcp"};
  open.first = open.last = static_cast<std::uint16_t>(std::atoi(range.c_str()));
  if (const auto mark = range.find_first_of(":-"); mark != std::string::npos)
    open.last = static_cast<std::uint16_t>(std::atoi(range.c_str() + mark + 1));
  return open;
}

void probe_ufw(ServiceFacts& services) {
  for (const std::string& line : lines_of("/etc/ufw/ufw.conf"))
    if (line == "ENABLED=yes") services.ufw = true;
  for (const std::string& line : lines_of("/etc/default/ufw"))
    if (line.starts_with("DEFAULT_FORWARD_POLICY=") && line.find("ACCEPT") != std::string::npos)
      services.ufw_routes = true;
  static const std::regex tuple(R"(^### tuple ### allow (tcp|udp|any) (\S+) .* in$)");
  std::smatch match;
  for (const std::string& line : lines_of("/etc/ufw/user.rules")) {
    if (!std::regex_search(line, match, tuple)) continue;
    std::istringstream ranges(match[2]);
    if (match[2] == "any") services.ufw_open.push_back({true, true, 0, 65535});
    for (std::string range; std::getline(ranges, range, ',');)
      if (range != "any") services.ufw_open.push_back(open_ports(match[1], range));
  }
}

void probe_firewalld(ServiceFacts& services) {
  static const std::regex port(R"rx(<port port="([0-9-]+)" protocol="(tcp|udp)"/>)rx");
  std::error_code none;
  for (const auto& entry : fs::directory_iterator("/etc/firewalld/zones", none))
    for (const std::string& line : lines_of(entry.path())) {
      std::smatch match;
      if (std::regex_search(line, match, port))
        services.firewalld_open.push_back(open_ports(match[2], match[1]));
    }
}

bool in_path(const std::string& program) {
  if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  return false;
}

}  // namespace

void probe_services(const ProbeRequest& request, HostFacts& host) {
  ServiceFacts& services = host.services;
  for (const int pid : processes_here()) services.running.insert(process_name(pid));
  probe_networkd(services);
  probe_network_manager(services);
  probe_ufw(services);
  probe_firewalld(services);
  if (!request.desired) return;
  for (const DesiredTunnel& tunnel : request.desired->tunnels) {
    const std::string program = program_of(tunnel.engine, tunnel.engines, tunnel.spec.listener);
    if (!program.empty() && in_path(program)) services.programs.insert(program);
  }
}

}  // namespace tunorch
