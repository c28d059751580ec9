#include "orchestrator/daemon/status.hpp"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "orchestrator/pki/pki.hpp"
#include "orchestrator/plan/carriage.hpp"
#include "orchestrator/system/confinement.hpp"
#include "orchestrator/telemetry/events.hpp"
#include "orchestrator/telemetry/utc.hpp"
#include "version.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

/// One word for a tunnel: up as soon as one peer is reached through it.
Health tunnel_health(const TunnelWorker& worker, const std::vector<std::string>& peers) {
  Health best =
      worker.lifecycle().alive() && worker.sessions().empty() ? Health::unknown : Health::down;
  for (const std::string& peer : peers) {
    const Health one = worker.health(peer).state;
    if (one == Health::up) return one;
    if (one == Health::unknown) best = one;
  }
  return best;
}

const char* to_string(Drain drain) {
  return drain == Drain::none ? "no" : drain == Drain::draining ? "draining" : "drained";
}

void add_counters(json& to, const worker::SessionReport& session) {
  to["tx_bytes"] = session.tx_bytes;
  to["rx_bytes"] = session.rx_bytes;
  to["tx_packets"] = session.tx_packets;
  to["rx_packets"] = session.rx_packets;
  to["retransmits"] = session.retransmits;
  to["cwnd_segments"] = session.cwnd_segments;
  to["queued_bytes"] = session.queued_bytes;
}

json tunnel_status(const DesiredTunnel& tunnel, const TunnelWorker& worker, Health health,
                   Drain drain, bool histograms) {
  std::uint64_t tx = 0, rx = 0;
  std::uint32_t rtt = 0;
  json sessions = json::object();
  for (const auto& [peer, session] : worker.sessions()) {
    tx += session.tx_bytes;
    rx += session.rx_bytes;
    rtt = std::max(rtt, session.rtt_us);  // with several peers: the slowest
    const auto socket = worker.sockets().find(peer);
    sessions[peer] = {{"address", session.address},
                      {"rtt_us", session.rtt_us},
                      {"streams", std::max(session.streams, 1)},
                      {"live_streams", session.live_streams}};
    // A counter that shows as 0 for a moment would be taken for one that began anew.
    if (session.streams > 0) add_counters(sessions[peer], session);
    if (const auto probes = worker.probes().find(peer); probes != worker.probes().end()) {
      sessions[peer].update(probes->second.to_json());
      if (histograms) sessions[peer]["rtt_seconds"] = probes->second.rtt_seconds().to_json();
    }
    if (const auto path = worker.paths().find(peer); path != worker.paths().end())
      sessions[peer]["mtu"] =
          path->second.health().mtu != 0 ? path->second.health().mtu : tunnel.tun.mtu;
    if (socket == worker.sockets().end()) continue;
    sessions[peer]["sndbuf_bytes"] = socket->second.sndbuf_bytes;
    sessions[peer]["rcvbuf_bytes"] = socket->second.rcvbuf_bytes;
    sessions[peer]["congestion"] = socket->second.congestion;
  }
  return {{"name", tunnel.name},
          {"engine", to_string(tunnel.engine)},
          {"dev", tunnel.name},
          {"pid", worker.pid()},
          {"confinement", confinement_status(worker.pid())},
          {"worker", to_string(worker.lifecycle().state())},
          {"health", to_string(health)},
          {"drain", to_string(drain)},
          {"weight", tunnel.weight},
          {"rtt_us", rtt},
          {"tx_bytes", tx},
          {"rx_bytes", rx},
          {"restarts", worker.lifecycle().restarts()},
          {"sessions", sessions},
          {"reason", worker.reason()},
          {"dropped", worker.dropped()},
          {"waiting_bytes", worker.waiting_bytes()}};
}

json names_of(const std::map<std::string, unsigned>& weights) {
  json names = json::array();
  for (const auto& [tunnel, weight] : weights) names.push_back(tunnel);
  return names;
}

