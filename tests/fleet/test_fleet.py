"""The package, its units and the Ansible collection on three hosts that boot systemd: what an operator does
with a fleet, in that order. TUNORCH_DEB is the package, TUNORCH_BIN the folder of the programs."""

import copy
import json
import os
import re
import subprocess
import time
import unittest

import yaml
from fleet import NETWORK, end, wait_for
from fleet_case import (BIN, CLUSTER, DEB, FIREWALL, ROOT, STATE, FleetTest, NODES, Ping, Traffic, newer_package)


class Ansible(FleetTest):
    """In this order: each goes on where the one before ended."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        collections = os.path.join(cls.dir, "collections")
        cls.environment = {**os.environ, "ANSIBLE_HOME": os.path.join(cls.dir, "home"),
                           "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_RETRY_FILES_ENABLED": "0",
                           "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8", "ANSIBLE_PIPELINING": "1",
                           "ANSIBLE_SSH_CONTROL_PATH_DIR": os.path.join(cls.fleet.dir, "cp")}
        done = subprocess.run(["ansible-galaxy", "collection", "install", os.path.join(ROOT, "ansible"),
                               "-p", collections], capture_output=True, text=True, env=cls.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        cls.file = os.path.join(cls.dir, "cluster.yaml")
        cls.variables = {
            "ansible_user": "root", "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": cls.fleet.key,
            "ansible_ssh_common_args": "-F none -o IdentitiesOnly=yes -o ConnectTimeout=5 -o "
                                       f"UserKnownHostsFile={cls.fleet.known_hosts}",
            "tunorch_package": DEB, "tunorch_cluster_file": cls.file, "tunorch_apply_timeout": "20s",
            "tunorch_controller_command": os.path.join(BIN, "tunorch"),
            "tunorch_drain_deadline": "1s"}
        cls.write_inventory()
        cls.write_cluster(CLUSTER)
        for host in cls.hosts:
            host.before = host.run(STATE).stdout
        cls.gateway.run(f"cat >/etc/nftables.conf <<'END'\n#!/usr/sbin/nft -f\nflush ruleset\n{FIREWALL}\n"
                        "END\nnft -f /etc/nftables.conf && systemctl -q enable nftables")
        cls.gateway.before = cls.gateway.run(STATE).stdout

    @classmethod
    def write_inventory(cls, **more):
        hosts = {host.name: {"ansible_host": host.address} for host in cls.hosts}
        hosts["gateway"] |= {"tunorch_firewall_chain": "inet filter input",
                             "tunorch_sysctl": {"net.ipv4.tcp_keepalive_time": 600}}
        with open(os.path.join(cls.dir, "inventory.yml"), "w") as file:
            yaml.safe_dump({"tunorch": {"hosts": hosts, "vars": {**cls.variables, **more}}}, file,
                           sort_keys=False)

    @classmethod
    def write_cluster(cls, spec):
        with open(cls.file, "w") as file:
            yaml.safe_dump(spec, file, sort_keys=False)

    def play(self, name, *options, fails=False):
        playbook = name if name.endswith(".yml") else f"tunorch.fleet.{name}"
        done = self.fleet.on_controller("ansible-playbook", "-i", os.path.join(self.dir, "inventory.yml"),
                                        playbook, *options, env=self.environment, cwd=self.dir)
        self.output = done.stdout + done.stderr
        self.assertEqual(done.returncode != 0, fails, self.output[-6000:])
        recap = {}
        for line in done.stdout.partition("PLAY RECAP")[2].splitlines():
            if found := re.match(r"(\S+)\s+: (.*)", line):
                recap[found[1]] = {key: int(value) for key, value in
                                   (pair.split("=") for pair in found[2].split())}
        print(f"\n{name} {' '.join(options)}".rstrip())
        print("\n".join(done.stdout.partition("PLAY RECAP")[2].splitlines()[1:]).strip(), flush=True)
        return recap

    def assert_as_before(self):
        for host in self.hosts:
            after = host.run(STATE).stdout
            gone, left = (sorted(set(one.splitlines()) - set(other.splitlines()))
                          for one, other in ((host.before, after), (after, host.before)))
            self.assertEqual((gone, left), ([], []), host.name)

    def changed(self, recap):
        return {host: one["changed"] for host, one in recap.items()}

    def test_00_check_mode_on_new_hosts_does_nothing(self):
        recap = self.play("site", "--check", "--diff")
        self.assertTrue(all(count > 0 for count in self.changed(recap).values()))
        self.assertIn("+net.ipv4.tcp_keepalive_time = 600", self.output)
        self.assert_as_before()
        self.assertFalse(os.path.exists(os.path.join(self.dir, "tunorch")))

    def test_01_from_nothing_to_four_tunnels(self):
        self.play("site")
        self.wait_live(4)
        self.fleet.on_controller("ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
        for inner, host in (("10.77.0.2", self.edge_1), ("10.77.0.3", self.edge_2)):
            # The second one knows the gateway's own address alone: it is masqueraded.
            for address in ("10.77.0.1", "192.0.2.1"):
                self.assertIn("backbone", host.run(f"tunorch explain {inner} {address}").stdout)
                self.assertIn(" 0% packet loss", host.run(f"ping -c 5 -i 0.2 {address}").stdout)
        self.assertEqual(self.gateway.run("sysctl -n net.ipv4.tcp_keepalive_time").stdout, "600\n")
        for host in self.hosts:
            self.assertEqual(host.run("systemctl is-active tunorch; systemctl is-enabled tunorch").stdout,
                             "active\nenabled\n")

    def test_02_a_second_run_changes_nothing(self):
        recap = self.play("site")
        self.assertEqual(self.changed(recap), {name: 0 for name in NODES})

        for tag in ("tunorch_install", "tunorch_apply"):
            recap = self.play("site", "--tags", tag)
            self.assertEqual(self.changed(recap), {name: 0 for name in NODES})
        self.assertNotIn("TASK [Install]", self.output)

    def test_03_keys_are_where_they_belong(self):
        for host in self.hosts:
            self.assertEqual(host.run("ls -l /etc/tunorch/pki | awk 'NR > 1 {print $1, $9}'").stdout,
                             f"-rw-r--r-- ca.crt\n-rw-r--r-- {host.name}.crt\n-rw------- {host.name}.key\n")
        self.assertTrue(os.path.exists(os.path.join(self.dir, "tunorch/pki/ca.key")))

    def test_04_check_mode_shows_the_difference_and_does_nothing(self):
        spec = copy.deepcopy(CLUSTER)
        spec["bundles"]["backbone"]["tunnels"][1] = {"weight": 3}
        self.write_cluster(spec)
        applied = self.applied(self.edge_1)
        recap = self.play("site", "--check", "--diff")
        self.assertIn("+      weight: 3".replace("+      ", "+"), re.sub(r"\n\+[ -]*", "\n+", self.output))
        self.assertTrue(all(count > 0 for count in self.changed(recap).values()))
        self.assertEqual(self.applied(self.edge_1), applied)
        self.assertNotIn("weight", self.edge_1.run("cat /etc/tunorch/cluster.yaml").stdout)

    def test_05_a_weight_and_a_fifth_tunnel_under_load(self):
        self.spec = copy.deepcopy(CLUSTER)
        self.spec["bundles"]["backbone"]["tunnels"] = [{}, {"weight": 3}, {}, {}, {}]
        self.write_cluster(self.spec)
        traffic = Traffic(self)
        self.play("site")
        self.wait_live(5)
        traffic.check()
        traffic.end()
        self.assertEqual([one["weight"] for one in self.status(self.edge_1)["tunnels"]], [1, 3, 1, 1, 1])
        self.assertEqual(self.changed(self.play("site")), {name: 0 for name in NODES})
        self.assert_order(self.gateway, self.edge_1, self.edge_2)

    def test_06_a_bad_file_touches_no_host(self):
        before = {host: (self.applied(host), host.run("stat -c %y /etc/tunorch /etc/tunorch/*").stdout)
                  for host in self.hosts}
        bad = copy.deepcopy(CLUSTER)
        bad["bundles"]["backbone"]["tunels"] = bad["bundles"]["backbone"].pop("tunnels")
        self.write_cluster(bad)
        recap = self.play("site", fails=True)
        self.assertIn("unknown key 'tunels'", self.output)
        self.assertIn("cluster.yaml:", self.output)
        self.assertEqual(set(self.changed(recap).values()), {0})
        for host in self.hosts:
            self.assertEqual(before[host], (self.applied(host),
                                            host.run("stat -c %y /etc/tunorch /etc/tunorch/*").stdout))

        # As a firewall that is not there.
        self.write_cluster(CLUSTER)
        rules = self.gateway.run("cat /etc/nftables.conf").stdout
        recap = self.play("site", "--extra-vars",
                          json.dumps({"tunorch_firewall_chain": "inet filter inputs"}), fails=True)
        self.assertIn("There is no nftables chain inet filter inputs on gateway", self.output)
        self.assertEqual(set(self.changed(recap).values()), {0})
        self.assertEqual(self.gateway.run("cat /etc/nftables.conf").stdout, rules)

    def test_07_a_canary_that_does_not_get_healthy_is_reverted(self):
        spec = yaml.safe_load(self.gateway.run("cat /etc/tunorch/cluster.yaml").stdout)
        old = copy.deepcopy(spec)
        spec["nodes"]["gateway"]["endpoint"] = f"{NETWORK}.99"
        self.write_cluster(spec)
        untouched = self.applied(self.edge_2), self.pids(self.edge_2)
        self.play("site", fails=True)
        self.assertIn("edge-1 did not get healthy", self.output)
        self.assertIn("not healthy", self.output)
        self.wait_live(5)
        self.assertEqual((self.applied(self.edge_2), self.pids(self.edge_2)), untouched)
        self.assertIn("reverted", [event["event"] for event in self.events(self.edge_1)])
        for host in self.hosts:
            self.assertEqual(yaml.safe_load(host.run("cat /etc/tunorch/cluster.yaml").stdout), old)
            self.assertNotIn("cluster.yaml.new", host.run("ls /etc/tunorch").stdout)
        self.write_cluster(old)
        self.assertEqual(self.changed(self.play("site")), {name: 0 for name in NODES})

    def test_08_a_tunnel_goes_under_load(self):
        self.write_cluster(CLUSTER)
        traffic = Traffic(self)
        self.play("site")
        self.wait_live(4)
        traffic.check()
        traffic.end()
        self.assert_order(self.edge_1, self.edge_2, self.gateway)

    def test_09_a_new_package_under_load(self):
        later = newer_package(self.dir)
        self.write_inventory(tunorch_package=later)
        pids = {host: self.pids(host) for host in self.hosts}
        traffic = Traffic(self)
        self.play("upgrade")
        traffic.check()
        self.wait_live(4)
        for host in self.hosts:
            self.assertIn("+later1", host.run("dpkg-query -Wf '${Version}' tunorch").stdout)
            self.assertFalse(set(pids[host].values()) & set(self.pids(host).values()), "new workers")
            self.assertIn("worker_adopted", [event["event"] for event in self.events(host)])
        self.assertEqual(self.changed(self.play("upgrade")), {name: 0 for name in NODES})
        # And back.
        self.write_inventory()
        self.play("upgrade")
        traffic.check()
        self.wait_live(4)
        self.assertNotIn("+later1", self.edge_2.run("dpkg-query -Wf '${Version}' tunorch").stdout)
        traffic.end()

    def test_10_certificates_rotated_under_load(self):
        show = "cat /etc/tunorch/pki/*.crt | sha256sum"
        before = {host: host.run(show).stdout for host in self.hosts}
        traffic = Traffic(self)
        self.play("rotate")
        traffic.check()
        self.wait_live(4)
        for host in self.hosts:
            self.assertNotEqual(host.run(show).stdout, before[host])
            self.assertNotIn("PRIVATE KEY", self.output)
        traffic.end()

    def test_11_a_host_is_switched_off_in_mid_run(self):
        spec = copy.deepcopy(CLUSTER)
        spec["bundles"]["backbone"]["tunnels"][2] = {"weight": 2}
        self.write_cluster(spec)
        applied = self.applied(self.gateway)
        words = ["ip", "netns", "exec", self.fleet.controller, "ansible-playbook", "-i",
                 os.path.join(self.dir, "inventory.yml"), "tunorch.fleet.site"]
        with open(os.path.join(self.dir, "run.log"), "w+") as log:
            run = subprocess.Popen(words, stdout=log, stderr=log, env=self.environment, cwd=self.dir)
            self.addCleanup(end, run)
            wait_for("the gateway has it", lambda: self.applied(self.gateway) != applied, limit=300)
            self.edge_2.power_off()
            self.assertNotEqual(run.wait(timeout=300), 0)
            log.seek(0)
            output = log.read()
        print("\nsite")
        print("\n".join(output.partition("PLAY RECAP")[2].splitlines()[1:]).strip(), flush=True)
        self.assertRegex(output, r"edge-2 .*unreachable=1")
        self.assertRegex(output, r"edge-1 .*unreachable=0 +failed=0")
        self.wait_live(4, (self.edge_1,))
        self.assertEqual(self.status(self.edge_1)["tunnels"][2]["weight"], 2)
        # It comes up by itself with what it had, and the next run brings it along.
        self.edge_2.power_on()
        self.edge_2.wait_up()
        self.wait_live(4)
        self.assertEqual(self.status(self.edge_2)["tunnels"][2]["weight"], 1)
        recap = self.play("site")
        self.assertGreater(recap["edge-2"]["changed"], 0)
        self.assertEqual(self.status(self.edge_2)["tunnels"][2]["weight"], 2)
        self.assertEqual(self.changed(self.play("site")), {name: 0 for name in NODES})

    def test_12_after_a_reboot_it_is_there_by_itself(self):
        for host in self.hosts:
            host.run("systemctl reboot", check=False)
        time.sleep(3)
        for host in self.hosts:
            host.wait_up()
        self.wait_live(4)
        self.assertIn("jump tunorch_openings", self.gateway.run("nft list ruleset").stdout)
        self.assertEqual(self.changed(self.play("site")), {name: 0 for name in NODES})
        self.play("status")

    def test_13_the_file_may_stand_in_the_inventory(self):
        self.addCleanup(self.write_inventory)
        pids = {host: self.pids(host) for host in self.hosts}
        spec = copy.deepcopy(CLUSTER)
        spec["bundles"]["backbone"]["tunnels"][3] = {"weight": 3}
        self.write_inventory(tunorch_cluster_file="", tunorch_cluster=spec)
        self.play("site")
        self.assertEqual(yaml.safe_load(self.edge_1.run("cat /etc/tunorch/cluster.yaml").stdout), spec)
        self.assertEqual({host: self.pids(host) for host in self.hosts}, pids)
        self.assertEqual(self.changed(self.play("site")), {name: 0 for name in NODES})
        self.write_inventory(tunorch_cluster=spec)
        self.play("site", fails=True)
        self.assertIn("Set either tunorch_cluster_file or tunorch_cluster.", self.output)
        self.write_inventory(tunorch_cluster_file="", tunorch_cluster=[spec])
        self.play("site", fails=True)
        self.assertIn("argument 'tunorch_cluster' is of type", self.output)

    def test_13_keys_that_cannot_be_read(self):
        host = self.edge_2
        pids = self.pids(host)
        host.run("mv /etc/tunorch/pki /etc/tunorch/away && systemctl restart tunorch")
        self.assertIn("cannot load what was applied last",
                      host.run("tunorch status", check=False).stdout)
        recap = self.play("status", fails=True)
        self.assertEqual([name for name, one in recap.items() if one["failed"]], ["edge-2"])
        self.assertIn("ca.crt", self.output)
        host.run("rm -rf /etc/tunorch/away")
        self.play("site")
        self.wait_live(4)
        self.assertEqual(self.pids(host), pids)
        self.play("status")

    def test_14_the_role_alone(self):
        with open(os.path.join(self.dir, "alone.yml"), "w") as file:
            yaml.safe_dump([{"hosts": "edge-1", "gather_facts": False,
                             "roles": ["tunorch.fleet.tunorch"]}], file)
        pids = self.pids(self.edge_1)
        self.play("alone.yml")
        self.assertEqual(self.pids(self.edge_1), pids)
        self.assertEqual(self.changed(self.play("alone.yml")), {"edge-1": 0})

    def test_15_systemd_restarts_the_daemon_and_not_the_tunnels(self):
        host = self.edge_1
        pids = self.pids(host)
        main = lambda: int(host.run("systemctl show -P MainPID tunorch").stdout)
        answers = lambda: host.run("tunorch status", check=False).returncode == 0
        for how in ("systemctl restart tunorch", "kill -KILL {}", "kill -STOP {}"):
            with self.subTest(how):
                before = main()
                ping = Ping(self, host)
                host.run(how.format(before))
                wait_for("another daemon answers", lambda: main() not in (0, before) and answers(), 30)
                self.assertEqual(self.pids(host), pids)
                ping.end()
        host.run("systemctl reload tunorch")
        self.assertIn("WatchdogSec", host.run("systemctl cat tunorch").stdout)

    def test_16_members_of_the_group_may_ask(self):
        host = self.edge_1
        asks = "setpriv --reuid=nobody --regid=nogroup --groups={} tunorch {}"
        self.assertIn("bundle backbone", host.run(asks.format("tunorch", "status")).stdout)
        self.assertIn("not permitted", host.run(asks.format("tunorch", "down"), check=False).stderr)
        self.assertNotEqual(host.run(asks.format("nogroup", "status"), check=False).returncode, 0)

    def test_16_page_and_support_bundle_within_the_units_bounds(self):
        host = self.edge_1
        get = ("python3 -c \"import urllib.request as r; "
               "print(r.urlopen('http://127.0.0.1:9810{}').read().decode())\"")
        self.assertIn("tunorch_daemon_up 1\n", host.run(get.format("/metrics")).stdout)
        self.assertIn("<title>", host.run(get.format("/")).stdout)
        web = json.loads(host.run("tunorch status --json").stdout)["web"]["pid"]
        group = host.run("getent group tunorch | cut -d: -f3").stdout.strip()
        fields = host.run(f"grep -E '^(Uid|Gid|CapEff|NoNewPrivs)' /proc/{web}/status").stdout.split()
        self.assertEqual(fields, ["Uid:", *["1880000064"] * 4, "Gid:", *[group] * 4,
                                  "CapEff:", "0" * 16, "NoNewPrivs:", "1"])
        host.run("kill -KILL $(systemctl show -P MainPID tunorch)")
        wait_for("the next daemon has taken it over", lambda: f'"pid": {web},' in host.run(
            "tunorch status --json", check=False).stdout, 30)
        parts = host.run("""set -e
            tunorch support-bundle --output /root/support.tar.gz >/dev/null
            tar -tzf /root/support.tar.gz
            tar -xzOf /root/support.tar.gz --wildcards '*/units.txt' '*/journal.txt'
            rm /root/support.tar.gz""").stdout
        for text in ("/status.json\n", "tunorch.service - ", "tunorch[", "worker_adopted"):
            self.assertIn(text, parts)

    def test_17_two_nodes_on_one_host_with_every_engine_in_the_unit(self):
        host = self.edge_2
        host.run("""set -e
            ip netns add second; ip netns add third
            ip link add eth0 netns second type veth peer name eth0 netns third
            ip -n second addr add 10.99.0.1/24 dev eth0; ip -n third addr add 10.99.0.2/24 dev eth0
            mkdir /root/own
            for node in second third; do
              ip -n $node link set eth0 up; ip -n $node link set lo up
              mkdir -p /etc/systemd/system/tunorch@$node.service.d
              printf "[Service]\nNetworkNamespacePath=/run/netns/$node\n" \
                >/etc/systemd/system/tunorch@$node.service.d/namespace.conf
            done
            systemctl daemon-reload
            cat >/root/own/cluster.yaml <<'END'
