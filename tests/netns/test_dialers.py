"""One listener, two dialers over the same tunnels: each has its own routes, and its own prefixes."""

import copy

from lab import CLUSTER, LabTest, wait_for

SPEC = copy.deepcopy(CLUSTER)
SPEC["nodes"]["branch"] = {"inner": ["10.77.0.3/32"]}
# So that the dialers have a route to each other, through the gateway.
SPEC["nodes"]["gateway"]["subnets"] = ["10.77.0.0/24"]
SPEC["bundles"]["backbone"]["dial"] = ["edge", "branch"]
SPEC["bundles"]["backbone"]["restart"] = {"backoff": "2s"}  # time to look before it is back

ALL = [f"backbone-{k}" for k in range(4)]


class DialersTest(LabTest):
    nodes = ("gateway", "edge", "branch")
    spec = SPEC

    def setUp(self):
        super().setUp()
        self.branch = self.lab.branch

    def open_up(self):
        spec = copy.deepcopy(self.spec)
        spec["bundles"]["backbone"]["isolate"] = False
        self.lab.write(spec)
        self.gateway.apply("--wait-peers")
        for host in (self.edge, self.branch):
            host.apply()

    def spoof(self):
        """As the other dialer."""
        self.edge.ip("addr", "add", "10.77.0.3/32", "dev", "lo")
        done = self.edge.run("ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.77.0.3",
                             "10.77.0.1", check=False)
        self.assertIn("100% packet loss", done.stdout)


class TwoDialers(DialersTest):
    def test_one_dialers_lost_tunnel_is_only_its_own(self):
        self.lab.up()
        self.assertEqual(self.gateway.route_devices("10.77.0.2"), ALL)
        self.assertEqual(self.gateway.route_devices("10.77.0.3"), ALL)
        self.assert_reaches(self.edge, "10.77.0.1")
        self.assert_reaches(self.branch, "10.77.0.1")
        self.edge.kill_worker("backbone-2")
        wait_for("it left edge's route", lambda: self.gateway.route_devices("10.77.0.2") ==
                 ["backbone-0", "backbone-1", "backbone-3"], 2)
        self.assertEqual(self.gateway.route_devices("10.77.0.3"), ALL)
        peers = {p["name"]: len(p["live_tunnels"]) for p in self.gateway.bundle()["peers"]}
        self.assertEqual(peers, {"edge": 3, "branch": 4})
        self.assertEqual(self.gateway.bundle()["state"], "degraded")
        wait_for("it came back", lambda: self.gateway.route_devices("10.77.0.2") == ALL)

    def test_dialers_are_isolated_unless_the_file_says_otherwise(self):
        self.lab.up()
        self.assert_does_not_reach(self.edge, "10.77.0.3")
        dropped = wait_for("the drops are told", lambda: sum(
            t["dropped"].get("isolated", 0) for t in self.gateway.bundle()["tunnels"]))
        self.assertGreaterEqual(dropped, 2)
        self.open_up()
        self.assert_reaches(self.edge, "10.77.0.3")

    def test_a_spoofed_source_is_dropped_and_counted(self):
        self.lab.up()
        self.spoof()
        dropped = wait_for("the drops are told", lambda: sum(
            t["dropped"].get("source", 0) for t in self.gateway.bundle()["tunnels"]))
        self.assertGreaterEqual(dropped, 3)


MIXED = copy.deepcopy(SPEC)
MIXED["bundles"]["backbone"]["tunnels"] = [{}, {"engine": "openvpn"}, {"engine": "wireguard"}]


class OtherEngines(DialersTest):
    """One process of an engine serves both dialers."""

    spec = MIXED

    def through_each(self, check):
        """Calls it with each foreign tunnel as the only one that edge uses."""
        for engine, k in (("openvpn", 1), ("wireguard", 2)):
            others = [f"backbone-{other}" for other in range(3) if other != k]
            for tunnel in others:
                self.edge.tunorch("drain", tunnel)
            wait_for("one is left", lambda: self.edge.route_devices("10.77.0.1") ==
                     self.gateway.route_devices("10.77.0.2") == [f"backbone-{k}"])
            with self.subTest(engine):
                check()
            for tunnel in others:
                self.edge.tunorch("undrain", tunnel)

    def test_both_reach_the_listener_and_not_each_other(self):
        self.lab.up()
        for host in (self.edge, self.branch):
            self.assertEqual(len(host.route_devices("10.77.0.1")), 3)

        def check():
            self.assert_reaches(self.edge, "10.77.0.1")
            self.assert_does_not_reach(self.edge, "10.77.0.3")

        self.through_each(check)
        self.open_up()
        self.through_each(lambda: self.assert_reaches(self.edge, "10.77.0.3"))

    def test_a_spoofed_source_is_dropped(self):
        self.lab.up()

        def check():
            self.assert_reaches(self.edge, "10.77.0.1")
            self.spoof()
            self.edge.ip("addr", "del", "10.77.0.3/32", "dev", "lo")

        self.through_each(check)
