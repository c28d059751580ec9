#include "orchestrator/cli/status_text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <vector>

#include "orchestrator/system/confinement.hpp"

namespace tunorch {
namespace {

std::string bytes_text(std::uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

/// Of a bundle's, worker's or tunnel's state.
Tone tone_of(const std::string& state) {
  if (state == "up" || state == "running") return Tone::good;
  if (state == "down" || state == "quarantined") return Tone::bad;
  return Tone::warning;
}

Cell state_cell(const std::string& state) {
  return {state, tone_of(state)};
}

/// What the daemon and its workers may do, those alike in one line.
std::string confinement_lines(const Status& status) {
  std::string text = fmt::format("daemon: {}\n", confinement_text(status.daemon.confinement));
  std::map<std::string, std::vector<std::string>> alike;
  for (const BundleStatus& bundle : status.bundles)
    for (const TunnelStatus& tunnel : bundle.tunnels)
      if (tunnel.pid != 0) alike[confinement_text(tunnel.confinement)].push_back(tunnel.name);
  for (const auto& [words, tunnels] : alike)
    text += fmt::format("{}: {}\n", fmt::join(tunnels, " "), words);
  return text;
}

std::string tunnel_table(const Terminal& terminal, const std::vector<TunnelStatus>& tunnels) {
  static const std::vector<Column> columns{
      {"TUNNEL"}, {"ENGINE", 5}, {"WORKER", 4},   {"PID", 8},      {"HEALTH"}, {"WEIGHT", 6},
      {"RTT", 2}, {"SENT", 3},   {"RECEIVED", 3}, {"RESTARTS", 7}, {"REASON"}};
  std::vector<std::vector<Cell>> rows;
  for (const TunnelStatus& tunnel : tunnels)
    rows.push_back({{tunnel.name},
                    {tunnel.engine},
                    state_cell(tunnel.worker),
                    {tunnel.pid == 0 ? "-" : std::to_string(tunnel.pid)},
                    state_cell(tunnel.drain == "no" ? tunnel.health : tunnel.drain),
                    {std::to_string(tunnel.weight)},
                    {tunnel.rtt_us == 0 ? "-" : fmt::format("{:.2f} ms", tunnel.rtt_us / 1000.0)},
                    {bytes_text(tunnel.tx_bytes)},
                    {bytes_text(tunnel.rx_bytes)},
                    {std::to_string(tunnel.restarts)},
                    {tunnel.reason}});
  return table(terminal, columns, rows);
}

std::string peer_line(const Terminal& terminal, const PeerStatus& peer) {
  return fmt::format("peer {}: {} ({})\n", peer.name,
                     peer.carrying.empty()
                         ? toned(terminal, Tone::bad, "no live tunnel")
                         : fmt::format("live through {}", fmt::join(peer.carrying, " ")),
                     peer.mechanism);
}

}  // namespace

std::string page_text(const PageState& page) {
  if (!page.reason.empty()) return "no page and no metrics: " + page.reason;
  const std::string& listen = page.listen;
  const bool loopback = listen.starts_with("127.") || listen.starts_with("[::1]");
  return "page and metrics: http://" + listen + "/" +
         (loopback ? "" : " (without a password: whoever can connect can look)");
}

std::string status_text(const Terminal& terminal, const Status& status) {
  if (status.problem)
    return fmt::format(
        "{}\nThe tunnels that run go on, but nobody watches them. Mend it: the daemon tries again "
        "every few seconds.\n",
        toned(terminal, Tone::bad, *status.problem));
  if (status.cluster.empty()) return "nothing is applied on this node\n";
  std::string text = fmt::format("cluster {}, node {}\n", status.cluster, status.node);
  if (status.certificate && !status.certificate->warning.empty())
    text += toned(terminal, Tone::warning, status.certificate->warning) + "\n";
  for (const std::string& conflict : status.conflicts.value_or(std::vector<std::string>{}))
    text += toned(terminal, Tone::bad, "in the way: " + conflict) + "\n";
  for (const BundleStatus& bundle : status.bundles) {
    text += fmt::format("\nbundle {} ({}): {}, {} of {} tunnels live\n", bundle.name, bundle.role,
                        toned(terminal, tone_of(bundle.state), bundle.state), bundle.live,
                        bundle.tunnels.size());
    text += tunnel_table(terminal, bundle.tunnels);
    for (const PeerStatus& peer : bundle.peers) text += peer_line(terminal, peer);
  }
  text += "\n";
  if (status.web) {
    const Tone tone = status.web->reason.empty() ? Tone::plain : Tone::warning;
    text += toned(terminal, tone, page_text(*status.web)) + "\n";
  }
  return text + confinement_lines(status);
}

}  // namespace tunorch
