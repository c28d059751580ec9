"""Kernels that lack something: refused or made up for in words."""

import copy
import os

from lab import BIN, CLUSTER, TUNORCH, wait_for
from neighbours import NeighbourTest

LACKING = os.path.join(BIN, "lacking.so")


class LackingKernel(NeighbourTest):
    def lacking(self, what, verb="apply", *words, check=True, host=None):
        host = host or self.edge
        words = (self.lab.file, *words) if verb == "apply" else words
        return host.run("env", f"LD_PRELOAD={LACKING}", f"LACKING={what}",
                        f"ASAN_OPTIONS={os.environ['ASAN_OPTIONS']}:verify_asan_link_order=0",
                        TUNORCH, verb, *words, *host.options(), check=check)

    def refused(self, what, *patterns, host=None):
        output = self.fails_with(self.lacking(what, check=False, host=host), *patterns)
        self.assertNotIn("cannot undo", output)
        self.assert_nothing_of_ours(host or self.edge)
        return output

    def check_multipath(self, what, *reasons):
        self.gateway.apply()
        self.lacking(what)
        mechanism = self.edge.bundle()["peers"][0]["mechanism"]
        for reason in ("multipath route: this kernel has no resilient nexthop groups", *reasons):
            self.assertIn(reason, mechanism)
        self.assertEqual(len(self.edge.route_devices("10.77.0.1")), 4)
        self.assertEqual(self.edge.run("ip", "nexthop").stdout, "")
        self.assert_reaches(self.edge, "10.77.0.1")
        if what == "nexthops":
            self.edge.kill_worker("backbone-1")
            wait_for("the route leaves it",
                     lambda: "backbone-1" not in self.edge.route_devices("10.77.0.1"))
            wait_for("it is back", lambda: len(self.edge.route_devices("10.77.0.1")) == 4)
        self.edge.tunorch("down")
        self.assert_nothing_of_ours(self.edge)

    def test_nexthop_objects(self):
        self.check_multipath("nexthops", "Operation not supported", "Linux 5.13")

    def test_resilient_groups(self):
        self.check_multipath("resilient", "Linux 5.13")

    def test_multipath_routes(self):
        self.refused("ecmp", "nothing was changed", "fib_multipath_hash_policy does not exist here",
                     "CONFIG_IP_ROUTE_MULTIPATH.*Linux 4.12")

    def test_ipv6(self):
        self.refused("ipv6", "nothing was changed", "this kernel has no IPv6.*ipv6.disable=1.*"
                     "CONFIG_IPV6.*take them out")
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["gateway"]["inner"] = ["10.77.0.1/32"]
        spec["nodes"]["edge"]["inner"] = ["10.77.0.2/32"]
        self.lab.write(spec)
        self.check_multipath("ipv6")

    def test_ipv6_turned_off(self):
        self.gateway.apply()
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                      "net.ipv6.conf.default.disable_ipv6=1")
        self.fails_with(self.edge.apply(check=False), "nothing was changed",
                        r"IPv6 is turned off on lo \(net.ipv6.conf.lo.disable_ipv6 = 1\).*sysctl -w "
                        "net.ipv6.conf.lo.disable_ipv6=0")
        self.assert_nothing_of_ours(self.edge)
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
        self.edge.apply()  # devices of ours have it turned on
        self.assertEqual(self.edge.live(), 4)
        # Turned off while it runs: IPv4 is not to suffer, and IPv6 comes back with it.
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        wait_for("it is said", lambda: self.edge.status().get("conflicts"), 10)
        self.edge.kill_worker("backbone-2")
        wait_for("it is out", lambda: self.edge.live() == 3)
        wait_for("it is back", lambda: self.edge.live() == 4)
        self.assert_reaches(self.edge, "10.77.0.1")
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
        wait_for("IPv6 is back", lambda: " 0% packet loss" in self.edge.run(
            "ping", "-c", "2", "-i", "0.2", "-W", "1", "fd77::1", check=False).stdout)

    def masqueraded(self):
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["gateway"].update(subnets=["10.20.0.0/16"], masquerade="w0")
        self.lab.write(spec)

    def test_nftables(self):
        for what in ("nftables", "netfilter"):
            self.lab.write(CLUSTER)
            self.lacking(what, host=self.gateway)  # nothing of it is needed
            self.gateway.tunorch("down")
            self.masqueraded()
            self.refused(what, r"failed: .*nft", "CONFIG_NF_TABLES", r"undone: \+ tun backbone-0",
                         host=self.gateway)

    def without_tun(self, *make):
        """As in a container: /dev/net is empty, or has a node that no driver serves."""
        script = "mount -t tmpfs none /dev/net && " + "".join(make) + 'exec "$@"'
        done = self.edge.run("unshare", "-m", "sh", "-c", script, "sh", TUNORCH, "apply",
                             self.lab.file, *self.edge.options(), check=False)
        self.fails_with(done, r"failed: \+ tun backbone-0", r"cannot open /dev/net/tun \(.*modprobe "
                        "tun.*CONFIG_TUN.*container.*No such (file|device)")
        self.assertNotIn("cannot undo", done.stderr)
        self.assert_nothing_of_ours(self.edge)

    def test_tun(self):
        self.without_tun()
        self.without_tun("mknod /dev/net/tun c 10 199 && ")
