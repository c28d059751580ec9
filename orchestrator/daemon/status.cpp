#include "orchestrator/daemon/status.hpp"

#include <unistd.h>

#include <algorithm>

#include "orchestrator/pki/pki.hpp"
#include "orchestrator/plan/multipath.hpp"
#include "orchestrator/system/confinement.hpp"
#include "orchestrator/telemetry/events.hpp"
#include "orchestrator/telemetry/utc.hpp"
#include "version.hpp"

namespace tunorch {
namespace {

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

SessionStatus session_status(const DesiredTunnel& tunnel, const TunnelWorker& worker,
                             const std::string& peer, const worker::SessionReport& session,
                             bool histograms) {
  SessionStatus status;
  status.address = session.address;
  status.rtt_us = session.rtt_us;
  status.streams = std::max(session.streams, 1);
  status.live_streams = session.live_streams;
  if (session.streams > 0) {
    status.tx_bytes = session.tx_bytes;
    status.rx_bytes = session.rx_bytes;
    status.tx_packets = session.tx_packets;
    status.rx_packets = session.rx_packets;
    status.retransmits = session.retransmits;
    status.cwnd_segments = session.cwnd_segments;
    status.queued_bytes = session.queued_bytes;
  }
  if (const auto probes = worker.probes().find(peer); probes != worker.probes().end()) {
    status.probes = probes->second.counts();
    status.loss_percent = probes->second.loss_percent();
    if (histograms) status.rtt_seconds = probes->second.rtt_seconds().counts();
  }
  if (const auto path = worker.paths().find(peer); path != worker.paths().end()) {
    const unsigned lowered = path->second.health().mtu;
    status.mtu = lowered != 0 ? lowered : tunnel.tun.mtu;
  }
  if (const auto socket = worker.sockets().find(peer); socket != worker.sockets().end()) {
    status.sndbuf_bytes = socket->second.sndbuf_bytes;
    status.rcvbuf_bytes = socket->second.rcvbuf_bytes;
    status.congestion = socket->second.congestion;
  }
  return status;
}

TunnelStatus tunnel_status(const DesiredTunnel& tunnel, const TunnelWorker& worker, Health health,
                           Drain drain, bool histograms) {
  TunnelStatus status;
  status.name = status.dev = tunnel.name;
  status.engine = to_string(tunnel.engine);
  status.pid = worker.pid();
  status.confinement = confinement_of(worker.pid());
  status.worker = to_string(worker.lifecycle().state());
  status.health = to_string(health);
  status.drain = to_string(drain);
  status.weight = tunnel.weight;
  for (const auto& [peer, session] : worker.sessions()) {
    status.tx_bytes += session.tx_bytes;
    status.rx_bytes += session.rx_bytes;
    status.rtt_us = std::max(status.rtt_us, session.rtt_us);
    status.sessions[peer] = session_status(tunnel, worker, peer, session, histograms);
  }
  status.restarts = worker.lifecycle().restarts();
  status.reason = worker.reason();
  status.dropped = worker.dropped();
  status.waiting_bytes = worker.waiting_bytes();
  return status;
}

std::string bundle_state(const BundleStatus& bundle) {
  if (bundle.live == 0) return "down";
  const std::size_t all = bundle.tunnels.size();
  bool whole = bundle.live == all;
  for (const PeerStatus& peer : bundle.peers)
    if (!peer.live_tunnels.empty() && peer.live_tunnels.size() < all) whole = false;
  return whole ? "up" : "degraded";
}

using Carriers = std::map<std::string, std::map<std::string, unsigned>>;  // weights, by peer

PeerStatus peer_status(const std::string& peer, const DesiredBundle& bundle, const StatusInputs& of,
                       const Carriers& carriers) {
  PeerStatus status;
  status.name = peer;
  for (const std::string& tunnel : bundle.tunnels) {
    const TunnelWorker& worker = *of.workers.at(tunnel);
    if (worker.health(peer).state == Health::up) status.live_tunnels.push_back(tunnel);
    if (const auto path = worker.paths().find(peer); path != worker.paths().end())
      status.device_probes[tunnel] = to_string(path->second.device());
  }
  if (const auto counted = of.packets.find(peer); counted != of.packets.end())
    status.nexthop_packets = counted->second;
  if (const auto found = carriers.find(peer); found != carriers.end())
    for (const auto& [tunnel, weight] : found->second) {
      status.carrying.push_back(tunnel);
      status.weights[tunnel] = weight;
    }
  status.mechanism = mechanism_text(*of.desired.find_group(peer), of.observed.abilities);
  return status;
}

BundleStatus bundle_status(const DesiredBundle& bundle, const StatusInputs& of,
                           const Carriers& carriers) {
  BundleStatus status;
  status.name = bundle.name;
  status.role = bundle.listener ? "listener" : "dialer";
  for (const std::string& name : bundle.tunnels) {
    const TunnelWorker& worker = *of.workers.at(name);
    const Health health = tunnel_health(worker, bundle.peers);
    if (health == Health::up) ++status.live;
    status.tunnels.push_back(tunnel_status(*of.desired.find_tunnel(name), worker, health,
                                           of.drains.state(name), of.histograms));
  }
  for (const std::string& peer : bundle.peers)
    status.peers.push_back(peer_status(peer, bundle, of, carriers));
  status.state = bundle_state(status);
  return status;
}

CertificateStatus certificate_status(const std::string& node, const CertificateEnds& ends) {
  return {utc_seconds(ends.node), utc_seconds(ends.ca), utc_seconds(ends.first()),
          expiry_words(node, ends, PkiTime::clock::now())};
}

}  // namespace

Status make_status(const StatusInputs& of) {
  Status status;
  status.cluster = of.desired.cluster;
  status.node = of.node;
  status.version = TUNORCH_VERSION;
  status.time = utc_now();
  status.daemon = {::getpid(), of.started, confinement_of(::getpid())};
  const Carriers carriers = weights(of.desired, of.observed.multipath);
  for (const DesiredBundle& bundle : of.desired.bundles)
    status.bundles.push_back(bundle_status(bundle, of, carriers));
  status.events = of.events;
  status.failovers = of.counters.failovers();
  status.applies = of.counters.applies();
  status.web = of.web;
  if (of.desired.certificate_ends)
    status.certificate = certificate_status(of.node, *of.desired.certificate_ends);
  if (!of.problem.empty()) status.problem = of.problem;
  if (!of.conflicts.empty()) status.conflicts = of.conflicts;
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
  for (const Step& step : make_multipath_plan(desired, then, all_up(desired)))
    report.later.push_back(describe(step));
  return report;
}

}  // namespace tunorch
