"""The machine is as it was: dumps before the first apply and after down are the same."""

import os
import signal
import subprocess

from lab import LabTest, cluster

# Values that move by themselves.
MOVING = ("nf_conntrack_count",)


def dump(host):
    """Everything on a host and in its lab's folder that `down` is to leave as it was."""
    commands = {
        "links": ("ip", "-o", "-d", "link"),
        "addresses": ("ip", "-o", "addr"),
        "ipv4 routes": ("ip", "-4", "route", "show", "table", "all"),
        "ipv6 routes": ("ip", "-6", "route", "show", "table", "all"),
        "ipv4 rules": ("ip", "-4", "rule"),
        "ipv6 rules": ("ip", "-6", "rule"),
        "nexthops": ("ip", "nexthop"),
        "nft": ("nft", "list", "ruleset"),
    }
    lines = {name: host.run(*words).stdout.splitlines() for name, words in commands.items()}
    sysctls = subprocess.run(host.command("sysctl", "-a"), text=True, capture_output=True)
    lines["sysctls"] = [line for line in sysctls.stdout.splitlines()
                        if line.startswith("net.") and not any(m in line for m in MOVING)]
    assert len(lines["sysctls"]) > 200
    lines["files"] = sorted(os.path.join(path, name)
                            for path, folders, files in os.walk(host.lab.dir)
                            for name in folders + files)
    return lines


class NothingIsLeft(LabTest):
    def setUp(self):
        self.spec = cluster(tunnels=3)
        self.spec["nodes"]["gateway"].update(subnets=["10.20.0.0/16", "fd20::/64"], masquerade="w0")
        self.spec["nodes"]["edge"]["subnets"] = ["192.168.50.0/24"]
        self.spec["tuning"] = {"sysctl": {"net.ipv4.tcp_fin_timeout": "30"}}
        super().setUp()

    def dump(self, host):
        return dump(host)

    def assert_same(self, before, host):
        after = self.dump(host)
        for name in before:
            self.assertEqual(sorted(before[name]), sorted(after[name]), f"{host.node}: {name}")

    def up_and_check_it_changed(self, before):
        self.lab.up()
        now = self.dump(self.gateway)
        for name in ("links", "addresses", "ipv4 routes", "ipv6 routes", "nft", "sysctls"):
            self.assertNotEqual(before[name], now[name], f"apply was to change {name}")

    def test_after_down(self):
        before = self.dump(self.gateway), self.dump(self.edge)
        self.up_and_check_it_changed(before[0])
        self.gateway.tunorch("down")
        self.edge.tunorch("down")
        self.assert_same(before[0], self.gateway)
        self.assert_same(before[1], self.edge)

    def test_after_down_with_a_killed_daemon(self):
        before = self.dump(self.gateway), self.dump(self.edge)
        self.up_and_check_it_changed(before[0])
        for host in (self.gateway, self.edge):
            os.kill(host.daemon_pid(), signal.SIGKILL)
        self.gateway.tunorch("down")
        self.edge.tunorch("down")
        self.assert_same(before[0], self.gateway)
        self.assert_same(before[1], self.edge)

    def test_forwarding_that_was_on_for_one_device_stays_on_for_it(self):
        self.gateway.run("sysctl", "-qw", "net.ipv4.conf.w0.forwarding=1")
        before = self.dump(self.gateway)
        self.gateway.apply()
        self.gateway.tunorch("down")
        self.assert_same(before, self.gateway)

    def test_down_twice_and_down_of_nothing(self):
        before = self.dump(self.edge)
        self.edge.tunorch("down")
        self.edge.apply("--timeout", "100ms", check=False)
        self.edge.tunorch("down")
        self.edge.tunorch("down")
        self.assert_same(before, self.edge)
