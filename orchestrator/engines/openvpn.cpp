#include "orchestrator/engines/openvpn.hpp"

#include <fmt/format.h>

#include <charconv>
#include <vector>

#include "orchestrator/config/reserved.hpp"

namespace tunorch {
namespace {

/// In the process's folder.
constexpr const char* management_socket = "management";

/// UDP has no tuning of its own; more than net.core.*mem_max is cut by the kernel.
constexpr std::uint32_t udp_buffer_bytes = 2 * 1024 * 1024;

std::string netmask(std::uint8_t length) {
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  return fmt::format("{}.{}.{}.{}", mask >> 24, mask >> 16 & 255, mask >> 8 & 255, mask & 255);
}

/// Under the names of OpenVPN's options that read them.
std::map<std::string, std::string> key_files(const NodeKeys& keys) {
  return {{"ca", keys.ca_pem}, {"cert", keys.certificate_pem}, {"key", keys.key_pem}};
}

/// Of a list that never ends.
constexpr std::size_t most_clients = 4096;

std::uint32_t buffer_bytes(std::uint32_t given, bool tcp) {
  return given != 0 || tcp ? given : udp_buffer_bytes;
}

std::string common_part(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                        const NodeKeys& keys) {
  const auto& spec = tunnel.spec;
  const bool tcp = tunnel.engines.openvpn.tcp;
  std::string text;
  const auto line = [&](const std::string& words) { text += words + "\n"; };
  line("dev " + tunnel.name);
  line("dev-type tun");
  line("disable-dco");
  line("ifconfig-noexec");
  line("route-noexec");
  line("persist-tun");
  line("persist-key");
  line(fmt::format("tun-mtu {}", tunnel.tun.mtu));
  line(fmt::format("txqueuelen {}", tunnel.tun.txqueuelen));
  // Over UDP a TCP flow's segments are to fit the path; what else is too large is found by probes.
  line(tcp ? "mssfix 0" : "mssfix 1500 mtu");
  line("data-ciphers " + tunnel.engines.openvpn.ciphers);
  line("tls-version-min 1.3");
  if (const auto bytes = buffer_bytes(spec.sndbuf_bytes, tcp))
    line(fmt::format("sndbuf {}", bytes));
  if (const auto bytes = buffer_bytes(spec.rcvbuf_bytes, tcp))
    line(fmt::format("rcvbuf {}", bytes));
  line(fmt::format("management {} unix", (dir / management_socket).string()));
  line("verb 2");
  line("suppress-timestamps");
  for (const auto& [name, pem] : key_files(keys))
    line(fmt::format("{} {}", name, (dir / name).string()));
  if (!keys.crl_pem.empty()) line(fmt::format("crl-verify {}", (dir / "crl").string()));
  return text;
}

/// A socket of the family that is dialed, on every address: an endpoint may be a NAT's.
std::string listener_part(const DesiredTunnel& tunnel, const std::filesystem::path& dir) {
  const auto& spec = tunnel.spec;
  const char* const family = tunnel.endpoint.find(':') == std::string::npos ? "4" : "6";
  std::string text;
  const auto line = [&](const std::string& words) { text += words + "\n"; };
  line("mode server");
  line("tls-server");
  line(fmt::format("proto {}{}", tunnel.engines.openvpn.tcp ? "tcp" : "udp",
                   family + std::string(tunnel.engines.openvpn.tcp ? "-server" : "")));
  line(fmt::format("lport {}", spec.port));
  line("topology subnet");
  line(fmt::format("ifconfig {} {}", tunnel.link_address.address_text(),
                   netmask(tunnel.link_length)));
  line("client-config-dir " + (dir / "clients").string());
  line("ccd-exclusive");
  line(fmt::format("max-clients {}", spec.peers.size() + 1));  // one that returns is there twice
  // Answers leave from the address that was dialed, of several that a host may have.
  if (!tunnel.engines.openvpn.tcp) line("multihome");
  line("dh none");
  line("remote-cert-tls client");
  line("keepalive 1 5");
  line(fmt::format("mark {}", own_connections_mark));
  for (const auto& [name, bytes] :
       {std::pair{"sndbuf", spec.sndbuf_bytes}, std::pair{"rcvbuf", spec.rcvbuf_bytes}})
    if (const auto size = buffer_bytes(bytes, tunnel.engines.openvpn.tcp))
      line(fmt::format("push \"{} {}\"", name, size));
  return text;
}

std::string dialer_part(const DesiredTunnel& tunnel) {
  const auto& spec = tunnel.spec;
  const char* const family = tunnel.endpoint.find(':') == std::string::npos ? "4" : "6";
  const bool tcp = tunnel.engines.openvpn.tcp;
  std::string text;
  const auto line = [&](const std::string& words) { text += words + "\n"; };
  line("tls-client");
  line("pull");
  line(fmt::format("proto {}{}", tcp ? "tcp" : "udp", family + std::string(tcp ? "-client" : "")));
  line(fmt::format("remote {} {}", spec.address, spec.port));
  if (spec.bind.empty())
    line("nobind");
  else if (Prefix::parse(spec.bind))
    line(fmt::format("local {}\nlport 0\nbind", spec.bind));
  else
    line(fmt::format("bind-dev {}\nnobind", spec.bind));
  line("remote-cert-tls server");
  line(fmt::format("verify-x509-name {} name", spec.peers.front().node));
  line("keepalive 1 5");
  line("connect-retry 1 5");
  line("connect-timeout 3");
  line("tls-timeout 1");
  line("hand-window 10");
  if (!tcp) line("explicit-exit-notify 1");
  return text;
}

/// What the listener grants one dialer: its link address, and the prefixes that are behind it.
std::string client_text(const worker::PeerSpec& peer, const Prefix& link, std::uint8_t length) {
  std::string text = fmt::format("ifconfig-push {} {}\n", link.address_text(), netmask(length));
  for (const std::string& word : peer.prefixes) {
    const auto prefix = Prefix::parse(word);
    if (!prefix || *prefix == link) continue;
    text += prefix->v6
                ? fmt::format("iroute-ipv6 {}\n", prefix->text())
                : fmt::format("iroute {} {}\n", prefix->address_text(), netmask(prefix->length));
  }
  return text;
}

std::vector<std::string_view> split(std::string_view line, char by) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = line.find(by);
    parts.push_back(line.substr(0, end));
    if (end == line.npos) return parts;
    line.remove_prefix(end + 1);
  }
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Launch openvpn_launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                      const NodeKeys& keys) {
  const auto& spec = tunnel.spec;
  Launch launch;
  launch.argv = {tunnel.engines.openvpn.binary, "--config", (dir / "openvpn.conf").string()};
  launch.argv.insert(launch.argv.end(), tunnel.engines.openvpn.extra_args.begin(),
                     tunnel.engines.openvpn.extra_args.end());
  launch.files.push_back(
      {"openvpn.conf", (spec.listener ? listener_part(tunnel, dir) : dialer_part(tunnel)) +
                           common_part(tunnel, dir, keys)});
  for (const auto& [name, pem] : key_files(keys)) launch.files.push_back({name, pem, true});
  // A new list needs a new process: the old one would keep whom it let in before.
  if (!keys.crl_pem.empty()) launch.files.push_back({"crl", keys.crl_pem});
  if (!spec.listener) return launch;
  for (const worker::PeerSpec& peer : spec.peers)
    launch.files.push_back(
        {"clients/" + peer.node,
         client_text(peer, tunnel.link_peers.at(peer.node), tunnel.link_length)});
  return launch;
}

