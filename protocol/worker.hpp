// What the daemon and a worker say to each other over RUNTIME/w/<tunnel>.sock: the spec of a tunnel
// and the reports about it. Holds data and its JSON form only; neither side's behaviour is here.
//
// The socket is AF_UNIX SOCK_SEQPACKET: one JSON object per packet. The daemon makes it listening
// and the worker inherits it as fd 3 (`control_fd`), so a later daemon can connect to a worker it
// did not start. File descriptors ride on the packet they belong to (SCM_RIGHTS, unix(7)).
#pragma once

#include <boost/describe/class.hpp>
#include <boost/describe/enum.hpp>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bad_message.hpp"

namespace tunorch::worker {

/// Most streams of a session.
inline constexpr int max_streams = 16;

/// Version of this protocol. Daemons and workers speak this one and the one before it
/// (docs/compatibility.md): a daemon speaks to a worker in the version of the worker's hello.
inline constexpr int control_protocol = 1;
constexpr bool speaks(int protocol) {
  return protocol >= 1 && protocol >= control_protocol - 1 && protocol <= control_protocol;
}
/// Where a worker finds its inherited listening control socket.
inline constexpr int control_fd = 3;
/// Largest control packet in bytes; larger ones are refused by the receiver.
inline constexpr std::size_t max_control_packet = 1024 * 1024;

/// A node on the other end: the dialers of a listener, or the one listener of a dialer.
struct PeerSpec {
  std::string node;                   // what its certificate must say (SAN dNSName)
  std::vector<std::string> prefixes;  // sources it may send from, and destinations sent to it
  std::string digest;                 // of the wire-relevant keys both ends must share
};
BOOST_DESCRIBE_STRUCT(PeerSpec, (), (node, prefixes, digest))

/// Where the packets of one direction are kept.
struct DatabaseSpec {
  std::string url;                 // as libpq takes it; without a password
  std::string schema = "tunorch";  // made by `tunorch-worker postgres-init`
};
BOOST_DESCRIBE_STRUCT(DatabaseSpec, (), (url, schema))

struct PostgresSpec {
  DatabaseSpec up, down;     // dialer to listener, and back
  std::uint32_t keep_s = 0;  // packets may be dropped when they are that old
  bool sync = false;         // synchronous_commit
};
BOOST_DESCRIBE_STRUCT(PostgresSpec, (), (up, down, keep_s, sync))

/// Of the tunnel's TCP connections, as the file has them (`sockets`).
struct SocketOptions {
  std::uint32_t sndbuf_bytes = 0;  // SO_SNDBUF; 0: the kernel's own tuning
  std::uint32_t rcvbuf_bytes = 0;
  std::string congestion = "auto";  // TCP_CONGESTION; auto: bbr where the kernel has it
};
BOOST_DESCRIBE_STRUCT(SocketOptions, (), (sndbuf_bytes, rcvbuf_bytes, congestion))

/// What a worker keeps from its start to its end: another value needs another process. A field
/// belongs here or in LiveSpec: from that follow the digest, the live update and the JSON.
struct FixedSpec : SocketOptions {
  std::string cluster;
  std::string node;  // this node
  std::string bundle;
  std::string tunnel;  // device name, <bundle>-<id>
  int id = 0;
  bool listener = false;

  std::string transport = "tls";  // tls | postgres
  PostgresSpec postgres;
  std::string cipher = "auto";  // auto | aes-128-gcm | chacha20-poly1305

  std::string address;     // dialer: the listener's IP literal
  std::uint16_t port = 0;  // dialer: the listener's TCP port
  std::string bind;        // dialer: local IP literal or device to dial from; empty: any

