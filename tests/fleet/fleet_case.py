"""Three hosts that boot systemd and what is looked at on them: the base of the fleet's tests, the load on its
bundle, and what a host is but for what any host writes all the time."""

import json
import os
import re
import shutil
import tempfile
import time
import unittest

from fleet import NETWORK, Fleet, check, end, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
BIN = os.path.abspath(os.environ["TUNORCH_BIN"])
DEB = os.path.abspath(os.environ["TUNORCH_DEB"])
NODES = ("gateway", "edge-1", "edge-2")
FIREWALL = """
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    icmp type echo-request accept
    meta l4proto ipv6-icmp accept
    tcp dport 22 accept
    ip saddr 10.77.0.0/24 accept
    ip saddr 198.18.0.0/15 accept
  }
}
"""
CLUSTER = {
    "cluster": "fleet", "metrics": "127.0.0.1:9810",
    "nodes": {"gateway": {"endpoint": f"{NETWORK}.11", "inner": ["10.77.0.1/32"],
                          "subnets": ["192.0.2.0/24"], "masquerade": "eth0"},
              "edge-1": {"inner": ["10.77.0.2/32"]}, "edge-2": {"inner": ["10.77.0.3/32"]}},
    "bundles": {"backbone": {"listen": "gateway", "dial": ["edge-1", "edge-2"],
                             "tunnels": [{}, {}, {}, {}]}}}

# What a host is, but for what any host writes all the time.
STATE = r"""
find /etc /usr /opt /srv /root /run /var/lib /var/cache /var/spool -xdev \
  \( -path '/run/systemd/*' -o -path '/run/user*' -o -path '/var/lib/dpkg/*' -o -path '/var/lib/apt/*' \
     -o -path '/var/lib/systemd/*' -o -path '/run/log*' -o -path '/var/cache/*' -o -path '/run/udev*' \
     -o -path '/root/.ansible*' -o -path '/run/utmp' -o -path '/run/sshd*' -o -path '*/__pycache__*' \
     -o -path '/etc/apt/*' -o -path '/etc/*-' -o -path '/run/dbus*' -o -path '/run/lock*' \
     -o -path '/run/agetty*' \) -prune \
  -o ! -type d -print -o -type d -print | sort
getent passwd; getent group; dpkg-query -f '${Package} ${db:Status-Abbrev}\n' -W
(ip -br link; ip -br addr) | sed 's/@if[0-9]*//'
ip rule; ip nexthop; ip route show table all | grep -v ' cache'
nft -s list ruleset
sysctl -a 2>/dev/null | grep -E '^net\.(ipv4|ipv6|core)' \
  | grep -vE 'nf_conntrack|stable_secret|cookie|available_congestion|netfilter|route\.flush|tcp_fastopen_key'
cat /etc/group /etc/nftables.conf
"""


