// What the engines make of a tunnel, and what they hear: text both ways.
#include <gmock/gmock.h>

#include "orchestrator/config/template.hpp"
#include "orchestrator/engines/command.hpp"
#include "orchestrator/engines/openvpn.hpp"
#include "orchestrator/engines/registry.hpp"
#include "orchestrator/engines/wireguard.hpp"
#include "orchestrator/plan/digest.hpp"
#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const NodeKeys tls_keys{"CA\n", "CERT\n", "KEY\n"};

DesiredTunnel tunnel_of(
    Engine engine, const std::string& node,
    const std::function<void(Bundle&)>& change = [](Bundle&) {}) {
  Cluster cluster = sample_cluster();
  for (Tunnel& tunnel : cluster.bundles[0].tunnels) tunnel.engine = engine;
  change(cluster.bundles[0]);
  return desired_for(cluster, node).tunnels.at(1);
}

std::string text_of(const Launch& launch, const std::string& name) {
  for (const LaunchFile& file : launch.files)
    if (file.name == name) return file.text;
  ADD_FAILURE() << "no file " << name;
  return "";
}

// ---- openvpn ----

TEST(OpenVpn, ReadsTheListOfRevokedCertificates) {
  const Desired desired = desired_for(sample_cluster(), "gateway");
  NodeKeys keys = tls_keys;
  const auto& tunnel = desired.tunnels[0];
  const Launch before = openvpn_launch(tunnel, "/d", keys);
  keys.crl_pem = "LIST\n";
  const Launch after = openvpn_launch(tunnel, "/d", keys);
  EXPECT_THAT(after.files[0].text, HasSubstr("crl-verify /d/crl\n"));
  EXPECT_THAT(before.files[0].text, Not(HasSubstr("crl-verify")));
  EXPECT_FALSE(updates_live(digest_of(before), digest_of(after))) << "whom it let in would stay";
  keys.crl_pem = "LONGER\n";
  EXPECT_FALSE(updates_live(digest_of(after), digest_of(openvpn_launch(tunnel, "/d", keys))));
}

TEST(OpenVpn, AListenerServesItsDialersByCertificateAndPrefix) {
  const DesiredTunnel tunnel = tunnel_of(Engine::openvpn, "gateway");
  const Launch launch = openvpn_launch(tunnel, "/run/x", tls_keys);
  EXPECT_THAT(launch.argv, ElementsAre("openvpn", "--config", "/run/x/openvpn.conf"));
  EXPECT_THAT(
      text_of(launch, "openvpn.conf"),
      AllOf(HasSubstr("mode server\n"), HasSubstr("proto udp4\n"), HasSubstr("lport 4431\n"),
            HasSubstr("dev backbone-1\n"), HasSubstr("ifconfig-noexec\n"),
            HasSubstr("route-noexec\n"), HasSubstr("disable-dco\n"), HasSubstr("ccd-exclusive\n"),
            HasSubstr("key /run/x/key\n"), HasSubstr("multihome\n"),
            HasSubstr("client-config-dir /run/x/clients\n")));
  EXPECT_EQ(text_of(launch, "key"), "KEY\n");
  EXPECT_THAT(text_of(launch, "clients/edge"),
              AllOf(HasSubstr("ifconfig-push 198.18."), HasSubstr(" 255.255.248.0\n"),
                    HasSubstr("iroute 10.77.0.2 255.255.255.255\n"),
                    HasSubstr("iroute 192.168.50.0 255.255.255.0\n"),
                    HasSubstr("iroute-ipv6 fd77::2/128\n")));
  EXPECT_THAT(text_of(launch, "clients/branch"), Not(HasSubstr("10.77.0.2")));
}

TEST(OpenVpn, ADialerKnowsWhomItDials) {
  const Launch launch =
      openvpn_launch(tunnel_of(Engine::openvpn, "edge",
                               [](Bundle& bundle) {
                                 bundle.engines.openvpn.tcp = true;
                                 bundle.engines.openvpn.extra_args = {"--mute", "3"};
                                 bundle.tunnels[1].bind = "192.0.2.7";
                               }),
                     "/run/x", tls_keys);
  EXPECT_THAT(launch.argv,
              ElementsAre("openvpn", "--config", "/run/x/openvpn.conf", "--mute", "3"));
  EXPECT_THAT(text_of(launch, "openvpn.conf"),
              AllOf(HasSubstr("remote 203.0.113.10 4431\n"), HasSubstr("proto tcp4-client\n"),
                    HasSubstr("verify-x509-name gateway name\n"), HasSubstr("local 192.0.2.7\n"),
                    HasSubstr("pull\n"), Not(HasSubstr("explicit-exit-notify"))));
}

