#include "web/metrics.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string_view>

#include "version.hpp"

namespace tunorch::web {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

struct Kind {
  std::string_view name;
  MetricType type;
  std::string_view help;
};

constexpr auto counter = MetricType::Counter;
constexpr auto gauge = MetricType::Gauge;
constexpr auto histogram = MetricType::Histogram;

// clang-format off
constexpr Kind kinds[] = {
  {"tunorch_build_info", gauge, "Version of tunorch, as a label."},
  {"tunorch_daemon_up", gauge, "Whether the daemon answers; the rest is there only then."},
  {"tunorch_daemon_start_time_seconds", gauge, "When the daemon started, in Unix time."},
  {"tunorch_node_info", gauge, "Cluster and node, as labels."},
  {"tunorch_apply_problem", gauge, "Whether what was applied last could not be loaded."},
  {"tunorch_conflicts", gauge,
   "Parts of the file that something of somebody else's is in the way of."},
  {"tunorch_bundle_state", gauge, "1 for the state that the bundle is in: up, degraded, down."},
  {"tunorch_bundle_tunnels", gauge, "Tunnels of the bundle."},
  {"tunorch_bundle_live_tunnels", gauge, "Tunnels by which some peer is reached."},
  {"tunorch_tunnel_up", gauge, "Whether some peer is reached by this tunnel."},
  {"tunorch_tunnel_state", gauge, "1 for the state that the tunnel's worker is in."},
  {"tunorch_tunnel_draining", gauge, "Whether it is drained, or about to be."},
  {"tunorch_tunnel_restarts_total", counter, "Ends of its worker that nobody asked for."},
  {"tunorch_tunnel_dropped_packets_total", counter, "Packets its worker dropped, by reason."},
  {"tunorch_tunnel_waiting_bytes", gauge,
   "Packets in the worker that find no room in a connection."},
  {"tunorch_tunnel_weight", gauge, "Its weight in the file."},
  {"tunorch_peer_live_tunnels", gauge, "Tunnels by which this peer is reached."},
  {"tunorch_path_up", gauge, "Whether this peer is reached by this tunnel."},
  {"tunorch_path_weight", gauge, "Weight in the routes to this peer; 0: it carries nothing."},
  {"tunorch_path_transmit_bytes_total", counter, "Bytes of packets sent to this peer."},
  {"tunorch_path_receive_bytes_total", counter, "Bytes of packets that came from this peer."},
  {"tunorch_path_transmit_packets_total", counter, "Packets sent to this peer."},
  {"tunorch_path_receive_packets_total", counter, "Packets that came from this peer."},
  {"tunorch_path_nexthop_packets_total", counter,
   "Packets that the kernel's nexthop group sent this way."},
  {"tunorch_path_rtt_seconds", histogram, "Round trips of PINGs through the tunnel."},
  {"tunorch_path_last_rtt_seconds", gauge, "Round trip of the last PING that was answered."},
  {"tunorch_path_probes_total", counter, "PINGs (echoes with other engines), by result."},
  {"tunorch_path_retransmitted_segments_total", counter,
   "TCP segments the tunnel's connections sent again."},
  {"tunorch_path_congestion_window_segments", gauge, "TCP congestion window, of all streams."},
  {"tunorch_path_queued_bytes", gauge, "What waits to be sent in the tunnel's connections."},
  {"tunorch_path_streams", gauge, "Streams the session should have."},
  {"tunorch_path_live_streams", gauge, "Streams that live."},
  {"tunorch_path_mtu_bytes", gauge, "The largest packet that this path takes."},
  {"tunorch_failover_duration_seconds", histogram,
   "From the news to a tunnel's leaving the routes, by cause."},
  {"tunorch_events_total", counter, "What happened since the daemon started, by kind."},
  {"tunorch_applies_total", counter, "Cluster files applied since the daemon started, by result."},
  {"tunorch_certificate_expiry_timestamp_seconds", gauge, "When a certificate ends, in Unix time."},
};
// clang-format on

constexpr std::array bundle_states{"up", "degraded", "down"};
constexpr std::array worker_states{"stopped",  "starting", "running",
                                   "stopping", "backoff",  "quarantined"};

Labels with(Labels labels, std::string name, std::string value) {
  labels.push_back({std::move(name), std::move(value)});
  return labels;
}

/// Seconds since 1970 of "2026-01-31T23:59:59Z", fractions left out.
double unix_time(const std::string& text) {
  int year = 0;
  unsigned month = 0, day = 0, hours = 0, minutes = 0, seconds = 0;
  if (std::sscanf(text.c_str(), "%d-%u-%uT%u:%u:%u", &year, &month, &day, &hours, &minutes,
                  &seconds) != 6)
    return 0;
  using namespace std::chrono;
  const sys_days date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
  return static_cast<double>((date.time_since_epoch() / 1s) + (hours * 60 + minutes) * 60 +
                             seconds);
}

class Collector {
 public:
  void add(std::string_view name, const Labels& labels, double value) {
    MetricFamily& family = family_of(name);
    ClientMetric metric;
    metric.label = labels;
    if (family.type == counter)
      metric.counter.value = value;
    else
      metric.gauge.value = value;
    family.metric.push_back(std::move(metric));
  }