  int streams = 1;               // TUN queues and threads; a dialer's connections too
  std::string offload = "auto";  // auto: what the kernel has; tso: no UDP segmentation; none
  bool isolate = true;           // listener: refuse packets from one dialer to another
};
BOOST_DESCRIBE_STRUCT(FixedSpec, (SocketOptions),
                      (cluster, node, bundle, tunnel, id, listener, transport, postgres, cipher,
                       address, port, bind, streams, offload, isolate))

/// What a running worker takes over, without a session noticing.
struct LiveSpec {
  std::string ca_pem, certificate_pem;
  std::string crl_pem;  // of the CA; empty: nothing is revoked

  std::uint32_t interval_ms = 200;  // between PINGs, and between heartbeats
  std::uint32_t timeout_ms = 300;   // a PING unanswered for this long counts as lost
  std::uint32_t backoff_ms = 200;   // first pause before a dialer connects again
  std::uint32_t max_backoff_ms = 30000;

  std::vector<PeerSpec> peers;
};
BOOST_DESCRIBE_STRUCT(LiveSpec, (),
                      (ca_pem, certificate_pem, crl_pem, interval_ms, timeout_ms, backoff_ms,
                       max_backoff_ms, peers))

/// Everything a worker must know about its tunnel. It opens no file: certificates come as PEM text.
struct Spec : FixedSpec, LiveSpec {
  std::string digest;  // of this spec, made by the daemon, so that a later daemon knows it again
  // Not in the JSON: each goes to the worker as a memory file of its own (Request::secrets). Of TLS
  // its key in PEM ("key"); of postgres files that libpq wants, by the parameter that names them.
  std::map<std::string, std::string> secrets;
};
BOOST_DESCRIBE_STRUCT(Spec, (FixedSpec, LiveSpec), (digest))

/// What a node tells its peer of one tunnel of their bundle.
struct TunnelState {
  std::string tunnel;
  bool live = false;      // it carries, or would
  bool draining = false;  // new flows must leave it

