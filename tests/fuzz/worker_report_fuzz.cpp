// What a daemon hears from the processes it serves: the native worker's reports (JSON), OpenVPN's
// management socket, wireguard-go's UAPI. The first byte says which: R, O, W.
#include <chrono>
#include <string>

#include "orchestrator/engines/openvpn.hpp"
#include "orchestrator/engines/wireguard.hpp"
#include "orchestrator/health/path_health.hpp"
#include "orchestrator/tunnels/worker_link.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace tunorch;

void hear_worker(std::string_view text) {
  const auto report = tunorch::read_report(text);
  if (!report) return;
  const std::string said = to_packet(*report);
  const auto again = tunorch::read_report(said);
  require(again && to_packet(*again) == said);
  // Whatever it says of its sessions, health stays one of three.
  PathHealth path;
  path.configure({}, {});
  PathHealth::time_point now{};
  path.session_up(Health::down, now);
  for (const worker::SessionReport& session : report->sessions) {
    now += std::chrono::milliseconds(200);
    path.heartbeat({session.probes, session.rx_packets}, now);
    require(path.health().share <= 100);
  }
}

void hear_openvpn(std::string_view text) {
  OpenVpnState state;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    const bool ended = state.read_line(line);
    require(!ended || line.find("END") != line.npos);
  }
}

void hear_wireguard(std::string_view text) {
  const WireGuardState state = read_wireguard(text);
  // What the daemon reckons with it: must not overflow a clock.
  const std::chrono::nanoseconds now = std::chrono::seconds(1'800'000'000);
  for (const auto& [key, peer] : state.peers) {
    require(peer.last_handshake.count() >= 0);
    require(now - peer.last_handshake <= now);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view text = text_of(data + 1, size - 1);
  if (data[0] == 'R') hear_worker(text);
  if (data[0] == 'O') hear_openvpn(text);
  if (data[0] == 'W') hear_wireguard(text);
  return 0;
}