def newer_package(folder):
    """The same package as a later version: what an upgrade does is in the scripts and the units."""
    tree = os.path.join(folder, "tree")
    check("dpkg-deb", "-R", DEB, tree)
    control = os.path.join(tree, "DEBIAN/control")
    with open(control) as file:
        text = file.read()
    with open(control, "w") as file:
        file.write(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+later1", text))
    check("dpkg-deb", "--root-owner-group", "-b", tree, os.path.join(folder, "later.deb"))
    return os.path.join(folder, "later.deb")


def dependencies():
    """Real packages: of those that are only provided the one that this machine built with."""
    depends = check("dpkg-deb", "-f", DEB, "Depends")
    names = [re.match(r"\s*([\w.+-]+)", one)[1] for one in depends.split(",")]
    real = {}
    for line in check("dpkg-query", "-W", "-f", "${Package}: ${Provides}\n").splitlines():
        package, _, provides = line.partition(": ")
        real[package] = package
        for name in re.findall(r"[\w.+-]+(?: \([^)]*\))?", provides):
            real.setdefault(name.split()[0], package)
    return [real.get(name, name) for name in names]


class FleetTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="tn-ansible-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)
        pool = os.path.join(cls.dir, "pool")
        os.mkdir(pool)
        with open(os.path.join(pool, "Packages"), "w"):
            pass
        cls.fleet = Fleet(NODES, os.path.join(BIN, "../fleet"), pool, dependencies())
        cls.addClassCleanup(cls.fleet.close)
        cls.gateway, cls.edge_1, cls.edge_2 = (cls.fleet.hosts[name] for name in NODES)
        cls.hosts = (cls.gateway, cls.edge_1, cls.edge_2)

    # ---- what the tests look at ----

    def status(self, host):
        return json.loads(host.run("tunorch status --json").stdout)["bundles"][0]

    def live(self, host):
        return sum(len(peer["live_tunnels"]) for peer in self.status(host)["peers"])

    def pids(self, host):
        return {one["name"]: one["pid"] for one in self.status(host)["tunnels"]}

    def events(self, host):
        lines = host.run("tunorch events --json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def applied(self, host):
        return [event["id"] for event in self.events(host) if event["event"] == "applied"]

    def assert_order(self, *hosts):
        """They got what they have in this order."""
        times = {[event["time"] for event in self.events(host) if event["event"] == "applied"][-1]: host.name
                 for host in hosts}
        self.assertEqual([times[time] for time in sorted(times)], [host.name for host in hosts])

    def wait_live(self, per_edge, hosts=None, limit=60):
        for host in hosts or self.hosts:
            count = per_edge * 2 if host is self.gateway else per_edge
            wait_for(f"{count} live tunnels on {host.name}", lambda: self.live(host) == count, limit)


class Traffic:
    """TCP flows over the bundle from both edges, and the resets seen between the inner addresses."""

    def __init__(self, test):
        self.test = test
        gateway = test.gateway
        self.rules = "table inet watch"
        for host in test.hosts:
            test.addCleanup(host.run, f"nft delete {self.rules}", check=False)
            host.run("nft -f - <<'END'\n" + self.rules + """ {
              set resets {
                type ipv4_addr . inet_service . ipv4_addr . inet_service
                flags dynamic
                counter
              }
              chain input {
                type filter hook input priority -300
                ip saddr 10.77.0.0/24 tcp flags & rst == rst \
                  add @resets { ip saddr . tcp sport . ip daddr . tcp dport }
              }
            }\nEND""")
        self.servers = [gateway.start(f"exec iperf3 -s -1 -p {port}") for port in (5301, 5302)]
        for port in (5301, 5302):
            wait_for("iperf3 listens", lambda: gateway.run(f"ss -Hltn sport = {port}").stdout)
        for server in self.servers:
            test.addCleanup(end, server)
        self.clients = [host.start(f"exec iperf3 -c 10.77.0.1 -p {port} -P 8 -t 300 -b 10M -J")
                        for host, port in ((test.edge_1, 5301), (test.edge_2, 5302))]
        for client in self.clients:
            test.addCleanup(end, client)
        self.pings = [Ping(test, host) for host in (test.edge_1, test.edge_2)]
        time.sleep(1)

    def resets(self):
        """Which connections were reset, as `host: from . port . to . port counter packets …`."""
        return [f"{host.name}: {one.strip()}" for host in self.test.hosts
                for one in re.findall(r"[\d.]+ \. \d+ \. [\d.]+ \. \d+ counter packets \d+",
                                      host.run(f"nft list {self.rules}").stdout)]

    def check(self):
        """Now, while they flow: what iperf3 does at its end is its own matter."""
        for client in self.clients:
            self.test.assertIsNone(client.poll(), "the flows ended too early")
        self.test.assertEqual(self.resets(), [])

    def end(self):
        for host in (self.test.edge_1, self.test.edge_2):
            host.run("pkill -INT -x iperf3")
        for client in self.clients:
            report = json.loads(client.communicate(timeout=20)[0])
            self.test.assertEqual(report["error"], "interrupt - the client has terminated")
            silent = [interval["sum"]["bytes"] for interval in report["intervals"][:-1]].count(0)
            self.test.assertEqual(silent, 0, "seconds without a byte")
        for server in self.servers:
            server.communicate(timeout=20)
        for ping in self.pings:
            ping.end(missing=5)
        for host in self.test.hosts:
            host.run("nft delete " + self.rules)


class Ping:
    """Fifty echoes a second from a host to the gateway."""

    def __init__(self, test, host):
        self.test, self.host = test, host
        self.process = host.start("exec ping -i 0.02 10.77.0.1")
        test.addCleanup(end, self.process)

    def end(self, missing=0):
        """The last one may be on its way; of those before at most so many in a row may be missing."""
        self.host.run("pkill -INT -x ping")
        seen = [int(number) for number in
                re.findall(r"icmp_seq=(\d+) ttl", self.process.communicate(timeout=10)[0])]
        self.test.assertGreater(len(seen), 20)
        gap = max(later - earlier for earlier, later in zip([0, *seen], seen)) - 1
        self.test.assertLessEqual(gap, missing, f"{seen[-1] - len(seen)} of {seen[-1]} echoes missing")