  /// Nothing where nothing measures it.
  template <class Number>
  void add(std::string_view name, const Labels& labels, const std::optional<Number>& value) {
    if (value) add(name, labels, static_cast<double>(*value));
  }
  void add(std::string_view name, const Labels& labels, std::uint64_t value) {
    add(name, labels, static_cast<double>(value));
  }

  void add_histogram(std::string_view name, const Labels& labels, const HistogramCounts& seen) {
    ClientMetric metric;
    metric.label = labels;
    ClientMetric::Histogram& all = metric.histogram;
    for (std::size_t i = 0; i < seen.counts.size(); ++i) {
      all.sample_count += seen.counts[i];
      if (i < seen.bounds.size()) all.bucket.push_back({all.sample_count, seen.bounds[i]});
    }
    all.sample_sum = seen.sum;
    family_of(name).metric.push_back(std::move(metric));
  }

  template <class States>
  void add_states(std::string_view name, const Labels& labels, const States& states,
                  const std::string& now) {
    for (const char* state : states) add(name, with(labels, "state", state), double(state == now));
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  MetricFamily& family_of(std::string_view name) {
    const auto found = std::ranges::find(families_, name, &MetricFamily::name);
    if (found != families_.end()) return *found;
    const auto kind = std::ranges::find(kinds, name, &Kind::name);
    if (kind == std::end(kinds)) throw std::logic_error("no metric " + std::string(name));
    return families_.emplace_back(
        MetricFamily{std::string(kind->name), std::string(kind->help), kind->type, {}});
  }

  std::vector<MetricFamily> families_;
};

void add_session(Collector& to, const Labels& path, const SessionStatus& session) {
  to.add("tunorch_path_transmit_bytes_total", path, session.tx_bytes);
  to.add("tunorch_path_receive_bytes_total", path, session.rx_bytes);
  to.add("tunorch_path_transmit_packets_total", path, session.tx_packets);
  to.add("tunorch_path_receive_packets_total", path, session.rx_packets);
  to.add("tunorch_path_last_rtt_seconds", path, session.rtt_us * 1e-6);
  to.add("tunorch_path_retransmitted_segments_total", path, session.retransmits);
  to.add("tunorch_path_congestion_window_segments", path, session.cwnd_segments);
  to.add("tunorch_path_queued_bytes", path, session.queued_bytes);
  to.add("tunorch_path_streams", path, double(session.streams));
  to.add("tunorch_path_live_streams", path, double(session.live_streams));
  to.add("tunorch_path_mtu_bytes", path, session.mtu);
  if (session.rtt_seconds) to.add_histogram("tunorch_path_rtt_seconds", path, *session.rtt_seconds);
  if (!session.probes) return;
  to.add("tunorch_path_probes_total", with(path, "result", "answered"), session.probes->answered);
  to.add("tunorch_path_probes_total", with(path, "result", "lost"), session.probes->lost);
}

/// What `values` has of this tunnel.
template <class Number>
std::optional<Number> of(const std::map<std::string, Number>& values, const std::string& tunnel) {
  const auto found = values.find(tunnel);
  return found == values.end() ? std::nullopt : std::optional(found->second);
}

void add_tunnel(Collector& to, const Labels& bundle, const TunnelStatus& tunnel,
                const std::vector<PeerStatus>& peers) {
  const Labels labels = with(bundle, "tunnel", tunnel.name);
  to.add("tunorch_tunnel_up", with(labels, "engine", tunnel.engine), double(tunnel.health == "up"));
  to.add_states("tunorch_tunnel_state", labels, worker_states, tunnel.worker);
  to.add("tunorch_tunnel_draining", labels, double(tunnel.drain != "no"));
  to.add("tunorch_tunnel_restarts_total", labels, double(tunnel.restarts));
  to.add("tunorch_tunnel_weight", labels, double(tunnel.weight));
  to.add("tunorch_tunnel_waiting_bytes", labels, tunnel.waiting_bytes);
  for (const auto& [reason, packets] : tunnel.dropped)
    to.add("tunorch_tunnel_dropped_packets_total", with(labels, "reason", reason), packets);
  for (const PeerStatus& peer : peers) {
    const Labels path = with(labels, "peer", peer.name);
    const bool live = std::ranges::find(peer.live_tunnels, tunnel.name) != peer.live_tunnels.end();
    to.add("tunorch_path_up", path, double(live));
    to.add("tunorch_path_weight", path, double(of(peer.weights, tunnel.name).value_or(0)));
    to.add("tunorch_path_nexthop_packets_total", path, of(peer.nexthop_packets, tunnel.name));
    if (const auto session = tunnel.sessions.find(peer.name); session != tunnel.sessions.end())
      add_session(to, path, session->second);
  }
}

void add_bundle(Collector& to, const BundleStatus& bundle) {
  const Labels labels{{"bundle", bundle.name}};
  to.add_states("tunorch_bundle_state", labels, bundle_states, bundle.state);
  to.add("tunorch_bundle_tunnels", labels, bundle.tunnels.size());
  to.add("tunorch_bundle_live_tunnels", labels, bundle.live);
  for (const TunnelStatus& tunnel : bundle.tunnels) add_tunnel(to, labels, tunnel, bundle.peers);
  for (const PeerStatus& peer : bundle.peers)
    to.add("tunorch_peer_live_tunnels", with(labels, "peer", peer.name), peer.live_tunnels.size());
}

void add_certificate(Collector& to, const char* whose, const std::string& ends) {
  if (!ends.empty())
    to.add("tunorch_certificate_expiry_timestamp_seconds", {{"certificate", whose}},
           unix_time(ends));
}

void add_node(Collector& to, const Status& status) {
  to.add("tunorch_daemon_start_time_seconds", {}, unix_time(status.daemon.started));
  to.add("tunorch_node_info", {{"cluster", status.cluster}, {"node", status.node}}, 1.0);
  to.add("tunorch_apply_problem", {}, double(status.problem.has_value()));
  to.add("tunorch_conflicts", {}, status.conflicts ? status.conflicts->size() : 0);
  for (const BundleStatus& bundle : status.bundles) add_bundle(to, bundle);
  for (const auto& [cause, durations] : status.failovers)
    to.add_histogram("tunorch_failover_duration_seconds", {{"cause", cause}}, durations);
  for (const auto& [kind, count] : status.events)
    to.add("tunorch_events_total", {{"event", kind}}, count);
  to.add("tunorch_applies_total", {{"result", "done"}}, status.applies.done);
  to.add("tunorch_applies_total", {{"result", "failed"}}, status.applies.failed);
  if (!status.certificate) return;
  add_certificate(to, "node", status.certificate->node);
  add_certificate(to, "ca", status.certificate->ca);
}

}  // namespace

std::string metrics_text(const std::optional<Status>& status) {
  Collector all;
  all.add("tunorch_build_info", {{"version", TUNORCH_VERSION}}, 1.0);
  all.add("tunorch_daemon_up", {}, double(status.has_value()));
  if (status) add_node(all, *status);
  return all.text();
}

std::vector<MetricKind> metric_kinds() {
  std::vector<MetricKind> all;
  for (const Kind& kind : kinds)
    all.push_back({std::string(kind.name),
                   kind.type == counter ? "counter"
                   : kind.type == gauge ? "gauge"
                                        : "histogram",
                   std::string(kind.help)});
  return all;
}

}  // namespace tunorch::web
