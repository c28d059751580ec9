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

using nlohmann::json;
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

  /// Nothing where `from` has no such number.
  void add(std::string_view name, const Labels& labels, const json& from, const char* key,
           double unit = 1) {
    if (const auto found = from.find(key); found != from.end() && found->is_number())
      add(name, labels, found->get<double>() * unit);
  }

  void add_histogram(std::string_view name, const Labels& labels, const json& seen) {
    ClientMetric metric;
    metric.label = labels;
    ClientMetric::Histogram& all = metric.histogram;
    const auto bounds = seen.at("bounds").get<std::vector<double>>();
    const auto counts = seen.at("counts").get<std::vector<std::uint64_t>>();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      all.sample_count += counts[i];
      if (i < bounds.size()) all.bucket.push_back({all.sample_count, bounds[i]});
    }
    all.sample_sum = seen.at("sum");
    family_of(name).metric.push_back(std::move(metric));
  }

  template <class States>
  void add_states(std::string_view name, const Labels& labels, const States& states,
                  const std::string& now) {
    for (const char* state : states) add(name, with(labels, "state", state), state == now);
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

void add_session(Collector& to, const Labels& path, const json& session) {
  to.add("tunorch_path_transmit_bytes_total", path, session, "tx_bytes");
  to.add("tunorch_path_receive_bytes_total", path, session, "rx_bytes");
  to.add("tunorch_path_transmit_packets_total", path, session, "tx_packets");
  to.add("tunorch_path_receive_packets_total", path, session, "rx_packets");
  to.add("tunorch_path_last_rtt_seconds", path, session, "rtt_us", 1e-6);
  to.add("tunorch_path_retransmitted_segments_total", path, session, "retransmits");
  to.add("tunorch_path_congestion_window_segments", path, session, "cwnd_segments");
  to.add("tunorch_path_queued_bytes", path, session, "queued_bytes");
  to.add("tunorch_path_streams", path, session, "streams");
  to.add("tunorch_path_live_streams", path, session, "live_streams");
  to.add("tunorch_path_mtu_bytes", path, session, "mtu");
  if (session.contains("rtt_seconds"))
    to.add_histogram("tunorch_path_rtt_seconds", path, session["rtt_seconds"]);
  if (session.contains("probes"))
    for (const char* result : {"answered", "lost"})
      to.add("tunorch_path_probes_total", with(path, "result", result), session["probes"], result);
}

void add_tunnel(Collector& to, const Labels& bundle, const json& tunnel, const json& peers) {
  const std::string name = tunnel.at("name");
  const Labels labels = with(bundle, "tunnel", name);
  to.add("tunorch_tunnel_up", with(labels, "engine", tunnel.at("engine")),
         tunnel.at("health") == "up");
  to.add_states("tunorch_tunnel_state", labels, worker_states, tunnel.at("worker"));
  to.add("tunorch_tunnel_draining", labels, tunnel.at("drain") != "no");
  to.add("tunorch_tunnel_restarts_total", labels, tunnel, "restarts");
  to.add("tunorch_tunnel_weight", labels, tunnel, "weight");
  to.add("tunorch_tunnel_waiting_bytes", labels, tunnel, "waiting_bytes");
  for (const auto& [reason, packets] : tunnel.at("dropped").items())
    to.add("tunorch_tunnel_dropped_packets_total", with(labels, "reason", reason), packets);
  for (const json& peer : peers) {
    const Labels path = with(labels, "peer", peer.at("name"));
    const json& live = peer.at("live_tunnels");
    to.add("tunorch_path_up", path, std::ranges::find(live, json(name)) != live.end());
    to.add("tunorch_path_weight", path, peer.at("weights").value(name, 0.0));
    to.add("tunorch_path_nexthop_packets_total", path, peer.at("nexthop_packets"), name.c_str());
    if (const auto session = tunnel.at("sessions").find(peer.at("name").get<std::string>());
        session != tunnel.at("sessions").end())
      add_session(to, path, *session);
  }
}

void add_bundle(Collector& to, const json& bundle) {
  const Labels labels{{"bundle", bundle.at("name")}};
  to.add_states("tunorch_bundle_state", labels, bundle_states, bundle.at("state"));
  to.add("tunorch_bundle_tunnels", labels, static_cast<double>(bundle.at("tunnels").size()));
  to.add("tunorch_bundle_live_tunnels", labels, bundle, "live");
  for (const json& tunnel : bundle.at("tunnels"))
    add_tunnel(to, labels, tunnel, bundle.at("peers"));
  for (const json& peer : bundle.at("peers"))
    to.add("tunorch_peer_live_tunnels", with(labels, "peer", peer.at("name")),
           static_cast<double>(peer.at("live_tunnels").size()));
}

void add_node(Collector& to, const json& status) {
  to.add("tunorch_daemon_start_time_seconds", {}, unix_time(status.at("daemon").at("started")));
  to.add("tunorch_node_info", {{"cluster", status.at("cluster")}, {"node", status.at("node")}}, 1);
  to.add("tunorch_apply_problem", {}, status.contains("problem"));
  to.add("tunorch_conflicts", {},
         static_cast<double>(status.value("conflicts", json::array()).size()));
  for (const json& bundle : status.at("bundles")) add_bundle(to, bundle);
  for (const auto& [cause, durations] : status.at("failovers").items())
    to.add_histogram("tunorch_failover_duration_seconds", {{"cause", cause}}, durations);
  for (const auto& [kind, count] : status.at("events").items())
    to.add("tunorch_events_total", {{"event", kind}}, count);
  for (const auto& [result, count] : status.at("applies").items())
    to.add("tunorch_applies_total", {{"result", result}}, count);
  if (status.contains("certificate"))
    for (const char* whose : {"node", "ca"})
      if (const auto ends = status["certificate"].find(whose); ends != status["certificate"].end())
        to.add("tunorch_certificate_expiry_timestamp_seconds", {{"certificate", whose}},
               unix_time(*ends));
}

}  // namespace

std::string metrics_text(const json& status) {
  Collector all;
  all.add("tunorch_build_info", {{"version", TUNORCH_VERSION}}, 1);
  all.add("tunorch_daemon_up", {}, !status.is_null());
  if (!status.is_null()) add_node(all, status);
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
