// A cluster file as plain structs, every default filled in and every bound already checked.
// Holds data; config/load makes it from YAML, plan/desired picks a node's part from it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocol/worker.hpp"
#include "routing/prefix.hpp"

namespace tunorch {

using routing::Prefix;
using std::chrono::milliseconds;

/// Where a TCP socket listens.
struct SocketAddress {
  std::string address;  // an IP literal
  std::uint16_t port = 0;

  bool operator==(const SocketAddress&) const = default;
  /// "127.0.0.1:9810", "[::1]:9810".
  std::string text() const;
};

struct Node {
  std::string name;
  std::vector<std::string> endpoints;  // IP literals; tunnel k uses endpoints[k mod size]
  std::vector<Prefix> inner;           // host prefixes on lo; the first of a family is `src`
  std::vector<Prefix> subnets;         // what can be reached through this node
  std::string masquerade;              // device; empty: none
  std::uint32_t link_host = 0;         // host number in every link subnet (hash of name, or given)
  std::optional<SocketAddress> metrics = {};  // where metrics and the page are served
};

/// What kind of process serves a tunnel.
enum class Engine : std::uint8_t { native, openvpn, wireguard, command };

const char* to_string(Engine engine);

struct OpenVpnOptions {
  std::string binary = "openvpn";  // in $PATH, or a path
  bool tcp = false;
  std::string ciphers;  // as --data-ciphers takes them
  std::vector<std::string> extra_args;
};

struct WireGuardOptions {
  std::string binary = "wireguard-go";
  std::chrono::seconds keepalive{5};  // of dialers
};

/// Any program. Words and files may hold {dev}, {port} and so on: config/template.hpp lists them.
struct CommandOptions {
  std::vector<std::string> listen, dial;      // words; the first is the program
  std::map<std::string, std::string> files;   // by name, in the tunnel's folder
  std::map<std::string, std::string> copies;  // by name in that folder: paths of files of the host
  std::string ready;  // a part of a line it prints; empty: carrier is enough
  std::string stop_signal = "TERM";
  std::vector<std::string> health;  // words; exit status 0 is healthy; empty: none
  bool as_root = false;             // else as the tunnel's own user
};

/// Where the packets of one direction are kept.
struct Database {
  std::string url;  // as libpq takes it, without a password
  std::string schema = "tunorch";
};

struct PostgresOptions {
  Database up, down;  // dialer to listener, and back
  std::chrono::seconds keep{3600};
  bool sync = false;
};

/// Of every engine but our own worker; those of an engine that serves nothing are only unused.
struct EngineOptions {
  OpenVpnOptions openvpn;
  WireGuardOptions wireguard;
  CommandOptions command;
};

struct Tunnel {
  int id = 0;               // device <bundle>-<id>, port + id
  unsigned weight = 1;      // 1…256
  std::string bind;         // dialer: local IP literal or device; empty: any
  unsigned priority = 100;  // 1…255; a lower tier carries only while too few above it live
  std::uint32_t slot = 0;   // which link subnet: (port + id) mod 64
  Engine engine = Engine::native;
  unsigned mtu = 1500;            // bytes
  std::string transport = "tls";  // of the native engine: tls | postgres
};

struct LinkOptions {
  std::optional<unsigned> txqueuelen;  // packets; the profile's unless given
  std::string offload = "auto";        // auto | tso | none
};

struct HealthOptions {
  milliseconds interval{200};
  milliseconds timeout{300};
  int rise = 3;
  int fall = 3;
  std::vector<std::string> targets;  // IP literals probed through each tunnel; often none
  int quorum = 1;                    // how many targets must answer
  milliseconds slow_start{10000};    // a returning tunnel's way to its full weight; 0: at once
  milliseconds damping{30000};       // longest hold of a flapping tunnel; 0: none
};

enum class BalanceMode : std::uint8_t { automatic, resilient, hash };

struct BalanceOptions {
  BalanceMode mode = BalanceMode::automatic;
  std::string hash = "l4";           // l3 | l4
  std::uint16_t buckets = 256;       // of a resilient group
  milliseconds idle_timer{1000};     // a bucket unused this long may move
  milliseconds unbalanced_timer{0};  // after this long busy buckets move too; 0: never
};

/// What happens when tunnels of a higher priority are back.
enum class FailbackPolicy : std::uint8_t { now, hold, manual };

struct FailbackOptions {
  FailbackPolicy policy = FailbackPolicy::now;
  milliseconds hold{30000};  // of `hold`: how long they must have been up
};

/// Which packets take the bundle, where not all that match its routes: with a table the routes go
/// there instead of main, and rules lead to it.
struct PolicyOptions {
  std::uint32_t table = 0;   // 0: none
  std::vector<Prefix> from;  // source prefixes
  std::uint32_t fwmark = 0;  // 0: none
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
  Engine engine = Engine::native;  // of tunnels that name none
  EngineOptions engines;
  PostgresOptions postgres;
  LinkOptions link;
  worker::SocketOptions sockets;
  HealthOptions health;
  BalanceOptions balance;
  FailbackOptions failback;
  PolicyOptions policy;
  int min_live = 1;
  RestartOptions restart;
  AllDown all_down = AllDown::unreachable;
  bool isolate = true;
};

struct Tuning {
  std::string profile = "balanced";           // balanced | throughput | none
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
