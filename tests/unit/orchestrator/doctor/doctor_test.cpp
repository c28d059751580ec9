// Each judgement both ways: a host on which all is well, and the same with one thing wrong.
#include "orchestrator/doctor/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/sample_cluster.hpp"

namespace tunorch {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr std::int64_t day_s = 24 * 3600;
constexpr std::int64_t now = 1'800'000'000;
constexpr std::uint64_t plenty = 1U << 30U;

KeyFile key_file(const std::string& node, bool secret) {
  KeyFile file;
  file.node = node;
  file.path = "/pki/" + (node.empty() ? "ca" : node) + (secret ? ".key" : ".crt");
  file.secret = secret;
  file.exists = true;
  file.mode = secret ? 0600 : 0644;
  file.algorithm = "EC";
  file.bits = 256;
  file.fingerprint = "of " + node;
  if (!secret) file.not_before = now - day_s;
  if (!secret) file.not_after = now + 700 * day_s;
  return file;
}

HostFacts well() {
  HostFacts host;
  host.root = true;
  host.kernel.tun_node = true;
  for (Trial* trial : {&host.kernel.tun, &host.kernel.multipath4, &host.kernel.multipath6,
                       &host.kernel.nexthops, &host.kernel.nftables, &host.kernel.steering})
    trial->tried = true;
  host.kernel.ipv6 = true;
  host.kernel.ipv6_disabled = {{"all", false}, {"default", false}, {"lo", false}};
  host.kernel.congestion_available = host.kernel.congestion_allowed = {"bbr", "reno"};
  for (const char* key : {"net.ipv4.fib_multipath_hash_policy",
                          "net.ipv6.fib_multipath_hash_policy", "net.ipv4.ip_forward"})
    host.settings.push_back({key, "0", true});
  host.limits = {65536, plenty, 4'194'304, plenty, 0, 212'992, 212'992};
  host.clock.now = now;
  host.clock.synchronised.tried = true;
  host.cpu = {{"aes"}, 4};
  host.network.links["wan"].link = {.name = "wan", .index = 2, .kind = "veth", .mtu = 1500};
  host.network.links["wan2"].link = {.name = "wan2", .index = 3, .kind = "veth", .mtu = 1500};
  host.network.addresses = {{"wan", prefix("203.0.113.10/24")}};
  host.network.default_devices = {"wan"};
  host.keys.files = {key_file("", false), key_file("gateway", false), key_file("gateway", true)};
  return host;
}

class Doctor : public testing::Test {
 protected:
  HostFacts host = well();
  Cluster cluster = sample_cluster();
  std::string node = "gateway";
  bool with_file = true;

  std::vector<Finding> look() {
    Examined examined{host, with_file ? "cluster.yaml" : ""};
    if (with_file) desired_ = desired_for(cluster, node);
    if (with_file) examined.desired = &desired_;
    return judge(examined);
  }

  /// The one finding with this id that is not ok; where there is none, one without an id.
  Finding found(const std::string& id) {
    std::vector<Finding> all = look();
    std::erase_if(all, [&](const Finding& finding) {
      return finding.id != id || finding.severity == Severity::ok;
    });
    EXPECT_LE(all.size(), 1U) << id;
    return all.empty() ? Finding{} : all.front();
  }

  void expect(const std::string& id, Severity severity, const std::string& mend) {
    const Finding finding = found(id);
    EXPECT_EQ(finding.id, id);
    EXPECT_EQ(finding.severity, severity) << finding.found;
    EXPECT_EQ(finding.mend, mend);
    EXPECT_NE(finding.meaning, "");
  }

