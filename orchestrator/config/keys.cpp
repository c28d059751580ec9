#include "orchestrator/config/keys.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "orchestrator/config/values.hpp"

namespace tunorch {
namespace {

constexpr std::int64_t ms = 1;
constexpr std::int64_t s = 1000;
constexpr std::int64_t m = 60 * s;
constexpr std::int64_t h = 60 * m;
constexpr std::int64_t KiB = 1024;
constexpr std::int64_t GiB = KiB * KiB * KiB;

// A node's name is a file name in pki.dir (where ca.crt and ca.key stand too) and a dNSName
// (RFC 5280, 4.2.1.6; RFC 1123, 2.1).
constexpr std::string_view node_pattern =
    R"(^(?!ca$)(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$)";
constexpr std::string_view node_text =
    "1 to 63 of a-z, 0-9, '-' and '.', each part beginning and ending with a letter or digit, "
    "and not 'ca'";
// dev_valid_name() in net/core/dev.c accepts more; the rest would need quoting everywhere.
constexpr std::string_view device_pattern = R"(^[A-Za-z0-9_][A-Za-z0-9._@+-]{0,14}$)";
constexpr std::string_view file_pattern =
    "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,63}){0,3}$";
constexpr std::string_view file_text =
    "a file's name, 1 to 64 of letters, digits and . _ -, or a path of up to four";
constexpr std::string_view url_pattern = "^postgres(ql)?://[^\\s]{1,1000}$";
constexpr std::string_view url_text = "as in postgresql://user@host:5432/db";
constexpr std::string_view schema_pattern = "^[a-z_][a-z0-9_]{0,62}$";
constexpr std::string_view schema_text = "1 to 63 of a-z, 0-9 and '_', not beginning with a digit";
constexpr std::string_view program_pattern = R"(^[^\s].{0,254}$)";
constexpr std::string_view program_text = "a program's name or path, at most 255 bytes";
constexpr std::string_view metrics_pattern =
    R"(^(off|([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]):[1-9][0-9]{0,4})$)";
constexpr std::string_view metrics_text =
    "off, or an IP address and a TCP port, as in 127.0.0.1:9810 or [::1]:9810";
constexpr std::string_view device_text = "a device name: 1 to 15 of letters, digits and . _ @ + -";

// clang-format off
constexpr Key table[] = {
  {.path = "cluster", .kind = Kind::text, .pattern = "^[a-z0-9][a-z0-9-]{0,30}$",
   .words = "1 to 31 of a-z, 0-9 and '-', not beginning with '-'", .required = true,
   .sentence = "Name of the cluster; it marks every link that is made."},
  {.path = "protocol", .kind = Kind::integer, .min = 5, .max = 255, .initial = "116",
   .sentence = "Routing protocol number that marks our routes; not one of another daemon."},
  {.path = "link_net", .kind = Kind::prefix, .min = 8, .max = 20, .initial = "198.18.0.0/15",
   .sentence = "IPv4 network, /8 to /20, cut into 64 subnets, one a tunnel, for probes and "
               "gateways only."},
  {.path = "nodes", .kind = Kind::named, .min = 1, .max = 4096, .pattern = node_pattern,
   .words = node_text, .required = true,
   .sentence = "The hosts, by name; each runs the same file and picks its own part."},
  {.path = "bundles", .kind = Kind::named, .min = 1, .max = 256,
   .pattern = "^[a-z][a-z0-9-]{0,10}$",
   .words = "1 to 11 of a-z, 0-9 and '-', beginning with a letter (<bundle>-<k> is a "
                   "device name)",
   .required = true,
   .sentence = "The bundles of parallel tunnels, by name."},
  {.path = "tuning", .sentence = "Kernel settings made while the cluster is applied."},
  {.path = "pki", .sentence = "Where certificates and keys are."},
  {.path = "metrics", .kind = Kind::text, .pattern = metrics_pattern, .words = metrics_text,
   .initial = "off",
   .sentence = "Where each node serves metrics for Prometheus and a page for people, by HTTP and "
               "to whoever can connect: loopback, or an address that only friends reach."},

  {.path = "nodes/*", .sentence = "One host."},
  {.path = "nodes/*/endpoint", .kind = Kind::addresses, .min = 1, .max = 64,
   .sentence = "IP address that others dial, or a list: tunnel k uses address k modulo their "
               "number. A listening node needs one; none unless given."},
  {.path = "nodes/*/inner", .kind = Kind::inner, .min = 1, .max = 64, .required = true,
   .sentence = "The node's own addresses in the bundle; they live on lo, and the first of a "
               "family is the source of all traffic into the bundle."},
  {.path = "nodes/*/subnets", .kind = Kind::subnets, .min = 0, .max = 4096, .initial = "[]",
   .sentence = "Networks that can be reached through this node; 0.0.0.0/0 and ::/0 send everything "
               "that has no better route here."},
  {.path = "nodes/*/masquerade", .kind = Kind::text, .pattern = device_pattern,
   .words = device_text,
   .sentence = "Device behind which traffic that leaves the bundle gets the device's own "
               "address (NAT); none unless given."},
  {.path = "nodes/*/metrics", .kind = Kind::text, .pattern = metrics_pattern,
   .words = metrics_text,
   .sentence = "The same on this node; as the file has it for all unless given."},
  {.path = "nodes/*/link_host", .kind = Kind::integer, .min = 1, .max = (1 << 18) - 2,
   .sentence = "The node's number in every link subnet; made from its name unless given."},

  {.path = "bundles/*", .sentence = "Parallel tunnels to one listening node."},
  {.path = "bundles/*/listen", .kind = Kind::text, .pattern = node_pattern,
   .words = node_text, .required = true,
   .sentence = "The node that accepts the connections."},
  {.path = "bundles/*/dial", .kind = Kind::names, .min = 1, .max = 4096,
   .pattern = node_pattern, .words = node_text, .required = true,
   .sentence = "The nodes that open the connections."},
  {.path = "bundles/*/tunnels", .kind = Kind::tunnels, .min = 1, .max = 64, .unit = "tunnels",
   .initial = "4",
   .sentence = "How many tunnels, or a list with one map a tunnel."},
  {.path = "bundles/*/engine", .kind = Kind::choice, .values = "native|openvpn|wireguard|command",
   .initial = "native", .sentence = "What kind of process serves the tunnels."},
  {.path = "bundles/*/openvpn", .sentence = "Options of the openvpn engine."},
  {.path = "bundles/*/openvpn/binary", .kind = Kind::text, .pattern = program_pattern,
   .words = program_text, .initial = "openvpn", .sentence = "The program, 2.6 or a fork of it."},
  {.path = "bundles/*/openvpn/proto", .kind = Kind::choice, .values = "udp|tcp",
   .initial = "udp", .sentence = "What carries the tunnels."},
  {.path = "bundles/*/openvpn/ciphers", .kind = Kind::text,
   .pattern = "^[A-Z0-9-]{1,40}(:[A-Z0-9-]{1,40}){0,7}$",
   .words = "AEAD ciphers with ':' between them, as --data-ciphers takes them",
   .initial = "AES-128-GCM:AES-256-GCM:CHACHA20-POLY1305",
   .sentence = "Ciphers, the wanted one first."},
  {.path = "bundles/*/openvpn/extra_args", .kind = Kind::command, .min = 0, .max = 64,
   .initial = "[]", .sentence = "Further words of the command line; they beat what is generated."},
  {.path = "bundles/*/wireguard", .sentence = "Options of the wireguard engine."},
  {.path = "bundles/*/wireguard/binary", .kind = Kind::text, .pattern = program_pattern,
   .words = program_text, .initial = "wireguard-go",
   .sentence = "The program, wireguard-go or one with its command line and UAPI socket."},
  {.path = "bundles/*/wireguard/keepalive", .kind = Kind::duration, .min = s, .max = h,
   .initial = "5s",
   .sentence = "Time between the packets that keep a dialer's NAT entry; whole seconds."},
  {.path = "bundles/*/command", .sentence = "Options of the command engine: any program."},
  {.path = "bundles/*/command/listen", .kind = Kind::command, .min = 1, .max = 64,
   .sentence = "The listener's command line, word by word, without a shell; words may hold {dev}, "
               "{port} and what else docs/engines.md lists; needed where the engine is command, "
               "none unless given."},
  {.path = "bundles/*/command/dial", .kind = Kind::command, .min = 1, .max = 64,
   .sentence = "The dialers' command line; needed where the engine is command, none unless "
               "given."},
  {.path = "bundles/*/command/files", .kind = Kind::settings, .min = 0, .max = 64,
   .pattern = file_pattern, .words = file_text,
   .sentence = "Files written into {dir} before it starts, by name, filled in like the command "
               "lines."},
  {.path = "bundles/*/command/copy", .kind = Kind::settings, .min = 0, .max = 64,
   .pattern = file_pattern, .words = file_text,
   .sentence = "Files of the host that are copied into {dir} before it starts, for it alone to "
               "read: keys. By name, with the path, filled in, relative to the cluster file."},
  {.path = "bundles/*/command/ready", .kind = Kind::text, .pattern = "^.{1,255}$",
   .words = "1 to 255 bytes",
   .sentence = "It is ready when it printed a line with this text; when its device has carrier "
               "unless given."},
  {.path = "bundles/*/command/stop", .kind = Kind::choice, .values = "TERM|INT|QUIT|HUP|USR1|USR2",
   .initial = "TERM", .sentence = "Signal that asks it to end; KILL follows after 3 seconds."},
  {.path = "bundles/*/command/health", .kind = Kind::command, .min = 1, .max = 64,
   .sentence = "A command whose exit status says whether the tunnel works (0), run every second; "
               "none unless given."},
  {.path = "bundles/*/command/user", .kind = Kind::choice, .values = "tunnel|root",
   .initial = "tunnel",
   .sentence = "As whom it runs: a user of the tunnel's own, with CAP_NET_ADMIN, or root."},
  {.path = "bundles/*/transport", .kind = Kind::choice, .values = "tls|postgres",
   .initial = "tls",
   .sentence = "What carries the native engine's packets: TLS over TCP, or rows in a database."},
  {.path = "bundles/*/postgres", .sentence = "Options of the postgres transport."},
  {.path = "bundles/*/postgres/url", .kind = Kind::text, .pattern = url_pattern, .words = url_text,
   .sentence = "The database, as libpq takes it; the password stands in ~/.pgpass. Needed where "
               "the transport is postgres, none unless given."},
  {.path = "bundles/*/postgres/schema", .kind = Kind::text, .pattern = schema_pattern,
   .words = schema_text, .initial = "tunorch",
   .sentence = "Schema of the tables that `tunorch-worker postgres-init` made."},
  {.path = "bundles/*/postgres/keep", .kind = Kind::duration, .min = m, .max = 8784 * h,
   .initial = "1h", .sentence = "How long packets are kept; older ones are dropped in parts."},
  {.path = "bundles/*/postgres/sync", .kind = Kind::choice, .values = "on|off", .initial = "off",
   .sentence = "synchronous_commit: on waits for the disk with each batch; off loses the last "
               "moments of the log where the database's host dies, but nothing on the way."},
  {.path = "bundles/*/postgres/down", .sentence = "Where packets to the dialers are kept, if "
               "elsewhere."},
  {.path = "bundles/*/postgres/down/url", .kind = Kind::text, .pattern = url_pattern,
   .words = url_text, .sentence = "Their database; the same unless given."},
  {.path = "bundles/*/postgres/down/schema", .kind = Kind::text, .pattern = schema_pattern,
   .words = schema_text, .sentence = "Their schema; the same unless given."},
  {.path = "bundles/*/port", .kind = Kind::integer, .min = 1, .max = 65535, .initial = "4430",
   .sentence = "Tunnel k listens on port `port` + k, at most 65535."},
  {.path = "bundles/*/cipher", .kind = Kind::choice,
   .values = "auto|aes-128-gcm|chacha20-poly1305", .initial = "auto",
   .sentence = "TLS 1.3 cipher; auto picks by the CPU's features."},
  {.path = "bundles/*/streams", .kind = Kind::integer, .min = 1, .max = 16, .unit = "streams",
   .initial = "1",
   .sentence = "TCP connections, TUN queues and threads in each tunnel; each flow stays on one."},
  {.path = "bundles/*/link", .sentence = "The tunnels' devices."},
  {.path = "bundles/*/link/mtu", .kind = Kind::integer, .min = 1280, .max = 65535,
   .words = "IPv6 needs 1280, RFC 8200", .unit = "bytes",
   .sentence = "MTU of all tunnels; IPv6 needs 1280 (RFC 8200, section 5). 1500 over TCP and 1420 "
               "over UDP and for commands unless given."},
  {.path = "bundles/*/link/txqueuelen", .kind = Kind::integer, .min = 1, .max = 100'000,
   .unit = "packets", .initial = "500",
   .sentence = "Packets a device may queue; a native packet has up to 64 KiB."},
  {.path = "bundles/*/link/offload", .kind = Kind::choice, .values = "auto|tso|none",
   .initial = "auto",
   .sentence = "Packets of up to 64 KiB that the kernel hands over; auto is TCP, and UDP from "
               "Linux 6.2; none is slow."},
  {.path = "bundles/*/sockets", .sentence = "The tunnels' outer TCP connections."},
  {.path = "bundles/*/sockets/sndbuf", .kind = Kind::size, .min = 4 * KiB, .max = GiB,
   .initial = "auto", .sentence = "SO_SNDBUF of the connections; auto leaves it to the kernel."},
  {.path = "bundles/*/sockets/rcvbuf", .kind = Kind::size, .min = 4 * KiB, .max = GiB,
   .initial = "auto", .sentence = "SO_RCVBUF of the connections; auto leaves it to the kernel."},
  {.path = "bundles/*/sockets/congestion", .kind = Kind::text, .pattern = "^[a-z0-9_]{1,15}$",
   .words = "auto, or 1 to 15 of a-z, 0-9 and '_'", .initial = "auto",
   .sentence = "TCP congestion control of the connections; auto is bbr where the kernel has it."},
  {.path = "bundles/*/health", .sentence = "When a tunnel is up or down."},
  {.path = "bundles/*/health/interval", .kind = Kind::duration, .min = 10 * ms, .max = 2 * s,
   .initial = "200ms", .sentence = "Time between two probes of a tunnel."},
  {.path = "bundles/*/health/timeout", .kind = Kind::duration, .min = 10 * ms, .max = m,
   .initial = "300ms", .sentence = "A probe unanswered for so long is lost."},
  {.path = "bundles/*/health/rise", .kind = Kind::integer, .min = 1, .max = 100,
   .unit = "probes", .initial = "3",
   .sentence = "Answered probes in a row that bring a tunnel up."},
  {.path = "bundles/*/health/fall", .kind = Kind::integer, .min = 1, .max = 100,
   .unit = "probes", .initial = "3",
   .sentence = "Lost probes in a row that take a tunnel down."},
  {.path = "bundles/*/health/targets", .kind = Kind::addresses, .min = 0, .max = 16,
   .sentence = "IPv4 addresses behind the peer that are probed (ICMP echo) through each tunnel; "
               "none unless given."},
  {.path = "bundles/*/health/quorum", .kind = Kind::integer, .min = 1, .max = 16,
   .unit = "targets", .initial = "1",
   .sentence = "So many targets must answer; at most their number."},
  {.path = "bundles/*/health/slow_start", .kind = Kind::duration, .min = 0, .max = 10 * m,
   .initial = "10s",
   .sentence = "A returning tunnel's way to its full weight, in four steps; 0s: at once."},
  {.path = "bundles/*/health/damping", .kind = Kind::duration, .min = 0, .max = 10 * m,
   .initial = "30s",
   .sentence = "Longest time a tunnel that fails again and again is held back; 0s: never."},
  {.path = "bundles/*/balance", .sentence = "How flows spread over the tunnels."},
  {.path = "bundles/*/balance/mode", .kind = Kind::choice,
   .values = "auto|resilient|hash", .initial = "auto",
   .sentence = "resilient nexthop groups, which move no healthy flow, or multipath routes (hash); "
               "auto takes resilient where the kernel has it."},
  {.path = "bundles/*/balance/hash", .kind = Kind::choice, .values = "l3|l4", .initial = "l4",
   .sentence = "What keeps a flow on its tunnel: addresses (l3), or addresses and ports (l4)."},
  {.path = "bundles/*/balance/buckets", .kind = Kind::integer, .min = 8, .max = 4096,
   .unit = "buckets", .initial = "256", .sentence = "Buckets of a resilient group."},
  {.path = "bundles/*/balance/idle_timer", .kind = Kind::duration, .min = 10 * ms, .max = h,
   .initial = "1s",
   .sentence = "Idle time after which a bucket of a resilient group may move; whole 10 ms."},
  {.path = "bundles/*/balance/unbalanced_timer", .kind = Kind::duration, .min = 0, .max = 24 * h,
   .initial = "0s",
   .sentence = "Time after which busy buckets of a resilient group move too; 0s: never."},
  {.path = "bundles/*/min_live", .kind = Kind::integer, .min = 1, .max = 64,
   .unit = "tunnels", .initial = "1",
   .sentence = "Tunnels that probes alone never take away; at most the number of tunnels."},
  {.path = "bundles/*/failback", .kind = Kind::choice, .values = "now|hold|manual",
   .initial = "now",
   .sentence = "When tunnels of a higher priority that are up again take over: now, after "
               "`failback_hold`, or by `tunorch failback`."},
  {.path = "bundles/*/failback_hold", .kind = Kind::duration, .min = s, .max = 24 * h,
   .initial = "30s", .sentence = "With `failback: hold`: so long they must have been up."},
  {.path = "bundles/*/policy", .sentence = "Which packets take the bundle; all that match its "
               "routes unless given."},
  {.path = "bundles/*/policy/table", .kind = Kind::integer, .min = 1, .max = 4'294'967'294,
   .sentence = "Routing table for the bundle's routes, which the rules lead to, not 116 or 253 to "
               "255; none unless given, and the routes stand in main."},
  {.path = "bundles/*/policy/from", .kind = Kind::subnets, .min = 0, .max = 64, .initial = "[]",
   .sentence = "Sources whose packets look into the table."},
  {.path = "bundles/*/policy/fwmark", .kind = Kind::integer, .min = 1, .max = 4'294'967'295,
   .sentence = "Packets with this mark look into the table; not 1953853039, which marks tunorch's "
               "own connections; none unless given."},
  {.path = "bundles/*/restart", .sentence = "How a worker that ended is started again."},
  {.path = "bundles/*/restart/backoff", .kind = Kind::duration, .min = 10 * ms, .max = h,
   .initial = "200ms", .sentence = "First pause before a start; it doubles with each failure."},
  {.path = "bundles/*/restart/max_backoff", .kind = Kind::duration, .min = 10 * ms, .max = h,
   .initial = "30s", .sentence = "Longest pause before a start; not below `backoff`."},
  {.path = "bundles/*/restart/quarantine_after", .kind = Kind::integer, .min = 1, .max = 1000,
   .unit = "starts", .initial = "10",
   .sentence = "Failed starts in a row after which a tunnel is left alone."},
  {.path = "bundles/*/all_down", .kind = Kind::choice, .values = "unreachable|withdraw",
   .initial = "unreachable",
   .sentence = "With every tunnel down: answer unreachable (nothing leaks), or withdraw the "
               "routes."},
  {.path = "bundles/*/isolate", .kind = Kind::boolean, .initial = "true",
   .sentence = "Whether dialers of the listener cannot reach each other."},

  {.path = "bundles/*/tunnels/*", .sentence = "One tunnel."},
  {.path = "bundles/*/tunnels/*/id", .kind = Kind::integer, .min = 0, .max = 63,
   .sentence = "Fixes the device name <bundle>-<id> and the port; the place in the list, from 0, "
               "unless given."},
  {.path = "bundles/*/tunnels/*/weight", .kind = Kind::integer, .min = 1, .max = 256,
   .initial = "1", .sentence = "Share of the flows against the other tunnels' weights."},
  {.path = "bundles/*/tunnels/*/bind", .kind = Kind::text,
   .pattern = "^[A-Za-z0-9_:][A-Za-z0-9._@+:-]{0,44}$",
   .words = "an IP address or a device name of the dialing node",
   .sentence = "The dialer's local IP address or device to dial from; any unless given."},
  {.path = "bundles/*/tunnels/*/engine", .kind = Kind::choice,
   .values = "native|openvpn|wireguard|command",
   .sentence = "What kind of process serves this tunnel; the bundle's unless given."},
  {.path = "bundles/*/tunnels/*/transport", .kind = Kind::choice, .values = "tls|postgres",
   .sentence = "What carries this tunnel's packets; the bundle's unless given."},
  {.path = "bundles/*/tunnels/*/mtu", .kind = Kind::integer, .min = 1280, .max = 65535,
   .words = "IPv6 needs 1280, RFC 8200", .unit = "bytes",
   .sentence = "MTU of this tunnel; the bundle's unless given."},
  {.path = "bundles/*/tunnels/*/priority", .kind = Kind::integer, .min = 1, .max = 255,
   .initial = "100",
   .sentence = "Tunnels of a lower priority carry only while fewer than min_live above them live."},

  {.path = "tuning/profile", .kind = Kind::choice, .values = "balanced|throughput|none",
   .initial = "balanced",
   .sentence = "Set of settings; a key given by itself beats it. docs/tuning.md lists them."},
  {.path = "tuning/sysctl", .kind = Kind::settings, .min = 0, .max = 256,
   .pattern = R"(^(?=.{1,128}$)net(\.[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)+$)",
   .words = "a sysctl that begins with 'net.', as in net.ipv4.tcp_rmem; a device's dots "
                   "are written as '/'",
   .sentence = "Kernel settings by their dotted names below net."},
  {.path = "tuning/conntrack", .sentence = "Timeouts of connection tracking."},
  {.path = "tuning/conntrack/udp_timeout", .kind = Kind::duration, .min = s, .max = 24 * h,
   .sentence = "net.netfilter.nf_conntrack_udp_timeout, whole seconds; the kernel's unless given."},
  {.path = "tuning/conntrack/tcp_time_wait", .kind = Kind::duration, .min = s, .max = 24 * h,
   .sentence = "net.netfilter.nf_conntrack_tcp_timeout_time_wait, whole seconds; the kernel's "
               "unless given."},

  {.path = "pki/dir", .kind = Kind::text, .pattern = "^.{1,255}$",
   .words = "a path of at most 255 bytes", .initial = "pki",
   .sentence = "Folder of ca.crt, NODE.crt, NODE.key and WireGuard's keys, relative to the "
               "file; keys must not be readable by others."},
};
// clang-format on

std::string bounds(std::int64_t low, std::int64_t high, std::string (*text)(std::int64_t)) {
  return fmt::format("{} to {}", text(low), text(high));
}

std::string count_of(const Key& key, std::string_view what) {
  return key.max > 64 ? fmt::format("a list of {}", what)
                      : fmt::format("a list of {}, {} to {}", what, key.min, key.max);
}

}  // namespace

std::span<const Key> all_keys() {
  return table;
}

const Key* find_key(std::string_view section, std::string_view name) {
  const auto found = std::find_if(std::begin(table), std::end(table), [&](const Key& key) {
    return key.parent() == section && key.name() == name;
  });
  return found == std::end(table) ? nullptr : found;
}

std::vector<const Key*> keys_of(std::string_view section) {
  std::vector<const Key*> found;
  for (const Key& key : table)
    if (key.parent() == section && key.name() != "*") found.push_back(&key);
  return found;
}

std::vector<std::string> choices(std::string_view values) {
  std::vector<std::string> parts;
  while (!values.empty()) {
    const std::size_t bar = std::min(values.find('|'), values.size());
    parts.emplace_back(values.substr(0, bar));
    values.remove_prefix(std::min(bar + 1, values.size()));
  }
  return parts;
}

std::string allowed(const Key& key) {
  switch (key.kind) {
    case Kind::section:
      return "a map";
    case Kind::named:
      return "a map by name";
    case Kind::settings:
      return "a map from names to values";
    case Kind::integer:
      if (key.min == key.max) return fmt::format("{}", key.min);
      return fmt::format("a whole number, {} to {}{}", key.min, key.max,
                         key.words.empty() ? "" : fmt::format(" ({})", key.words));
    case Kind::boolean:
      return "true or false";
    case Kind::choice:
      return fmt::format("{}", fmt::join(choices(key.values), ", "));
    case Kind::text:
      return std::string(key.words);
    case Kind::duration:
      return "a duration, " + bounds(key.min, key.max, duration_text);
    case Kind::size:
      return "auto, or a size, " + bounds(key.min, key.max, size_text);
    case Kind::prefix:
      return fmt::format("an IPv4 network, /{} to /{}", key.min, key.max);
    case Kind::addresses:
      return fmt::format("an IP address or a list of {} to {}", key.min, key.max);
    case Kind::inner:
      return count_of(key, "IP addresses");
    case Kind::subnets:
      return count_of(key, "networks");
    case Kind::names:
      return count_of(key, "node names");
    case Kind::command:
      return key.min == 0 ? fmt::format("a list of at most {} words", key.max)
                          : fmt::format("a list of {} to {} words", key.min, key.max);
    case Kind::tunnels:
      return fmt::format("a whole number, {0} to {1}, or a list of {0} to {1} maps", key.min,
                         key.max);
  }
  return {};
}

}  // namespace tunorch