  auto operator<=>(const TunnelState&) const = default;
};
BOOST_DESCRIBE_STRUCT(TunnelState, (), (tunnel, live, draining))

/// All tunnels of a bundle as one node sees them towards one peer. `sequence` orders such words
/// whatever path they took; a new `boot` (boot id of the sender's host) resets it.
struct StateWord {
  std::string boot;
  std::uint64_t sequence = 0;
  std::vector<TunnelState> states;
  // Else: a question or an answer between daemons (JSON), which workers only pass.
  std::string note;
};
BOOST_DESCRIBE_STRUCT(StateWord, (), (boot, sequence, states, note))

/// What the daemon asks of a worker.
enum class RequestOp : std::uint8_t {
  unknown,  // of a later version: refused in words
  start,    // a spec, its TUN queues and (listener) its listening sockets, in this order, as fds
  update,   // a spec that differs in its live half only
  stop,     // end
  queues,   // hand the queues and the listening sockets over
  tell,     // send `word` as a STATE frame to each of `to` that has a session here
  carry     // queues of a tunnel whose worker died: what is stranded in them goes out by this one
};
BOOST_DESCRIBE_ENUM(RequestOp, start, update, stop, queues, tell, carry)

/// Daemon to worker. `start` and `update` bring the spec's secrets.
struct Request {
  RequestOp op = RequestOp::unknown;
  int protocol = control_protocol;
  int queues = 0;     // TUN queue fds on this packet
  int listeners = 0;  // listening TCP socket fds on this packet, after the queues
  // Names of the spec's secrets. Their memory files (memfd_create(2)) are the last fds on this
  // packet.
  std::vector<std::string> secrets = {};
  Spec spec = {};
  std::vector<std::string> to = {};  // of `tell`: peers
  StateWord word = {};               // of `tell`
};
BOOST_DESCRIBE_STRUCT(Request, (), (op, protocol, queues, listeners, secrets, spec, to, word))

/// One live session, as of a heartbeat.
struct SessionReport {
  std::string peer;
  std::string address;       // the peer's outer address, ip:port
  std::uint32_t rtt_us = 0;  // of the last answered PING; 0: none yet
  std::vector<bool> probes;  // PINGs decided since the last heartbeat, in order: answered or lost
  std::uint64_t tx_bytes = 0, rx_bytes = 0, tx_packets = 0, rx_packets = 0;
  int streams = 1, live_streams = 1;  // streams 0: no heartbeat reported it yet
  // Of its TCP connections: segments sent again, congestion windows, and what waits to be sent.
  std::uint64_t retransmits = 0;
  std::uint32_t cwnd_segments = 0;
  std::uint64_t queued_bytes = 0;
};
BOOST_DESCRIBE_STRUCT(SessionReport, (),
                      (peer, address, rtt_us, probes, tx_bytes, rx_bytes, tx_packets, rx_packets,
                       streams, live_streams, retransmits, cwnd_segments, queued_bytes))

/// What the kernel made of the outer socket's settings, read back.
struct SocketReport {
  std::uint32_t sndbuf_bytes = 0, rcvbuf_bytes = 0;  // SO_SNDBUF, SO_RCVBUF
  std::string congestion;                            // TCP_CONGESTION
};
BOOST_DESCRIBE_STRUCT(SocketReport, (), (sndbuf_bytes, rcvbuf_bytes, congestion))

/// What a worker reports.
enum class ReportKind : std::uint8_t {
  unknown,       // of a later version: ignored
  hello,         // first packet on every connection; `digest` is empty before `start`
  ready,         // the spec is in force: listening, or dialing
  failed,        // the spec cannot be served, and why; the worker exits
  session_up,    // dialer: CONFIG received; listener: the peer's first PING arrived
  session_down,  // and why
  stream_up,     // a stream beside others of its session
  stream_down,   // the session keeps the others; and why
  refused,       // a connection that did not become a session, and why (either side's words)
  trouble,       // the database cannot be used, and why; without a reason: it can again
  heartbeat,     // every interval
  queues,        // the answer to `queues`, with the fds on the packet
  told,          // a peer's STATE frame came: `word`
  carried        // `carry` is done; `packets` went out, `lost` could not
};
BOOST_DESCRIBE_ENUM(ReportKind, hello, ready, failed, session_up, session_down, stream_up,
                    stream_down, refused, trouble, heartbeat, queues, told, carried)

/// As the JSON has it.
const char* to_string(RequestOp op);
const char* to_string(ReportKind kind);

/// Worker to daemon. After `hello` on a new connection a started worker repeats `session_up` for
/// each live session, and `trouble` where there is any.
struct Report {
  ReportKind event = ReportKind::unknown;
  int protocol = control_protocol;
  std::string tunnel;
  std::string digest;
  std::string peer;
  std::string address;
  std::string reason;
  int stream = 0;  // of stream_up and stream_down
  SocketReport socket = {};
  int queues = 0, listeners = 0;
  std::vector<SessionReport> sessions;
  std::map<std::string, std::uint64_t> dropped;  // packets dropped since start, by reason
  std::uint64_t waiting_bytes = 0;               // of packets that find no room in any connection
  StateWord word = {};                           // of `told`
  std::uint64_t packets = 0, lost = 0;           // of `carried`
};
BOOST_DESCRIBE_STRUCT(Report, (),
                      (event, protocol, tunnel, digest, peer, address, reason, stream, socket,
                       queues, listeners, sessions, dropped, waiting_bytes, word, packets, lost))

// Fields that are missing have their defaults, those that are not known are ignored; a value of the
// wrong kind throws BadMessage.
nlohmann::json to_json(const FixedSpec& spec);
nlohmann::json to_json(const LiveSpec& spec);
nlohmann::json to_json(const Spec& spec);
Spec spec_from(const nlohmann::json& json);

/// One packet. `op` and `event` of a later version are `unknown`.
std::string to_packet(const Request& request);
std::string to_packet(const Report& report);
Request parse_request(std::string_view packet);
Report parse_report(std::string_view packet);

/// The text of a STATE frame, which goes from worker to worker.
std::string to_packet(const StateWord& word);
StateWord parse_state_word(std::string_view text);

}  // namespace tunorch::worker