 private:
  Desired desired_;
};

TEST_F(Doctor, HasNothingToSayOfAHostOnWhichAllIsWell) {
  for (const bool file : {true, false}) {
    with_file = file;
    for (const Finding& finding : look())
      EXPECT_EQ(finding.severity, Severity::ok) << finding.id << ": " << finding.found;
    EXPECT_EQ(exit_code(look()), 0);
  }
}

TEST_F(Doctor, SaysOkOfWhatItLookedAt) {
  std::set<std::string> ids;
  for (const Finding& finding : look()) ids.insert(finding.id);
  for (const char* id :
       {"doctor.sight",     "kernel.tun",         "kernel.multipath",   "kernel.nexthops",
        "kernel.ipv6",      "kernel.nftables",    "kernel.steering",    "kernel.bbr",
        "settings.written", "settings.rp-filter", "limits.files",       "limits.processes",
        "limits.memlock",   "limits.memory",      "clock.synchronised", "cpu.aes",
        "cpu.cores",        "links.mtu",          "links.endpoint",     "keys.random",
        "keys.expiry",      "keys.usable",        "keys.others",        "conflicts.port",
        "conflicts.route"})
    EXPECT_TRUE(ids.contains(id)) << id;
}

TEST_F(Doctor, SaysWhatItCouldNotLookAt) {
  host.root = false;
  host.unseen = {"keys in /pki: Permission denied"};
  expect("doctor.sight", Severity::warning, "sudo tunorch doctor cluster.yaml --node gateway");
  EXPECT_THAT(found("doctor.sight").found, HasSubstr("keys in /pki: Permission denied"));
}

TEST_F(Doctor, SaysNothingOfWhatWasNotTried) {
  host.kernel = {};
  host.kernel.tun_node = true;
  host.clock.synchronised = {};
  for (const Finding& finding : look())
    EXPECT_TRUE(!finding.id.starts_with("kernel.") || finding.id == "kernel.ipv6") << finding.id;
  EXPECT_EQ(found("clock.synchronised").id, "");
}

TEST_F(Doctor, MissesATunDevice) {
  host.kernel.tun_node = false;
  host.kernel.tun.problem = "cannot open /dev/net/tun: No such file or directory";
  expect("kernel.tun", Severity::error, "modprobe tun");
  host.container = true;
  expect("kernel.tun", Severity::error, "");
  EXPECT_THAT(found("kernel.tun").meaning, HasSubstr("--device /dev/net/tun"));
}

TEST_F(Doctor, MissesWhatTheKernelLacks) {
  host.kernel.multipath4.problem = host.kernel.steering.problem = "Operation not supported";
  expect("kernel.multipath", Severity::error, "");
  expect("kernel.steering", Severity::note, "");
  cluster.bundles[0].streams = 2;
  EXPECT_EQ(found("kernel.steering").severity, Severity::warning);
}

TEST_F(Doctor, TakesResilientGroupsForGrantedOnlyWhereTheFileDoes) {
  host.kernel.nexthops.problem = "Operation not supported";
  EXPECT_EQ(found("kernel.nexthops").severity, Severity::warning);
  cluster.bundles[0].balance.mode = BalanceMode::resilient;
  std::size_t errors = 0;
  for (const Finding& finding : look()) errors += finding.severity == Severity::error;
  EXPECT_EQ(errors, 1U);
}

TEST_F(Doctor, MissesIpv6OnlyWhereTheFileNeedsIt) {
  host.kernel.ipv6_disabled = {{"all", true}, {"default", false}, {"lo", true}};
  expect("kernel.ipv6", Severity::error,
         "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0");
  with_file = false;
  EXPECT_EQ(found("kernel.ipv6").severity, Severity::note);
  host.kernel.ipv6 = false;
  EXPECT_THAT(found("kernel.ipv6").found, HasSubstr("no IPv6"));
}

TEST_F(Doctor, MissesNftablesOnlyWhereTheFileNeedsThem) {
  host.kernel.nftables.problem = "Operation not supported";
  EXPECT_EQ(found("kernel.nftables").severity, Severity::note);
  cluster.nodes[0].masquerade = "wan";
  expect("kernel.nftables", Severity::error, "modprobe -a nf_tables nft_chain_nat nft_masq");
}

TEST_F(Doctor, WantsBbrToBeThereForWhoIsNotRoot) {
  host.kernel.congestion_allowed = {"reno"};
  expect("kernel.bbr", Severity::warning,
         "sysctl -w 'net.ipv4.tcp_allowed_congestion_control=reno bbr'");
  host.kernel.congestion_available = {"reno"};
  host.kernel.bbr_module = true;
  EXPECT_EQ(found("kernel.bbr").severity, Severity::ok) << "the daemon has it loaded";
  host.kernel.bbr_module = false;
  expect("kernel.bbr", Severity::warning, "");
}

TEST_F(Doctor, LeavesToApplyWhatApplyCanSet) {
  EXPECT_EQ(found("settings.required").id, "");
  host.settings[0].writable = false;
  expect("settings.required", Severity::error, "sysctl -w net.ipv4.fib_multipath_hash_policy=1");
  host.settings[0].value = "1";
  EXPECT_EQ(found("settings.required").id, "");
}

TEST_F(Doctor, NotesTuningThatCannotBeSet) {
  cluster.tuning.sysctl["net.ipv4.tcp_fin_timeout"] = "30";
  host.settings.push_back({"net.ipv4.tcp_fin_timeout", std::nullopt, false});
  expect("settings.tuning", Severity::note, "");
}

TEST_F(Doctor, ComparesBuffersWithWhatTheKernelGives) {
  cluster.bundles[0].sockets.sndbuf_bytes = 1U << 20U;
  expect("settings.buffers", Severity::warning, "sysctl -w net.core.wmem_max=1048576");
  host.settings.push_back({"net.core.wmem_max", "212992", true});
  cluster.tuning.sysctl["net.core.wmem_max"] = "16777216";
  EXPECT_EQ(found("settings.buffers").id, "");
}

TEST_F(Doctor, CountsFilesProcessesAndMemory) {
  host.limits.files = 128;
  host.limits.processes = 70;
  host.limits.memory_bytes = 100U << 20U;
  host.limits.oom_kills = 3;
  expect("limits.files", Severity::warning, "ulimit -n 65536");
  expect("limits.processes", Severity::error, "sysctl -w kernel.pid_max=4194304");
  expect("limits.memory", Severity::warning, "");
  expect("limits.oom", Severity::note, "dmesg | grep -i 'killed process'");
  with_file = false;
  EXPECT_EQ(found("limits.memory").id, "");
  EXPECT_EQ(found("limits.processes").id, "");
}

TEST_F(Doctor, NotesLittleLockedMemoryWhereEbpfFails) {
  host.limits.memlock_bytes = 65536;
  EXPECT_EQ(found("limits.memlock").id, "");
  host.kernel.steering.problem = "Operation not permitted";
  expect("limits.memlock", Severity::note, "ulimit -l unlimited");
}

TEST_F(Doctor, WantsAClockThatSomethingSets) {
  host.clock.synchronised.problem = "nothing synchronises the clock";
  expect("clock.synchronised", Severity::warning,
         "apt-get install -y systemd-timesyncd && timedatectl set-ntp true");
  host.clock.timesyncd = true;
  expect("clock.synchronised", Severity::warning, "timedatectl set-ntp true");
  host.container = true;
  expect("clock.synchronised", Severity::warning, "");
}

TEST_F(Doctor, NotesACpuWithoutAes) {
  host.cpu.flags = {"fpu"};
  expect("cpu.aes", Severity::note, "");
  cluster.bundles[0].cipher = "aes-128-gcm";
  expect("cpu.aes", Severity::warning, "");
}

TEST_F(Doctor, NotesMoreStreamsThanCores) {
  cluster.bundles[0].streams = 8;
  expect("cpu.cores", Severity::note, "");
  host.cpu.cores = 8;
  EXPECT_EQ(found("cpu.cores").id, "");
}

TEST_F(Doctor, MissesAnEnginesProgram) {
  cluster.bundles[0].tunnels[0].engine = Engine::openvpn;
  expect("engines.program", Severity::error, "apt-get install -y openvpn");
  host.services.programs = {"openvpn"};
  EXPECT_EQ(found("engines.program").id, "");
}

TEST_F(Doctor, WarnsOfAJumboMtuTowardsTheInternet) {
  host.network.links["wan"].link.mtu = 9000;
  expect("links.mtu", Severity::warning, "ip link set dev wan mtu 1500");
  EXPECT_THAT(found("links.mtu").lasting, HasSubstr("/etc/network/interfaces"));
  host.services.running = {"NetworkManager"};
  EXPECT_THAT(found("links.mtu").lasting, StartsWith("nmcli connection modify"));
  host.services.running = {"systemd-network"};
  EXPECT_THAT(found("links.mtu").lasting, HasSubstr("MTUBytes=1500"));
  with_file = false;
  EXPECT_EQ(found("links.mtu").severity, Severity::warning);
}

TEST_F(Doctor, LetsLinksBeThatTunnelsDoNotUse) {
  host.network.links["wan2"].link.mtu = 9000;
  host.network.links["wan2"].rp_filter = 1;
  EXPECT_EQ(found("links.mtu").id, "");
  EXPECT_EQ(found("settings.rp-filter").id, "");
}

TEST_F(Doctor, OnlyNotesAJumboMtuOnAWireOfOnesOwn) {
  node = "edge";
  host.network.links["wan"].link.mtu = 9000;
  host.network.ways = {{"gateway", "203.0.113.10", 0, "wan", false, 0}};
  EXPECT_EQ(found("links.mtu").severity, Severity::note);
  host.network.ways[0].gateway = true;
  EXPECT_EQ(found("links.mtu").severity, Severity::warning);
  host.network.ways[0].mtu = 1500;
  EXPECT_EQ(found("links.mtu").id, "");
}

TEST_F(Doctor, WarnsOfAnMtuTooSmallForIpv6) {
  host.network.links["wan"].link.mtu = 1200;
  expect("links.mtu", Severity::warning, "ip link set dev wan mtu 1500");
}

TEST_F(Doctor, WarnsOfStrictFiltersWhereRepliesLeaveByAnotherLink) {
  host.network.links["wan"].rp_filter = 1;
  EXPECT_EQ(found("settings.rp-filter").id, "");
  host.network.default_devices = {"wan2"};
  expect("settings.rp-filter", Severity::warning, "sysctl -w net.ipv4.conf.wan.rp_filter=2");
  host.network.links["wan"].rp_filter = 2;
  EXPECT_EQ(found("settings.rp-filter").id, "");
}

TEST_F(Doctor, MissesTheWayToAPeer) {
  node = "edge";
  host.network.ways = {{"gateway", "203.0.113.10", ENETUNREACH}};
  expect("links.way", Severity::error, "ip -br link; ip route get 203.0.113.10");
  with_file = false;
  host.network.ways.clear();
  host.network.default_devices.clear();
  EXPECT_EQ(found("links.way").severity, Severity::warning);
}

TEST_F(Doctor, NotesAnEndpointThatIsElsewhere) {
  host.network.addresses.clear();
  expect("links.endpoint", Severity::note, "");
}

TEST_F(Doctor, WantsKeysToBeNobodyElses) {
  host.keys.files[2].mode = 0644;
  host.keys.problem = "cannot use /pki/gateway.key: others can read it";
  expect("keys.mode", Severity::error, "chmod 600 /pki/gateway.key");
  EXPECT_EQ(found("keys.usable").id, "") << "the same thing told twice";
  host.keys.files[2].owner = 1000;
  expect("keys.owner", Severity::warning, "chown root:root /pki/gateway.key");
}

TEST_F(Doctor, WantsStrongKeys) {
  host.keys.files[2].algorithm = "RSA";
  host.keys.files[2].bits = 2048;
  expect("keys.algorithm", Severity::warning, "tunorch pki renew cluster.yaml gateway");
  host.keys.files[2].bits = 4096;
  EXPECT_EQ(found("keys.algorithm").severity, Severity::note);
}

TEST_F(Doctor, LooksAtTheDatesOfCertificates) {
  host.keys.files[1].not_after = now + 20 * day_s;
  expect("keys.expiry", Severity::warning, "tunorch pki renew cluster.yaml gateway");
  host.keys.files[1].not_after = now - day_s;
  EXPECT_EQ(found("keys.expiry").severity, Severity::error);
  host.keys.files[1] = key_file("gateway", false);
  host.keys.files[0].not_after = now + 100 * day_s;
  expect("keys.expiry", Severity::warning, "");
  host.keys.files[0] = key_file("", false);
  host.keys.files[1].not_before = now + 3600;
  EXPECT_EQ(found("keys.not-yet-valid").severity, Severity::error);
}

TEST_F(Doctor, FindsAKeyThatTwoNodesHave) {
  host.keys.files.push_back(key_file("edge", false));
  EXPECT_EQ(found("keys.shared").id, "");
  host.keys.files.back().fingerprint = host.keys.files[1].fingerprint;
  expect("keys.shared", Severity::error, "tunorch pki renew cluster.yaml gateway");
}

TEST_F(Doctor, SaysWhatTheDaemonWouldSayOfTheKeys) {
  host.keys.problem = "cannot use /pki/gateway.key: it is not the key of /pki/gateway.crt";
  expect("keys.usable", Severity::error, "");
  EXPECT_THAT(found("keys.usable").meaning, HasSubstr("copy ca.crt"));
}

TEST_F(Doctor, MendsKeysOnlyWhereTheCasKeyIs) {
  host.keys.files.push_back(key_file("", true));
  host.keys.problem = "cannot use /pki/gateway.crt: it was revoked";
  expect("keys.usable", Severity::error, "tunorch pki renew cluster.yaml gateway");
  host.keys.files[1].exists = false;
  host.keys.problem = "cannot read /pki/gateway.crt: it does not exist";
  expect("keys.usable", Severity::error, "tunorch pki init cluster.yaml");
  host.keys.problem = "cannot use /pki/ca.crl: it is not the CA's list";
  expect("keys.usable", Severity::error, "");
}

TEST_F(Doctor, NotesKeysThatAreNotThisNodes) {
  host.keys.files.push_back(key_file("edge", true));
  EXPECT_EQ(found("keys.others").severity, Severity::note);
  host.keys.files.push_back(key_file("", true));
  EXPECT_THAT(found("keys.others").found, HasSubstr("/pki/ca.key"));
}

TEST_F(Doctor, WaitsForRandomNumbers) {
  host.clock.random_ready = false;
  expect("keys.random", Severity::error, "modprobe virtio_rng");
}

TEST_F(Doctor, FindsWhoHasAPortOfOurs) {
  host.services.listeners = {{true, 4431, 77, "nginx", ""}};
  expect("conflicts.port", Severity::error, "kill 77");
  host.services.listeners[0].unit = "nginx.service";
  expect("conflicts.port", Severity::error, "systemctl disable --now nginx.service");
  host.services.listeners[0].tcp = false;
  EXPECT_EQ(found("conflicts.port").id, "");
}

routing::Route foreign(const char* dst, const char* dev, std::uint32_t table = 254) {
  routing::Route route;
  route.dst = prefix(dst);
  route.table = table;
  route.nexthops = {{dev, std::nullopt, 1}};
  route.protocol = 4;
  return route;
}

TEST_F(Doctor, FindsRoutesInTheWay) {
  host.network.foreign_routes = {foreign("192.168.50.0/24", "wan")};
  expect("conflicts.route", Severity::error, "ip -4 route del 192.168.50.0/24 table 254 proto 4");
  host.network.foreign_routes[0].metric = 100;
  EXPECT_EQ(found("conflicts.route").id, "") << "ours comes first";
}

TEST_F(Doctor, NotesAnotherTunnelInsideAPrefixOfOurs) {
  host.network.foreign_routes = {foreign("192.168.50.128/25", "wan")};
  EXPECT_EQ(found("conflicts.vpn").id, "");
  host.network.links["wan"].link.kind = "wireguard";
  EXPECT_EQ(found("conflicts.vpn").severity, Severity::note);
}

TEST_F(Doctor, FindsOthersInOurTable) {
  host.network.foreign_routes = {foreign("10.9.0.0/16", "wan", 77)};
  EXPECT_EQ(found("conflicts.table").id, "");
  cluster.bundles[0].policy.table = 77;
  cluster.bundles[0].policy.fwmark = 5;
  expect("conflicts.table", Severity::warning, "ip -4 route del 10.9.0.0/16 table 77 proto 4");
}

TEST_F(Doctor, FindsWhoHasTheLinkSubnets) {
  host.network.foreign_routes = {foreign("198.18.0.0/16", "wan")};
  EXPECT_EQ(found("conflicts.link-net").severity, Severity::warning);
}

TEST_F(Doctor, FindsRulesAmongOurs) {
  host.network.other_rules = {{.preference = 11'620, .table = 99, .protocol = 3}};
  EXPECT_EQ(found("conflicts.rule").id, "") << "the file has no rules";
  cluster.bundles[0].policy.table = 77;
  cluster.bundles[0].policy.fwmark = 5;
  expect("conflicts.rule", Severity::warning, "ip -4 rule del pref 11620 protocol 3");
  host.network.other_rules = {{.preference = 32'766, .table = 254, .protocol = 2}};
  EXPECT_EQ(found("conflicts.rule").id, "");
}

TEST_F(Doctor, WarnsOfNetworkdUnlessItKeepsWhatIsOthers) {
  host.services.running = {"systemd-network"};
  EXPECT_THAT(found("conflicts.networkd").mend, HasSubstr("ManageForeignRoutes=no"));
  host.services.networkd_keeps_routes = host.services.networkd_keeps_rules = true;
  EXPECT_EQ(found("conflicts.networkd").id, "");
}

TEST_F(Doctor, NotesNetworkManagerUnlessItLeavesDevicesAlone) {
  host.services.running = {"NetworkManager"};
  EXPECT_THAT(found("conflicts.networkmanager").mend, HasSubstr("interface-name:backbone-*"));
  host.services.unmanaged_devices = "unmanaged-devices=interface-name:backbone-*;";
  EXPECT_EQ(found("conflicts.networkmanager").id, "");
}

TEST_F(Doctor, ComparesTheFirewallWithThePorts) {
  host.services.ufw = host.services.ufw_routes = true;
  host.services.ufw_open = {{true, false, 4430, 4432}};
  expect("conflicts.firewall", Severity::warning, "ufw allow 4433/tcp");
  host.services.ufw_open[0].last = 4433;
  EXPECT_EQ(found("conflicts.firewall").id, "");
  host.services.ufw_routes = false;
  expect("conflicts.forwarding", Severity::warning, "ufw default allow routed");
  host.services.ufw = false;
  host.services.running = {"firewalld"};
  EXPECT_THAT(found("conflicts.firewall").mend, HasSubstr("firewall-cmd --reload"));
}

TEST(DoctorReport, ExitsWithTheWorstAndNeverWithOne) {
  const Finding ok{"a.b", Severity::ok, ""}, note{"a.b", Severity::note, ""},
      warning{"a.b", Severity::warning, ""}, error{"a.b", Severity::error, ""};
  EXPECT_EQ(exit_code({ok, note}), 0);
  EXPECT_EQ(exit_code({warning, ok}), 2);
  EXPECT_EQ(exit_code({error, warning}), 3);
}

TEST(DoctorReport, GroupsAndSaysHowToMend) {
  const std::vector<Finding> findings{
      {"clock.a", Severity::ok, "fine"},
      {"keys.b", Severity::error, "bad", "others read it", "chmod 600 k", ""}};
  EXPECT_EQ(findings_text({}, findings),
            "clock\n"
            "  ok       clock.a: fine\n"
            "keys\n"
            "  error    keys.b: bad\n"
            "           meaning: others read it\n"
            "           to mend: chmod 600 k\n"
            "1 error, 0 warnings, 0 notes, 1 ok\n");
  const auto report = findings_json(findings);
  EXPECT_EQ(report["counts"]["error"], 1);
  EXPECT_EQ(report["exit_code"], 3);
  EXPECT_EQ(report["findings"][1]["mend"], "chmod 600 k");
}

}  // namespace
}  // namespace tunorch
