// A cluster file as plain structs, every default filled in and every bound already checked.
// Holds data; config.cpp makes it from YAML, desired.cpp picks a node's part from it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "routing/prefix.hpp"

namespace tunorch {

using routing::Prefix;
using std::chrono::milliseconds;

struct Node {
  std::string name;
  std::vector<std::string> endpoints;  // IP literals; tunnel k uses endpoints[k mod size]
  std::vector<Prefix> inner;           // host prefixes on lo; the first of a family is `src`
  std::vector<Prefix> subnets;         // what can be reached through this node
  std::string masquerade;              // device; empty: none
  std::uint32_t link_host = 0;         // host number in every link subnet (hash of name, or given)
};

struct Tunnel {
  int id = 0;              // device <bundle>-<id>, port + id
  unsigned weight = 1;     // 1…256
  std::string bind;        // dialer: local IP literal or device; empty: any
  std::uint32_t slot = 0;  // which link subnet: (port + id) mod 64
};

struct LinkOptions {
  unsigned mtu = 1500;
  unsigned txqueuelen = 500;
};

struct SocketOptions {
  std::uint32_t sndbuf_bytes = 0;  // 0: auto
  std::uint32_t rcvbuf_bytes = 0;
  std::string congestion = "auto";
};

struct HealthOptions {
  milliseconds interval{200};
  milliseconds timeout{300};
  int rise = 3;
  int fall = 3;
};

struct RestartOptions {
  milliseconds backoff{200};
  milliseconds max_backoff{30000};
  int quarantine_after = 10;
};

enum class AllDown : std::uint8_t { unreachable, withdraw };

struct Bundle {
  std::string name;
  std::string listen;             // node
  std::vector<std::string> dial;  // nodes
  std::vector<Tunnel> tunnels;
  std::uint16_t port = 4430;
  std::string cipher = "auto";
  int streams = 1;
  LinkOptions link;
  SocketOptions sockets;
  HealthOptions health;
  std::string hash = "l4";  // l3 | l4
  int min_live = 1;
  RestartOptions restart;
  AllDown all_down = AllDown::unreachable;
  bool isolate = true;
};

struct Tuning {
  std::string profile = "balanced";           // balanced | none
  std::map<std::string, std::string> sysctl;  // explicit keys; they beat the profile
  std::optional<std::chrono::seconds> conntrack_udp_timeout;
  std::optional<std::chrono::seconds> conntrack_tcp_time_wait;
};

struct Cluster {
  std::string name;
  std::uint8_t protocol = 116;
  Prefix link_net;              // 198.18.0.0/15
  std::vector<Node> nodes;      // in the file's order
  std::vector<Bundle> bundles;  // in the file's order
  Tuning tuning;
  std::string pki_dir;  // absolute

  const Node* find_node(const std::string& name) const {
    for (const Node& node : nodes)
      if (node.name == name) return &node;
    return nullptr;
  }
};

}  // namespace tunorch
