#include "orchestrator/cli/status_text.hpp"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "orchestrator/system/confinement.hpp"

namespace tunorch {
namespace {

using nlohmann::json;

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

std::string tunnel_table(const Terminal& terminal, const json& tunnels) {
  static const std::vector<Column> columns{
      {"TUNNEL"}, {"ENGINE", 5}, {"WORKER", 4},   {"PID", 8},      {"HEALTH"}, {"WEIGHT", 6},
      {"RTT", 2}, {"SENT", 3},   {"RECEIVED", 3}, {"RESTARTS", 7}, {"REASON"}};
  std::vector<std::vector<Cell>> rows;
  for (const json& tunnel : tunnels)
    rows.push_back(
        {{tunnel.at("name")},
         {tunnel.at("engine")},
         state_cell(tunnel.at("worker")),
         {tunnel.at("pid") == 0 ? "-" : std::to_string(tunnel.at("pid").get<int>())},
         state_cell(tunnel.at("drain") == "no" ? tunnel.at("health") : tunnel.at("drain")),
         {std::to_string(tunnel.at("weight").get<unsigned>())},
         {tunnel.at("rtt_us") == 0
              ? "-"
              : fmt::format("{:.2f} ms", tunnel.at("rtt_us").get<double>() / 1000)},
         {bytes_text(tunnel.at("tx_bytes"))},
         {bytes_text(tunnel.at("rx_bytes"))},
         {std::to_string(tunnel.at("restarts").get<int>())},
         {tunnel.at("reason")}});
  return table(terminal, columns, rows);
}

std::string peer_line(const Terminal& terminal, const json& peer) {
  std::string live;
  for (const json& tunnel : peer.at("carrying")) live += " " + tunnel.get<std::string>();
  return fmt::format(
      "peer {}: {} ({})\n", peer.at("name").get<std::string>(),
      live.empty() ? toned(terminal, Tone::bad, "no live tunnel") : "live through" + live,
      peer.at("mechanism").get<std::string>());
}

}  // namespace

std::string page_text(const PageState& page) {
  if (!page.reason.empty()) return "no page and no metrics: " + page.reason;
  const std::string& listen = page.listen;
  const bool loopback = listen.starts_with("127.") || listen.starts_with("[::1]");
  return "page and metrics: http://" + listen + "/" +
         (loopback ? "" : " (without a password: whoever can connect can look)");
}

std::string status_text(const Terminal& terminal, const json& status) {
  if (status.contains("problem"))
    return fmt::format(
        "{}\nThe tunnels that run go on, but nobody watches them. Mend it: the daemon tries again "
        "every few seconds.\n",
        toned(terminal, Tone::bad, status["problem"].get<std::string>()));
  if (status.at("cluster").get<std::string>().empty()) return "nothing is applied on this node\n";
  std::string text = fmt::format("cluster {}, node {}\n", status.at("cluster").get<std::string>(),
                                 status.at("node").get<std::string>());
  if (status.contains("certificate") && status["certificate"]["warning"] != "")
    text +=
        toned(terminal, Tone::warning, status["certificate"]["warning"].get<std::string>()) + "\n";
  for (const json& conflict : status.value("conflicts", json::array()))
    text += toned(terminal, Tone::bad, "in the way: " + conflict.get<std::string>()) + "\n";
  for (const json& bundle : status.at("bundles")) {
    const std::string state = bundle.at("state");
    text += fmt::format("\nbundle {} ({}): {}, {} of {} tunnels live\n",
                        bundle.at("name").get<std::string>(), bundle.at("role").get<std::string>(),
                        toned(terminal, tone_of(state), state), bundle.at("live").get<int>(),
                        bundle.at("tunnels").size());
    text += tunnel_table(terminal, bundle.at("tunnels"));
    for (const json& peer : bundle.at("peers")) text += peer_line(terminal, peer);
  }
  text += "\n";
  if (status.contains("web")) {
    const Tone tone = status["web"]["reason"] == "" ? Tone::plain : Tone::warning;
    text += toned(terminal, tone, page_text(page_from(status["web"]))) + "\n";
  }
  return text + confinement_lines(status);
}

}  // namespace tunorch
