#include "orchestrator/engines/wireguard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "orchestrator/config/reserved.hpp"

namespace tunorch {
namespace {

/// In the process's folder.
constexpr const char* uapi_socket = "uapi.sock";

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
    text += fmt::format("persistent_keepalive_interval={}\n",
                        tunnel.engines.wireguard.keepalive.count());
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
  launch.argv = {tunnel.engines.wireguard.binary, "--foreground", tunnel.name};
  launch.environment = {"LOG_LEVEL=error", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1",
                        "WG_UAPI_FD=3"};
  // It begins only where that is there, and wg(8) finds it so.
  launch.socket = uapi_socket;
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

namespace {

class WireGuardProcess final : public EngineProcess {
 public:
  explicit WireGuardProcess(const DesiredTunnel& tunnel) { WireGuardProcess::configure(tunnel); }

  void configure(const DesiredTunnel& tunnel) override {
    configuration_ = tunnel.launch.control;
    names_ = tunnel.launch.peer_names;
  }

  std::string control_socket() const override { return uapi_socket; }
  std::string greeting() const override { return configured_ ? "" : configuration_; }
  std::string question() const override { return "get=1\n\n"; }

  bool receive(std::string& text) override {
    bool answered = false;
    for (auto end = text.find("\n\n"); end != text.npos; end = text.find("\n\n")) {
      const WireGuardState state = read_wireguard(std::string_view(text).substr(0, end + 1));
      text.erase(0, end + 2);
      answered = true;
      if (!configured_ && state.error != 0) {
        refusal_ =
            fmt::format("it refuses its configuration (errno {})", -std::int64_t{state.error});
        return answered;
      }
      configured_ = true;
      if (!state.peers.empty()) state_ = state;
    }
    return answered;
  }
  std::string refusal() const override { return refusal_; }
  void adopted() override { configured_ = true; }

  std::optional<bool> ready() const override {
    return configured_ ? std::nullopt : std::optional(false);
  }

  PeerCount count(const std::string& peer) const override {
    const auto name = names_.find(peer);
    if (name == names_.end()) return {};
    const auto found = state_.peers.find(name->second);
    if (found == state_.peers.end()) return {.known = false, .address = ""};
    return {.by_peer = true,
            .address = found->second.address,
            .counted = true,
            .rx_bytes = found->second.rx_bytes,
            .tx_bytes = found->second.tx_bytes};
  }

  Silence silence(std::chrono::system_clock::time_point now) const override {
    if (state_.peers.empty()) return {};
    const auto last = state_.peers.begin()->second.last_handshake;
    if (last.count() == 0) return {"no handshake was answered yet", ""};
    const auto ago =
        std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch() - last);
    return {fmt::format("the last handshake was {} seconds ago", ago.count()), ""};
  }

  /// Configured again, it shakes hands anew; the protocol itself waits 15 seconds.
  std::string renewal() const override { return configuration_; }

 private:
  std::string configuration_;
  std::map<std::string, std::string> names_;  // its public key, by node
  bool configured_ = false;                   // it took its keys and peers
  std::string refusal_;
  WireGuardState state_;
};

class WireGuardEngine final : public ForeignEngine {
 public:
  Launch launch(const DesiredTunnel& tunnel, const std::filesystem::path&,
                const Materials& materials) const override {
    std::vector<std::string> peers;
    for (const worker::PeerSpec& peer : tunnel.spec.peers) peers.push_back(peer.node);
    return wireguard_launch(tunnel, materials.wireguard_keys(peers));
  }
  std::unique_ptr<EngineProcess> process(const DesiredTunnel& tunnel) const override {
    return std::make_unique<WireGuardProcess>(tunnel);
  }
};

}  // namespace

const ForeignEngine& wireguard_engine() {
  static const WireGuardEngine engine;
  return engine;
}

}  // namespace tunorch
