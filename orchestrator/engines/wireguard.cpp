#include "orchestrator/engines/wireguard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "orchestrator/config/reserved.hpp"

namespace tunorch {
namespace {

/// Within what a clock of nanoseconds can hold (to the year 2255), so that no sum of two overflows.
constexpr std::int64_t latest_handshake_s = 9'000'000'000;

std::string peer_text(const DesiredTunnel& tunnel, const WireGuardKeys& keys,
                      const worker::PeerSpec& peer) {
  const auto& spec = tunnel.spec;
  std::string text =
      fmt::format("public_key={}\nreplace_allowed_ips=true\n", keys.public_keys.at(peer.node));
  for (const std::string& prefix : peer.prefixes)
    text += fmt::format("allowed_ip={}\n", Prefix::parse(prefix)->network().text());
  if (!spec.listener) {
    const bool v6 = spec.address.find(':') != std::string::npos;
    text += fmt::format("endpoint={}\n", v6 ? fmt::format("[{}]:{}", spec.address, spec.port)
                                            : fmt::format("{}:{}", spec.address, spec.port));
    text += fmt::format("persistent_keepalive_interval={}\n", tunnel.wireguard.keepalive.count());
  }
  return text;
}

template <class Number>
Number number(std::string_view text) {
  Number value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Launch wireguard_launch(const DesiredTunnel& tunnel, const WireGuardKeys& keys) {
  Launch launch;
  launch.argv = {tunnel.wireguard.binary, "--foreground", tunnel.name};
  launch.environment = {"LOG_LEVEL=error", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1",
                        "WG_UAPI_FD=3"};
  // It begins only where that is there, and wg(8) finds it so.
  launch.socket = wireguard_socket;
  launch.socket_link = "/run/wireguard/" + tunnel.name + ".sock";
  launch.control = fmt::format(
      "set=1\nprivate_key={}\nfwmark={}\nlisten_port={}\nreplace_peers=true\n", keys.private_key,
      own_connections_mark, tunnel.spec.listener ? tunnel.spec.port : 0);
  for (const worker::PeerSpec& peer : tunnel.spec.peers) {
    launch.control += peer_text(tunnel, keys, peer);
    launch.peer_names[peer.node] = keys.public_keys.at(peer.node);
  }
  launch.control += "\n";
  return launch;
}

WireGuardState read_wireguard(std::string_view answer) {
  WireGuardState state;
  WireGuardPeer* peer = nullptr;
  while (!answer.empty()) {
    const auto end = answer.find('\n');
    const std::string_view line = answer.substr(0, end);
    answer.remove_prefix(end == answer.npos ? answer.size() : end + 1);
    const auto equals = line.find('=');
    if (equals == line.npos) continue;
    const std::string_view key = line.substr(0, equals), value = line.substr(equals + 1);
    if (key == "errno") state.error = number<int>(value);
    if (key == "public_key") peer = &state.peers[std::string(value)];
    if (!peer) continue;
    if (key == "endpoint") peer->address = value;
    if (key == "last_handshake_time_sec")
      peer->last_handshake = std::chrono::seconds(
          std::clamp(number<std::int64_t>(value), std::int64_t{0}, latest_handshake_s));
    if (key == "rx_bytes") peer->rx_bytes = number<std::uint64_t>(value);
    if (key == "tx_bytes") peer->tx_bytes = number<std::uint64_t>(value);
  }
  return state;
}

}  // namespace tunorch
