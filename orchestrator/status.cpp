#include "orchestrator/status.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "orchestrator/confinement.hpp"

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

json tunnel_status(const DesiredTunnel& tunnel, const TunnelWorker& worker, Health health,
                   Drain drain) {
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
                      {"streams", session.streams},
                      {"live_streams", session.live_streams}};
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
          {"dropped", worker.dropped()}};
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
  const auto& [desired, observed, node, workers, drains, packets, problem, conflicts] = standing;
  json status{{"cluster", desired.cluster}, {"node", node}, {"bundles", json::array()}};
  if (!problem.empty()) status["problem"] = problem;
  status["daemon"] = {{"pid", ::getpid()}, {"confinement", confinement_status(::getpid())}};
  if (desired.certificate_ends) {
    const auto now = PkiTime::clock::now();
    status["certificate"] = {
        {"expires", fmt::format("{:%FT%TZ}", fmt::gmtime(PkiTime::clock::to_time_t(
                                                 desired.certificate_ends->first())))},
        {"warning", expiry_words(node, *desired.certificate_ends, now)}};
  }
  if (!conflicts.empty()) status["conflicts"] = conflicts;
  const auto carry = carrying(desired, observed.carriage);
  for (const DesiredBundle& bundle : desired.bundles) {
    json tunnels = json::array(), peers = json::array();
    std::size_t live = 0;
    for (const std::string& name : bundle.tunnels) {
      const TunnelWorker& worker = *workers.at(name);
      const Health health = tunnel_health(worker, bundle.peers);
      if (health == Health::up) ++live;
      tunnels.push_back(
          tunnel_status(*desired.find_tunnel(name), worker, health, drains.state(name)));
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
           {"carrying", carriers == carry.end() ? json::array() : json(carriers->second)},
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

json plan_report(const Desired& desired, const Observed& observed, const HealthTable& health) {
  const Plan plan = make_plan(desired, observed, health);
  json report{{"steps", json::array()},
              {"later", json::array()},
              {"conflicts", plan.conflicts},
              {"notes", plan.notes}};
  Observed then = observed;
  for (const Step& step : plan.steps) {
    report["steps"].push_back(describe(step));
    record(then, step);
  }
  for (routing::Link& link : then.links) link.carrier = true;
  for (const Step& step : make_carriage_plan(desired, then, all_up(desired)))
    report["later"].push_back(describe(step));
  return report;
}

namespace {

std::string bytes_text(std::uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

/// What the daemon and its workers may do, those alike in one line.
std::string confinement_lines(const json& status) {
  std::string text =
      fmt::format("daemon: {}\n", confinement_text(status.at("daemon").at("confinement")));
  std::map<std::string, std::vector<std::string>> alike;
  for (const json& bundle : status.at("bundles"))
    for (const json& tunnel : bundle.at("tunnels"))
      if (tunnel.at("pid") != 0)
        alike[confinement_text(tunnel.at("confinement"))].push_back(tunnel.at("name"));
  for (const auto& [words, tunnels] : alike)
    text += fmt::format("{}: {}\n", fmt::join(tunnels, " "), words);
  return text;
}

using Row = std::vector<std::string>;

std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += fmt::format("{:<{}}", row[i], widths[i] + 2);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace

std::string status_table(const json& status) {
  if (status.contains("problem"))
    return fmt::format(
        "{}\nThe tunnels that run go on, but nobody watches them. Mend it: the daemon tries again "
        "every few seconds.\n",
        status["problem"].get<std::string>());
  if (status.at("cluster").get<std::string>().empty()) return "nothing is applied on this node\n";
  std::string text = fmt::format("cluster {}, node {}\n", status.at("cluster").get<std::string>(),
                                 status.at("node").get<std::string>());
  if (status.contains("certificate") && status["certificate"]["warning"] != "")
    text += status["certificate"]["warning"].get<std::string>() + "\n";
  for (const json& conflict : status.value("conflicts", json::array()))
    text += "in the way: " + conflict.get<std::string>() + "\n";
  for (const json& bundle : status.at("bundles")) {
    text += fmt::format("\nbundle {} ({}): {}, {} of {} tunnels live\n",
                        bundle.at("name").get<std::string>(), bundle.at("role").get<std::string>(),
                        bundle.at("state").get<std::string>(), bundle.at("live").get<int>(),
                        bundle.at("tunnels").size());
    std::vector<Row> rows{{"TUNNEL", "ENGINE", "WORKER", "PID", "HEALTH", "WEIGHT", "RTT", "SENT",
                           "RECEIVED", "RESTARTS", "REASON"}};
    for (const json& tunnel : bundle.at("tunnels"))
      rows.push_back({tunnel.at("name"), tunnel.at("engine"), tunnel.at("worker"),
                      tunnel.at("pid") == 0 ? "-" : std::to_string(tunnel.at("pid").get<int>()),
                      tunnel.at("drain") == "no" ? tunnel.at("health") : tunnel.at("drain"),
                      std::to_string(tunnel.at("weight").get<unsigned>()),
                      fmt::format("{:.2f} ms", tunnel.at("rtt_us").get<double>() / 1000),
                      bytes_text(tunnel.at("tx_bytes")), bytes_text(tunnel.at("rx_bytes")),
                      std::to_string(tunnel.at("restarts").get<int>()), tunnel.at("reason")});
    text += aligned(rows);
    for (const json& peer : bundle.at("peers")) {
      std::string live;
      for (const json& tunnel : peer.at("carrying")) live += " " + tunnel.get<std::string>();
      text += fmt::format("peer {}: {} ({})\n", peer.at("name").get<std::string>(),
                          live.empty() ? "no live tunnel" : "live through" + live,
                          peer.at("mechanism").get<std::string>());
    }
  }
  return text + "\n" + confinement_lines(status);
}

}  // namespace tunorch