TEST(OpenVpn, HearsADialersState) {
  OpenVpnState state;
  for (const char* line : {">INFO:OpenVPN Management Interface Version 5", "SUCCESS: real-time",
                           "1700000000,CONNECTED,SUCCESS,198.18.0.2,10.66.0.1,4431,,\r"})
    EXPECT_FALSE(state.read_line(line));
  EXPECT_TRUE(state.read_line("END"));
  EXPECT_EQ(state.state, "CONNECTED");
  EXPECT_EQ(state.remote, "10.66.0.1:4431");
  for (const char* line : {"OpenVPN STATISTICS", "Updated,2026-11-21 10:00:00",
                           "TUN/TAP read bytes,1000", "TUN/TAP write bytes,2000"})
    state.read_line(line);
  EXPECT_EQ(state.tx_bytes, 1000U);
  EXPECT_EQ(state.rx_bytes, 2000U);
  state.read_line(">STATE:1700000009,RECONNECTING,ping-restart,,,,,");
  EXPECT_EQ(state.state, "RECONNECTING");
  EXPECT_EQ(state.detail, "ping-restart");
}

TEST(OpenVpn, HearsAListenersClients) {
  OpenVpnState state;
  const auto hear = [&](const char* row) {
    state.read_line("TITLE\tOpenVPN 2.6.14");
    state.read_line("HEADER\tCLIENT_LIST\tCommon Name\tReal Address\t…");
    if (*row) state.read_line(row);
    EXPECT_TRUE(state.read_line("END"));
  };
  hear("CLIENT_LIST\tedge\t10.66.0.2:5000\t198.18.0.2\t\t700\t900\t2026\t1700000000\tUNDEF\t0\t0");
  ASSERT_TRUE(state.clients.contains("edge"));
  EXPECT_EQ(state.clients["edge"].address, "10.66.0.2:5000");
  EXPECT_EQ(state.clients["edge"].rx_bytes, 700U);
  EXPECT_EQ(state.clients["edge"].tx_bytes, 900U);
  hear("");
  EXPECT_TRUE(state.clients.empty());
}

TEST(OpenVpn, SurvivesWordsItDoesNotKnow) {
  OpenVpnState state;
  for (const char* line : {"", ",", ",,,,,,", "\t\t\t\t\t\t\t\t", "CLIENT_LIST", ">STATE:",
                           "99999999999999999999999,X,Y,Z,W,V", "CLIENT_LIST\ta\tb\tc\td\t-1\tx"})
    state.read_line(line);
}

// ---- wireguard ----

const WireGuardKeys wireguard_keys{"aa", {{"gateway", "11"}, {"edge", "22"}, {"branch", "33"}}};

TEST(WireGuard, AListenersPeersHaveTheirPrefixes) {
  const Launch launch = wireguard_launch(tunnel_of(Engine::wireguard, "gateway"), wireguard_keys);
  EXPECT_THAT(launch.argv, ElementsAre("wireguard-go", "--foreground", "backbone-1"));
  EXPECT_THAT(launch.environment, Contains("WG_UAPI_FD=3"));
  EXPECT_EQ(launch.socket, "uapi.sock");
  EXPECT_EQ(launch.socket_link, "/run/wireguard/backbone-1.sock");
  EXPECT_THAT(launch.control,
              AllOf(testing::StartsWith("set=1\nprivate_key=aa\n"), HasSubstr("listen_port=4431\n"),
                    HasSubstr("public_key=22\n"), HasSubstr("allowed_ip=192.168.50.0/24\n"),
                    HasSubstr("allowed_ip=fd77::2/128\n"), HasSubstr("public_key=33\n"),
                    Not(HasSubstr("endpoint=")), testing::EndsWith("\n\n")));
}

TEST(WireGuard, ADialerHasAnEndpoint) {
  const Launch launch = wireguard_launch(tunnel_of(Engine::wireguard, "edge"), wireguard_keys);
  EXPECT_THAT(launch.control,
              AllOf(HasSubstr("endpoint=203.0.113.10:4431\n"), HasSubstr("public_key=11\n"),
                    HasSubstr("persistent_keepalive_interval=5\n"), HasSubstr("listen_port=0\n"),
                    Not(HasSubstr("public_key=33"))));
}

TEST(WireGuard, HearsItsPeers) {
  const auto state = read_wireguard(
      "private_key=aa\nlisten_port=4431\npublic_key=22\nendpoint=10.66.0.2:4000\n"
      "last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\ntx_bytes=7\nrx_bytes=9\n"
      "public_key=33\nerrno=0\n");
  EXPECT_EQ(state.error, 0);
  ASSERT_EQ(state.peers.size(), 2U);
  EXPECT_EQ(state.peers.at("22").address, "10.66.0.2:4000");
  EXPECT_EQ(state.peers.at("22").last_handshake.count(), 1700000000);
  EXPECT_EQ(state.peers.at("22").tx_bytes, 7U);
  EXPECT_EQ(state.peers.at("22").rx_bytes, 9U);
  EXPECT_EQ(read_wireguard("errno=-22\n").error, -22);
  EXPECT_TRUE(read_wireguard("=\n\n=x\nrx_bytes=1\n").peers.empty());
}