cluster: own
link_net: 198.20.0.0/16
nodes:
  second: {endpoint: 10.99.0.1, inner: [10.78.0.1/32]}
  third: {inner: [10.78.0.2/32]}
bundles:
  inside:
    {listen: second, dial: [third], port: 4500, tunnels: [{}, {engine: openvpn}, {engine: wireguard}]}
END
            tunorch pki init /root/own/cluster.yaml""")
        tunorch = "tunorch --node {0} --runtime-dir /run/tunorch-{0} {1}"
        host.run(tunorch.format("second", "apply /root/own/cluster.yaml --timeout 1s"), check=False)
        host.run(tunorch.format("third", "apply /root/own/cluster.yaml"))
        for node in ("second", "third"):
            self.assertEqual(host.run(f"systemctl is-active tunorch@{node}").stdout, "active\n")
            host.run(tunorch.format(node, "apply /root/own/cluster.yaml"))
            self.assertIn("inside-2", host.run(f"ip -n {node} -br link").stdout)
            told = json.loads(host.run(tunorch.format(node, "status --json")).stdout)
            tunnels = told["bundles"][0]["tunnels"]
            self.assertEqual([one["restarts"] for one in tunnels], [0, 0, 0], tunnels)
            said = host.run(f"journalctl -o cat -u tunorch@{node}").stdout
            self.assertRegex(said, "output tunnel=inside-1: .*OpenVPN")
        self.assertNotIn("inside-0", host.run("ip -br link").stdout)
        for k in range(3):
            host.run(tunorch.format("third", f"drain inside-{(k + 1) % 3}"))
            host.run(tunorch.format("third", f"drain inside-{(k + 2) % 3}"))
            host.run("ip netns exec third ping -c 3 -i 0.2 -W 2 -I 10.78.0.2 10.78.0.1")
            host.run(tunorch.format("third", f"undrain inside-{(k + 1) % 3}"))
            host.run(tunorch.format("third", f"undrain inside-{(k + 2) % 3}"))
        host.run("""set -e
            for node in second third; do
              tunorch --node $node --runtime-dir /run/tunorch-$node down
              systemctl stop tunorch@$node
              rm -r /etc/systemd/system/tunorch@$node.service.d
              ip netns del $node
            done
            rm -r /root/own; systemctl daemon-reload
            umount /run/netns; rmdir /run/netns""")

    def test_18_network_manager_comes_and_goes(self):
        host = self.edge_1
        look = "ip -br addr; ip -br link; ip rule; ip nexthop; ip route show table all; ip -6 rule"
        pids, before = self.pids(host), host.run(look).stdout
        ping = Ping(self, host)
        host.run("""set -e
            mkdir -p /run/NetworkManager/conf.d
            printf '[main]\ndns=none\n' >/run/NetworkManager/conf.d/test.conf
            systemctl start NetworkManager""")
        for how in ("true", "systemctl restart NetworkManager", "nmcli general reload"):
            with self.subTest(how):
                host.run(how)
                wait_for("it sees the tunnels", lambda: "backbone-3" in host.run("nmcli -t device").stdout, 30)
                time.sleep(2)
                self.assertEqual(host.run(look).stdout, before)
                self.assertEqual(self.live(host), 4)
        # And what `doctor` says of it mends it.
        doctor = "tunorch doctor /etc/tunorch/cluster.yaml --json"
        asked = lambda: json.loads(host.run(doctor, check=False).stdout)
        told = lambda: [one for one in asked()["findings"] if one["id"] == "conflicts.networkmanager"]
        host.run(told()[0]["mend"])
        self.assertEqual([one["severity"] for one in told()], ["ok"])
        self.assertIn("backbone-0:tun:unmanaged", host.run("nmcli -t device").stdout)
        host.run("""systemctl stop NetworkManager NetworkManager-dispatcher
            rm -rf /run/NetworkManager /var/lib/NetworkManager/* /etc/NetworkManager/conf.d/90-tunorch.conf""")
        self.assertEqual(host.run(look).stdout, before)
        self.assertEqual(self.pids(host), pids)
        ping.end()

    def test_19_installed_over_itself_and_removed_by_hand(self):
        host = self.edge_2
        deb = "/var/cache/tunorch/tunorch.deb"
        pids, daemon = self.pids(host), host.run("systemctl show -P MainPID tunorch").stdout
        ping = Ping(self, host)
        host.run(f"dpkg --install {deb}")
        self.assertNotEqual(host.run("systemctl show -P MainPID tunorch").stdout, daemon)
        self.assertEqual(self.pids(host), pids)
        ping.end()
        host.run("dpkg --remove tunorch")
        self.assertNotIn("backbone", host.run("ip -br link; ip route show table all; ip rule").stdout)
        self.assertEqual(host.run("pgrep -f tunorch-worker", check=False).stdout, "")
        self.assertEqual(host.run("ls /etc/tunorch/pki").stdout, "ca.crt\nedge-2.crt\nedge-2.key\n")
        self.wait_live(4, (self.edge_1,))
        self.play("site")
        self.wait_live(4)

    def test_20_uninstalled_as_if_it_had_never_been(self):
        self.play("uninstall")
        self.assert_as_before()
        self.assertEqual(self.changed(self.play("uninstall")), {name: 0 for name in NODES})


if __name__ == "__main__":
    unittest.main()