/// Rows are as status-version 3 has them: tab-separated, and HEADER lines tell the columns, which
/// have been the same since 2.4: name, outer address, address, IPv6 address, received, sent.
bool OpenVpnState::read_line(std::string_view line) {
  while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.starts_with(">STATE:"))
    line.remove_prefix(7);
  else if (line.starts_with('>'))
    return false;
  if (line == "END") return true;
  const auto columns = split(line, '\t');
  if (columns[0] == "TITLE") {
    clients.clear();
  } else if (columns[0] == "CLIENT_LIST" && columns.size() > 6 && clients.size() < most_clients) {
    clients[std::string(columns[1])] = {std::string(columns[2]), number(columns[5]),
                                        number(columns[6])};
  } else if (const auto words = split(line, ','); words.size() == 2) {
    // A dialer's counters, as its process sees them: what it read from the device, it sent.
    if (words[0] == "TUN/TAP read bytes") tx_bytes = number(words[1]);
    if (words[0] == "TUN/TAP write bytes") rx_bytes = number(words[1]);
  } else if (words.size() > 4 && number(words[0]) > 0) {
    // time, state, detail, inner address, outer address, port, …
    state = words[1];
    detail = words[2];
    remote = words[4].empty() || words.size() < 6 ? "" : fmt::format("{}:{}", words[4], words[5]);
  }
  return false;
}

namespace {

class OpenVpnProcess final : public EngineProcess {
 public:
  explicit OpenVpnProcess(bool listener) : listener_(listener) {}

  std::string control_socket() const override { return management_socket; }
  std::string greeting() const override { return "state on\nstate\n"; }
  std::string question() const override { return "state\nstatus 3\n"; }
  std::string farewell() const override { return "signal SIGTERM\n"; }

  bool receive(std::string& text) override {
    bool answered = false;
    for (auto end = text.find('\n'); end != text.npos; end = text.find('\n')) {
      answered = state_.read_line(std::string_view(text).substr(0, end)) || answered;
      text.erase(0, end + 1);
    }
    return answered;
  }

  /// A dialer takes its device only when the listener has answered.
  std::optional<bool> ready() const override {
    return state_.state.empty() ? std::nullopt : std::optional(true);
  }

  PeerCount count(const std::string& peer) const override {
    if (!listener_)
      return {.address = state_.remote,
              .counted = true,
              .rx_bytes = state_.rx_bytes,
              .tx_bytes = state_.tx_bytes};
    const auto found = state_.clients.find(peer);
    if (found == state_.clients.end()) return {.known = false, .address = ""};
    return {.by_peer = true,
            .address = found->second.address,
            .counted = true,
            .rx_bytes = found->second.rx_bytes,
            .tx_bytes = found->second.tx_bytes};
  }

  Silence silence(std::chrono::system_clock::time_point) const override {
    if (state_.state.empty()) return {};
    return {"openvpn is in state " + state_.state +
                (state_.detail.empty() ? "" : " (" + state_.detail + ")"),
            ""};
  }

 private:
  bool listener_;
  OpenVpnState state_;
};

class OpenVpnEngine final : public ForeignEngine {
 public:
  Launch launch(const DesiredTunnel& tunnel, const std::filesystem::path& dir,
                const Materials& materials) const override {
    return openvpn_launch(tunnel, dir, materials.keys);
  }
  std::unique_ptr<EngineProcess> process(const DesiredTunnel& tunnel) const override {
    return std::make_unique<OpenVpnProcess>(tunnel.spec.listener);
  }
};

}  // namespace

const ForeignEngine& openvpn_engine() {
  static const OpenVpnEngine engine;
  return engine;
}

}  // namespace tunorch
