"""Rules, tables and routes of other programs, systemd-networkd among them, beside ours."""

import os
import re
import subprocess
import time

from lab import Flows, cluster, wait_for
from neighbours import NeighbourTest

NETWORKD = "/lib/systemd/systemd-networkd"


class RulesAndTables(NeighbourTest):
    def setUp(self):
        self.spec = cluster()
        self.spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0"]
        super().setUp()

    def theirs(self):
        """Rules and routes that are not ours, in the kernel's order."""
        return [line for family in ("-4", "-6")
                for words in (("rule",), ("route", "show", "table", "all"))
                for line in self.edge.run("ip", family, *words).stdout.splitlines()
                if "proto 116" not in line and "backbone" not in line and
                "10.77.0.2" not in line and "fd77" not in line]

    def test_they_stay_and_are_named(self):
        self.lab.gateway.apply()
        for words in (("rule", "add", "pref", "11640", "from", "192.0.2.0/24", "lookup", "100"),
                      ("rule", "add", "pref", "100", "to", "10.77.0.1", "lookup", "100"),
                      ("rule", "add", "pref", "90", "fwmark", "7", "lookup", "101"),
                      ("rule", "add", "pref", "80", "lookup", "102"),
                      ("route", "add", "10.77.0.1/32", "via", "10.66.0.1", "table", "100"),
                      ("route", "add", "203.0.113.0/24", "via", "10.66.0.1", "table", "116"),
                      ("route", "add", "10.77.0.1/32", "via", "10.66.0.1", "table", "101")):
            self.edge.ip(*words)
        before = self.theirs()
        output = self.edge.apply().stdout
        self.assertRegex(output, r"note: rule -4 pref 11640 from 192\.0\.2\.0/24 lookup 100 .*is not "
                         "ours and has the preference of one of ours.*another preference")
        self.assertRegex(output, r"note: rule -4 pref 100 from all to 10\.77\.0\.1/32 lookup 100 .*is "
                         r"asked before our route to 10\.77\.0\.1/32.*wan.*remove it")
        self.assertRegex(output, r"note: table 116 has routes that are not ours, as 203\.0\.113\.0/24"
                         ".*wan.*left alone.*a table of its own")
        self.assertNotIn("rule -4 pref 90", output, "a rule for some packets is their business")
        self.assertNotIn("lookup 102", output, "an empty table hides nothing")
        self.assertEqual(self.theirs(), before)
        # One that comes later is told in the log.
        self.edge.ip("route", "add", "10.77.0.1/32", "via", "10.66.0.1", "table", "102")
        wait_for("it is said", lambda: "pref 80 from all lookup 102" in self.edge.log(), 10)
        self.edge.ip("route", "del", "10.77.0.1/32", "table", "102")
        self.edge.tunorch("down")
        self.assertEqual(self.theirs(), before)
        self.assert_nothing_of_ours(self.edge)

    def test_the_very_same_rule(self):
        """Ours is told from it by its protocol alone."""
        self.gateway.apply()
        self.edge.ip("rule", "add", "pref", "11640", "lookup", "116")
        before = self.theirs()
        self.assertRegex(self.edge.apply().stdout,
                         "note: rule -4 pref 11640 from all lookup 116 .*not ours")
        self.assertEqual(self.theirs(), before)
        self.edge.tunorch("down")
        self.assertEqual(self.theirs(), before)
        self.assert_nothing_of_ours(self.edge)