/// up: every tunnel carries traffic, for every peer that is there at all.
std::string bundle_state(const json& tunnels, const json& peers, std::size_t live) {
  if (live == 0) return "down";
  bool whole = live == tunnels.size();
  for (const json& peer : peers) {
    const std::size_t of_peer = peer["live_tunnels"].size();
    if (of_peer > 0 && of_peer < tunnels.size()) whole = false;
  }
  return whole ? "up" : "degraded";
}

}  // namespace

json make_status(const Standing& standing) {
  const auto& [desired, observed, node, workers, drains, packets, problem, conflicts, events, tally,
               web, histograms, started] = standing;
  json status{{"cluster", desired.cluster}, {"node", node},     {"bundles", json::array()},
              {"time", utc_now()},          {"events", events}, {"version", TUNORCH_VERSION}};
  status.update(tally.to_json());
  if (!problem.empty()) status["problem"] = problem;
  if (web) status["web"] = to_json(*web);
  status["daemon"] = {
      {"pid", ::getpid()}, {"started", started}, {"confinement", confinement_status(::getpid())}};
  if (desired.certificate_ends) {
    const auto now = PkiTime::clock::now();
    status["certificate"] = {{"node", utc_seconds(desired.certificate_ends->node)},
                             {"ca", utc_seconds(desired.certificate_ends->ca)},
                             {"expires", utc_seconds(desired.certificate_ends->first())},
                             {"warning", expiry_words(node, *desired.certificate_ends, now)}};
  }
  if (!conflicts.empty()) status["conflicts"] = conflicts;
  const auto carry = weights(desired, observed.carriage);
  for (const DesiredBundle& bundle : desired.bundles) {
    json tunnels = json::array(), peers = json::array();
    std::size_t live = 0;
    for (const std::string& name : bundle.tunnels) {
      const TunnelWorker& worker = *workers.at(name);
      const Health health = tunnel_health(worker, bundle.peers);
      if (health == Health::up) ++live;
      tunnels.push_back(tunnel_status(*desired.find_tunnel(name), worker, health,
                                      drains.state(name), histograms));
    }
    for (const std::string& peer : bundle.peers) {
      json up = json::array();
      for (const std::string& name : bundle.tunnels)
        if (workers.at(name)->health(peer).state == Health::up) up.push_back(name);
      json probes = json::object();
      for (const std::string& name : bundle.tunnels)
        if (const auto path = workers.at(name)->paths().find(peer);
            path != workers.at(name)->paths().end())
          probes[name] = to_string(path->second.device());
      const auto counted = packets.find(peer);
      const auto carriers = carry.find(peer);
      peers.push_back(
          {{"name", peer},
           {"live_tunnels", up},
           {"device_probes", probes},
           {"nexthop_packets", counted == packets.end() ? json::object() : json(counted->second)},
           {"carrying", carriers == carry.end() ? json::array() : names_of(carriers->second)},
           {"weights", carriers == carry.end() ? json::object() : json(carriers->second)},
           {"mechanism", mechanism_text(*desired.find_group(peer), observed.abilities)}});
    }
    status["bundles"].push_back({{"name", bundle.name},
                                 {"role", bundle.listener ? "listener" : "dialer"},
                                 {"state", bundle_state(tunnels, peers, live)},
                                 {"live", live},
                                 {"tunnels", tunnels},
                                 {"peers", peers}});
  }
  return status;
}

PlanReport plan_report(const Desired& desired, const Observed& observed,
                       const HealthTable& health) {
  const Plan plan = make_plan(desired, observed, health);
  PlanReport report{{}, {}, plan.conflicts, plan.notes};
  Observed then = observed;
  for (const Step& step : plan.steps) {
    report.steps.push_back(describe(step));
    record(then, step);
  }
  for (routing::Link& link : then.links) link.carrier = true;
  for (const Step& step : make_carriage_plan(desired, then, all_up(desired)))
    report.later.push_back(describe(step));
  return report;
}

}  // namespace tunorch