TEST(WireGuard, KeepsTimesWithinWhatAClockHolds) {
  const auto state = read_wireguard(
      "public_key=22\nlast_handshake_time_sec=9223372036854775807\n"
      "public_key=33\nlast_handshake_time_sec=-9223372036854775807\n");
  const std::chrono::nanoseconds now = std::chrono::seconds(1'800'000'000);
  EXPECT_LT(now - state.peers.at("22").last_handshake, now);
  EXPECT_EQ(now - state.peers.at("33").last_handshake, now);
}

// ---- command ----

TEST(Command, FillsInWordsAndFiles) {
  const auto options = [](Bundle& bundle) {
    bundle.dial = {"edge"};
    bundle.engines.command.listen = {"vpn", "-l", "{local}:{port}", "{dev}"};
    bundle.engines.command.dial = {"vpn", "{peer}:{port}", "{local}", "{{{mtu}}}"};
    bundle.engines.command.files = {
        {"conf", "dir {dir}\nnode {node}\n{link_local_addr} {link_peer_addr}"}};
    bundle.engines.command.copies = {{"key", "/keys/{node}"}};
    bundle.engines.command.ready = "up";
    bundle.engines.command.stop_signal = "INT";
  };
  const DesiredTunnel dialer = tunnel_of(Engine::command, "edge", options);
  EXPECT_THAT(command_copies(dialer, "/d"), ElementsAre(testing::Pair("key", "/keys/edge")));
  const Launch launch = command_launch(dialer, "/d", {{"key", "secret"}});
  EXPECT_THAT(launch.argv, ElementsAre("vpn", "203.0.113.10:4431", "0.0.0.0", "{1500}"));
  EXPECT_THAT(text_of(launch, "conf"),
              AllOf(HasSubstr("dir /d\nnode edge\n198.18."), Not(HasSubstr("{"))));
  EXPECT_EQ(text_of(launch, "key"), "secret");
  EXPECT_EQ(launch.ready, "up");
  EXPECT_EQ(launch.stop_signal, "INT");
  const Launch listener = command_launch(tunnel_of(Engine::command, "gateway", options), "/d", {});
  EXPECT_THAT(listener.argv, ElementsAre("vpn", "-l", "203.0.113.10:4431", "backbone-1"));
}

TEST(Command, SaysWhatIsWrongWithATemplate) {
  EXPECT_EQ(template_fault("{dev} {{}} {port}", false), "");
  EXPECT_THAT(template_fault("{prot}", false), HasSubstr("unknown {prot}"));
  EXPECT_THAT(template_fault("{", false), HasSubstr("brace"));
  EXPECT_THAT(template_fault("a}", false), HasSubstr("brace"));
  EXPECT_THAT(template_fault("{peer}", true), HasSubstr("many dialers"));
  EXPECT_EQ(template_fault("{peer}", false), "");
}

// ---- what starts a process anew ----

TEST(Launches, DigestTellsThemApart) {
  Launch launch;
  launch.argv = {"a", "b"};
  const std::string digest = digest_of(launch);
  EXPECT_EQ(digest_of(launch), digest);
  const auto differs = [&](auto change) {
    Launch other = launch;
    change(other);
    EXPECT_NE(digest_of(other), digest);
  };
  differs([](Launch& one) { one.argv = {"ab"}; });
  differs([](Launch& one) { one.argv = {"a", "b", ""}; });
  differs([](Launch& one) { one.control = "x"; });
  differs([](Launch& one) { one.files = {{"f", "t"}}; });
  differs([](Launch& one) { one.ready = "r"; });
  differs([](Launch& one) { one.health = {"h"}; });
  differs([](Launch& one) { one.stop_signal = "INT"; });
  differs([](Launch& one) { one.as_root = true; });
}

TEST(Launches, NewKeysNeedNoRestart) {
  Launch launch;
  launch.files = {{"conf", "c"}, {"node.key", "k", true}};
  Launch renewed = launch, other = launch;
  renewed.files[1].text = "new";
  other.files[0].text = "new";
  EXPECT_NE(digest_of(launch), digest_of(renewed));
  EXPECT_TRUE(updates_live(digest_of(launch), digest_of(renewed)));
  EXPECT_FALSE(updates_live(digest_of(launch), digest_of(other)));
}

// ---- the conversation with a process ----

std::unique_ptr<EngineProcess> process_of(Engine engine, const std::string& node) {
  DesiredTunnel tunnel = tunnel_of(engine, node);
  tunnel.launch.control = "set=1\n\n";
  tunnel.launch.peer_names = {{"gateway", "aa"}};
  return foreign_engine(engine).process(tunnel);
}

bool received(EngineProcess& process, std::string text) {
  return process.receive(text);
}

const std::chrono::system_clock::time_point now{std::chrono::seconds(1'000'030)};

TEST(EngineProcess, OpenVpnDialerIsReadyOnceItHasAState) {
  const auto process = process_of(Engine::openvpn, "edge");
  EXPECT_EQ(process->control_socket(), "management");
  EXPECT_EQ(process->ready(), std::nullopt);
  EXPECT_EQ(process->silence(now).reason, "");
  EXPECT_FALSE(received(*process, ">STATE:1700000000,WAIT,,,,,,\n"));
  EXPECT_EQ(process->ready(), true);
  EXPECT_THAT(process->silence(now).reason, HasSubstr("openvpn is in state WAIT"));
  EXPECT_THAT(process->farewell(), HasSubstr("SIGTERM"));
}

TEST(EngineProcess, KeepsAPartOfAnAnswerUntilItsEndComes) {
  const auto process = process_of(Engine::openvpn, "edge");
  std::string text = ">STATE:1700000000,CONNEC";
  EXPECT_FALSE(process->receive(text));
  EXPECT_EQ(text, ">STATE:1700000000,CONNEC");
  text += "TED,SUCCESS,,203.0.113.10,4431,,\nEND\n";
  process->receive(text);
  EXPECT_EQ(text, "");
  EXPECT_EQ(process->ready(), true);
}

TEST(EngineProcess, OpenVpnListenerCountsByPeer) {
  const auto process = process_of(Engine::openvpn, "gateway");
  EXPECT_FALSE(process->count("edge").known);
  EXPECT_TRUE(process_of(Engine::openvpn, "edge")->count("gateway").counted);
}

TEST(EngineProcess, WireGuardIsReadyByItsDeviceOnceItTookItsConfiguration) {
  const auto process = process_of(Engine::wireguard, "edge");
  EXPECT_EQ(process->greeting(), "set=1\n\n");
  EXPECT_EQ(process->ready(), false);
  EXPECT_TRUE(received(*process, "errno=0\n\n"));
  EXPECT_EQ(process->ready(), std::nullopt);
  EXPECT_EQ(process->greeting(), "");
  EXPECT_EQ(process->refusal(), "");
  EXPECT_EQ(process->renewal(), "set=1\n\n");
}

TEST(EngineProcess, WireGuardThatRefusesItsConfigurationSaysSo) {
  const auto process = process_of(Engine::wireguard, "edge");
  received(*process, "errno=-22\n\n");
  EXPECT_EQ(process->refusal(), "it refuses its configuration (errno 22)");
  EXPECT_EQ(process->ready(), false);
}

TEST(EngineProcess, WireGuardCountsByPeerAndExplainsItsSilence) {
  const auto process = process_of(Engine::wireguard, "edge");
  process->adopted();
  EXPECT_FALSE(process->count("gateway").known);
  EXPECT_EQ(process->silence(now).reason, "");
  received(*process,
           "public_key=aa\nendpoint=203.0.113.10:4431\nrx_bytes=7\ntx_bytes=9\nerrno=0\n\n");
  const PeerCount count = process->count("gateway");
  EXPECT_TRUE(count.known && count.by_peer && count.counted);
  EXPECT_EQ(count.address, "203.0.113.10:4431");
  EXPECT_EQ(count.rx_bytes, 7u);
  EXPECT_EQ(count.tx_bytes, 9u);
  EXPECT_EQ(process->silence(now).reason, "no handshake was answered yet");
  received(*process, "public_key=aa\nlast_handshake_time_sec=1000000\nerrno=0\n\n");
  EXPECT_EQ(process->silence(now).reason, "the last handshake was 30 seconds ago");
}

TEST(EngineProcess, CommandHasNoControlSocketAndCountsNothing) {
  const auto process = process_of(Engine::command, "edge");
  EXPECT_EQ(process->control_socket(), "");
  EXPECT_EQ(process->ready(), std::nullopt);
  EXPECT_FALSE(process->count("gateway").counted);
  EXPECT_EQ(process->silence(now).passing, "no echo through it was answered yet");
  EXPECT_EQ(process->renewal(), "");
}

TEST(Engines, EachThatAFileCanNameIsRegistered) {
  for (const Engine engine : {Engine::openvpn, Engine::wireguard, Engine::command})
    EXPECT_NO_THROW(foreign_engine(engine));
  EXPECT_THROW(foreign_engine(Engine::native), std::logic_error);
}

}  // namespace
}  // namespace tunorch