class Networkd(NeighbourTest):
    """systemd-networkd in the edge's namespace. Whenever it configures a link it removes rules and
    routes without a device that are not its own (ManageForeignRoutes= and
    ManageForeignRoutingPolicyRules= of networkd.conf(5), on by default)."""

    # No udev and no D-Bus: with a read-only /sys it takes links as they come.
    SCRIPT = """
mount -t tmpfs none /run && mount -o remount,ro,bind /sys
for folder in links leases lldp; do mkdir -p /run/systemd/netif/$folder; done
chown -R systemd-network: /run/systemd/netif
mkdir -p /run/systemd/network /run/empty && mount --bind /run/empty /etc/systemd/network
printf '%s\n' "[Match]" "Name=$1" "[Network]" LinkLocalAddressing=no ConfigureWithoutCarrier=yes \
  Address=192.0.2.1/32 "[RoutingPolicyRule]" From=192.0.2.1 Table=77 Priority=500 \
  > /run/systemd/network/10-theirs.network
export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console
exec /lib/systemd/systemd-networkd
"""

    def setUp(self):
        self.spec = cluster()
        self.spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0"]
        super().setUp()
        self.gateway.ip("addr", "add", "198.51.100.9/32", "dev", "lo")
        self.said = os.path.join(self.lab.dir, "networkd.log")

    def start_networkd(self, names):
        self.assertTrue(os.path.exists(NETWORKD), "Debian's package systemd has it")
        with open(self.said, "w") as log:
            self.edge.start("unshare", "-m", "sh", "-c", self.SCRIPT, "sh", names, stdout=log,
                            stderr=log)
        wait_for("networkd knows the links", lambda: "wan: State changed" in self.networkd_said())
        time.sleep(0.3)

    def networkd_said(self):
        with open(self.said) as log:
            return log.read()

    def our_rules(self):
        return [line for line in self.edge.run("ip", "rule").stdout.splitlines()
                if "proto 116" in line]

    def test_it_removes_rules_and_routes_of_ours(self):
        self.lab.up()
        rules = self.our_rules()
        self.start_networkd("theirs0")
        pids = self.edge.worker_pids()
        flows = Flows(self.edge, self.gateway, "10.77.0.1", 50, 2000, 3)
        ping = self.edge.start("ping", "-i", "0.02", "-c", "150", "-W", "1", "198.51.100.9",
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(0.5)
        self.edge.ip("link", "add", "theirs0", "type", "veth", "peer", "name", "theirs1")
        self.edge.ip("link", "set", "theirs0", "up")
        output = ping.communicate(timeout=30)[0]
        got, echoed = flows.finish()
        answered = int(re.search(r"(\d+) received", output)[1])
        print(f"\nnetworkd removes rules and routes: lost {150 - answered} of 150 pings 20 ms apart, "
              f"{got['lost']} and {echoed['lost_on_return']} packets of flows")
        for what in ("foreign routing policy rule.*priority: 11640", "foreign route.*unreachable"):
            self.assertRegex(self.networkd_said(), "Removing " + what)
        self.assertGreaterEqual(answered, 150 - 25)
        self.assertLessEqual(got["lost"] + echoed["lost_on_return"], 100)  # of 12,000
        self.assertEqual(self.our_rules(), rules)
        self.assertIn("healed", [event["event"] for event in self.edge.events()])
        self.assertEqual(self.edge.worker_pids(), pids)
        self.assertRegex(self.edge.run("ip", "route").stdout, r"unreachable 10\.77\.0\.1 proto 116")
        theirs = "500:\tfrom 192.0.2.1 lookup 77 proto static"
        self.assertIn(theirs, self.edge.run("ip", "rule").stdout)
        self.edge.tunorch("down")
        self.assertIn(theirs, self.edge.run("ip", "rule").stdout)
        self.assert_nothing_of_ours(self.edge)

    def test_it_takes_our_devices_for_its_own(self):
        """By a [Match] that is too wide: Name=* would do the same."""
        self.start_networkd("backbone-*")
        self.lab.up()
        self.assertRegex(self.networkd_said(), "backbone-0: State changed: initialized -> config")
        wait_for("all four carry", lambda: self.edge.live() == 4)
        self.edge.kill_worker("backbone-1")
        wait_for("it is out", lambda: self.edge.live() == 3)
        wait_for("all four carry", lambda: self.edge.live() == 4)
        self.assert_reaches(self.edge, "10.77.0.1")
        self.assert_reaches(self.edge, "198.51.100.9")
        time.sleep(0.5)
        before = len(self.edge.events())
        time.sleep(1)
        healed = [e for e in self.edge.events()[before:] if e["event"] == "healed"]
        self.assertEqual(healed, [], "they would undo each other's work for ever")
