#include "protocol/worker.hpp"

#include <nlohmann/json.hpp>

namespace tunorch::worker {

using nlohmann::json;

/// Both directions of a struct whose fields have the names of their keys.
#define TUNORCH_JSON(Type, ...)                                                             \
  void to_json(json& nlohmann_json_j, const Type& nlohmann_json_t) {                        \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_TO, __VA_ARGS__))                \
  }                                                                                         \
  void from_json(const json& nlohmann_json_j, Type& nlohmann_json_t) {                      \
    const Type nlohmann_json_default_obj{};                                                 \
    NLOHMANN_JSON_EXPAND(NLOHMANN_JSON_PASTE(NLOHMANN_JSON_FROM_WITH_DEFAULT, __VA_ARGS__)) \
  }

TUNORCH_JSON(PeerSpec, node, prefixes, digest)
TUNORCH_JSON(DatabaseSpec, url, schema)
TUNORCH_JSON(PostgresSpec, up, down, keep_s, sync)
TUNORCH_JSON(FixedSpec, cluster, node, bundle, tunnel, id, listener, transport, postgres, cipher,
             address, port, bind, streams, offload, sndbuf_bytes, rcvbuf_bytes, congestion, isolate)
TUNORCH_JSON(LiveSpec, ca_pem, certificate_pem, crl_pem, interval_ms, timeout_ms, backoff_ms,
             max_backoff_ms, peers)

/// Both halves in one object, as the first version had it.
void to_json(json& to, const Spec& from) {
  to = static_cast<const FixedSpec&>(from);
  to.update(json(static_cast<const LiveSpec&>(from)));
  to["digest"] = from.digest;
}
void from_json(const json& from, Spec& to) {
  from.get_to(static_cast<FixedSpec&>(to));
  from.get_to(static_cast<LiveSpec&>(to));
  to.digest = from.value("digest", "");
}

TUNORCH_JSON(TunnelState, tunnel, live, draining)
TUNORCH_JSON(StateWord, boot, sequence, states, note)
TUNORCH_JSON(Request, op, protocol, queues, listeners, secrets, spec, to, word)
TUNORCH_JSON(SessionReport, peer, address, rtt_us, probes, tx_bytes, rx_bytes, tx_packets,
             rx_packets, streams, live_streams, retransmits, cwnd_segments, queued_bytes)
TUNORCH_JSON(SocketReport, sndbuf_bytes, rcvbuf_bytes, congestion)
TUNORCH_JSON(Report, event, protocol, tunnel, digest, peer, address, reason, stream, socket, queues,
             listeners, sessions, dropped, waiting_bytes, word, packets, lost)

#undef TUNORCH_JSON

}  // namespace tunorch::worker
