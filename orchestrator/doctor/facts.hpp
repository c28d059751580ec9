// What a host is like, as far as tunnels care: plain data that probe.cpp reads off the
// machine and the judgements of doctor.hpp are made from. Holds no opinion.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "orchestrator/config/cluster.hpp"
#include "routing/link.hpp"
#include "routing/route.hpp"
#include "routing/rule.hpp"

namespace tunorch {

/// Something that was tried in a network namespace of its own.
struct Trial {
  bool tried = false;
  std::string problem;  // the kernel's words; empty: it works

  bool works() const { return tried && problem.empty(); }
  bool fails() const { return tried && !problem.empty(); }
};

struct KernelFacts {
  bool tun_node = false;  // /dev/net/tun exists
  Trial tun;              // many queues, virtio headers, segmentation offload
  Trial multipath4, multipath6;
  Trial nexthops;                              // resilient groups
  Trial nftables;                              // NAT, sets of devices
  Trial steering;                              // an eBPF program on a TUN
  bool ipv6 = false;                           // the kernel has it
  std::map<std::string, bool> ipv6_disabled;   // by device, `all` and `default` too
  std::set<std::string> congestion_available;  // net.ipv4.tcp_*_congestion_control
  std::set<std::string> congestion_allowed;    // what unprivileged workers may take
  bool bbr_module = false;                     // modprobe would find it
  std::string default_qdisc;                   // empty: not to be seen here
};

struct SettingFacts {
  std::string key;
  std::optional<std::string> value;  // nothing: it does not exist here
  bool writable = false;
};

struct LimitFacts {
  std::uint64_t files = 0;          // RLIMIT_NOFILE, soft; nothing raises it
  std::uint64_t memlock_bytes = 0;  // RLIMIT_MEMLOCK
  std::uint64_t processes = 0;  // the least of RLIMIT_NPROC, pid_max, threads-max, cgroup pids.max
  std::uint64_t memory_bytes = 0;                        // MemAvailable
  std::uint64_t oom_kills = 0;                           // since boot
  std::uint64_t rmem_max_bytes = 0, wmem_max_bytes = 0;  // 0: not to be seen here
};

struct ClockFacts {
  std::int64_t now = 0;      // seconds since 1970
  Trial synchronised;        // adjtimex(2); the problem in words
  bool timesyncd = false;    // systemd-timesyncd is installed
  bool random_ready = true;  // getrandom(2) does not block
};

struct CpuFacts {
  std::set<std::string> flags;  // /proc/cpuinfo
  unsigned cores = 1;           // that this process may use
};

/// How packets leave for an address of a peer.
struct WayFacts {
  std::string peer, address;
  int error = 0;         // errno of the lookup
  std::string dev = {};  // empty with an error
  bool gateway = false;  // by a router: not on the link itself
  unsigned mtu = 0;      // the route's own; 0: the device's
};

struct LinkFacts {
  routing::Link link;
  int rp_filter = 0;  // effective: the greater of `all` and the device's
};

struct NetworkFacts {
  std::map<std::string, LinkFacts> links;
  std::vector<routing::Address> addresses;
  std::vector<WayFacts> ways;                  // to peers with a known address
  std::set<std::string> default_devices;       // of default routes in main, both families
  std::vector<routing::Route> foreign_routes;  // of all tables, not ours
  std::vector<routing::OtherRule> other_rules;
};

struct KeyFile {
  std::string path, node;  // node empty: the CA's
  bool secret = false;     // a private key
  bool exists = false;
  unsigned mode = 0;        // permission bits
  std::uint32_t owner = 0;  // uid
  std::string algorithm;    // "EC", "RSA", "ED25519"
  int bits = 0;
  std::string fingerprint;  // of the public key: the same in a key and its certificate
  std::int64_t not_before = 0, not_after = 0;  // of a certificate; seconds since 1970
};

struct KeyFacts {
  std::vector<KeyFile> files;
  std::string problem;  // why the daemon would refuse this node's keys; empty: it takes them
};

/// A socket that listens.
struct ListenerFacts {
  bool tcp = true;
  std::uint16_t port = 0;
  int pid = 0;          // 0: not to be seen
  std::string program;  // its name
  std::string unit;     // of systemd; empty: none
};

struct OpenPorts {
  bool tcp = true, udp = true;
  std::uint16_t first = 0, last = 0;
};

struct ServiceFacts {
  std::set<std::string> running;  // process names in this network namespace, 15 characters at most
  bool networkd_keeps_routes = false, networkd_keeps_rules = false;  // ManageForeign…=no
  std::string unmanaged_devices;  // NetworkManager's unmanaged-devices
  bool ufw = false;
  bool ufw_routes = false;  // it lets forwarded packets through
  std::vector<OpenPorts> ufw_open, firewalld_open;
  std::vector<ListenerFacts> listeners;
  std::set<std::string> programs;  // of other engines: those that were found in $PATH
};

struct HostFacts {
  bool root = false;
  bool container = false;
  std::vector<std::string> unseen;  // "WHAT: WHY"
  KernelFacts kernel;
  std::vector<SettingFacts> settings;
  LimitFacts limits;
  ClockFacts clock;
  CpuFacts cpu;
  NetworkFacts network;
  KeyFacts keys;
  ServiceFacts services;
};

}  // namespace tunorch
