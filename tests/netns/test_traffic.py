"""Where traffic goes by wish: drains, rolling restarts, tiers, full tunnels, policies, reverts."""

import contextlib
import copy
import json
import os
import signal
import subprocess
import threading
import time

import failover_rows as rows
from lab import FLOWS, GATEWAY, Flows, Lab, LabTest, carried_pps, cluster, unless_void, wait_for

ALL = [f"backbone-{k}" for k in range(4)]


def carrying(host):
    return host.bundle()["peers"][0]["carrying"]


class ManyFlows(LabTest):
    def test_at_once(self):
        """4000 TCP connections and 4000 UDP flows."""
        self.lab.up()
        with_files = ("sh", "-c", 'ulimit -n 8192 && exec "$@"', "sh", FLOWS)
        pps = carried_pps(self.edge, self.gateway, GATEWAY, 4000, 10000, wrap=with_files[:-1])
        server = self.gateway.start(*with_files, "tcp-serve", GATEWAY, "7100", "20")
        time.sleep(0.3)
        tcp = self.edge.start(*with_files, "tcp", GATEWAY, "7100", "4000", "8", stdout=subprocess.PIPE)
        udp = Flows(self.edge, self.gateway, GATEWAY, 4000, pps, 6, wrap=with_files[:-1])
        got, echoed = udp.finish()
        held = json.loads(tcp.communicate(timeout=30)[0])
        server.wait(timeout=30)
        lost = got["lost"] + echoed["lost_on_return"]
        print(f"4000 TCP connections: {held['messages']} messages and answers, {held['broken']} broken; "
              f"4000 UDP flows: {got['packets'] + echoed['packets']} packets, {lost} lost")
        self.assertEqual((held["connections"], held["broken"], held["silent_at_end"]), (4000, 0, 0))
        self.assertGreater(held["messages"], 4000)
        self.assertEqual((got["flows"], echoed["flows"]), (4000, 4000))
        if udp.void:
            print(f"losses are not judged: {udp.void}")
        else:
            self.assertLess(lost, 0.01 * (got["packets"] + echoed["packets"]))
        self.assertEqual([one["restarts"] for one in self.edge.bundle()["tunnels"]], [0] * 4)


class Drains(LabTest):
    def test_an_idle_tunnel_drains_at_once_and_comes_back(self):
        self.lab.up()
        rows.all_live(self.lab)
        began = time.monotonic()
        done = self.edge.tunorch("drain", "backbone-1", "--deadline", "30s")
        self.assertLess(time.monotonic() - began, 10)
        self.assertIn("backbone-1 is drained", done.stdout)
        for host in (self.edge, self.gateway):
            wait_for("both ends drained it", lambda: "backbone-1" not in carrying(host), 2)
        self.assertEqual(self.edge.tunnel("backbone-1")["drain"], "drained")
        self.edge.tunorch("undrain", "backbone-1")
        rows.all_live(self.lab)

    def test_busy_flows_stay_until_the_deadline_and_lose_nothing(self):
        self.lab.up()
        rows.all_live(self.lab)
        time.sleep(1.2)
        flows = Flows(self.edge, self.gateway, "10.77.0.1", 200, 10000, 8)
        time.sleep(2)
        drain = self.edge.start("sh", "-c", " ".join(
            [os.path.join(os.environ["TUNORCH_BIN"], "tunorch"), "drain", "backbone-2",
             "--deadline", "3s", *self.edge.options()]))
        time.sleep(2)
        self.assertIn("backbone-2", carrying(self.edge), "busy: it stays until the deadline")
        self.assertEqual(drain.wait(timeout=10), 0)
        for host in (self.edge, self.gateway):
            wait_for("it left both ends", lambda: "backbone-2" not in carrying(host), 2)
        got, echoed = flows.finish()
        others = {dev: n for dev, n in got["moved_from"].items() if dev != "backbone-2"}
        print(f"\ndrained under load: lost {got['lost']} forward, {echoed['lost_on_return']} on "
              f"return, moved from {got['moved_from']}")
        self.assertEqual(others, {})
        self.assertLessEqual(got["lost"] + echoed["lost_on_return"], 10)

    def test_the_last_tunnel_cannot_be_drained(self):
        self.lab.up()
        rows.all_live(self.lab)
        for tunnel in ALL[:3]:
            self.edge.tunorch("drain", tunnel, "--deadline", "100ms")
        done = self.edge.tunorch("drain", ALL[3], check=False)
        self.fails_with(done, "backbone-3 is the last tunnel that carries to gateway")
        self.fails_with(self.edge.tunorch("drain", "backbone-9", check=False), "no tunnel")


class RollingRestart(LabTest):
    def restart(self, host):
        rows.all_live(self.lab)
        pids = host.worker_pids()
        load = rows.Load(self.lab, 32, pps=5000)
        least, over = [4], threading.Event()

        def watch():
            while not over.is_set():
                for node in (self.edge, self.gateway):
                    least[0] = min(least[0], len(carrying(node)))
                time.sleep(0.05)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            done = host.tunorch("restart", "--rolling", "--deadline", "2s")
        finally:
            over.set()
            watcher.join()
        result = load.finish(rows.now_ns(), None)
        print(f"\nrolling restart on {host.node}: least carrying {least[0]}, "
              f"TCP broken {result['tcp_broken']}, lost {result['forward_lost']} forward, "
              f"{result['return_lost']} on return")
        self.assertEqual(done.stdout.count("carries again"), 4)
        self.assertEqual(least[0], 3)
        self.assertEqual(result["tcp_broken"], 0)
        after = host.worker_pids()
        for tunnel in ALL:
            self.assertNotEqual(pids[tunnel], after[tunnel])

    def test_of_the_dialer(self):
        self.lab.up()
        self.restart(self.edge)

    def test_of_the_listener(self):
        self.lab.up()
        self.restart(self.gateway)


class Confirm(LabTest):
    def heavier(self):
        self.lab.write(cluster(tunnels=[{"weight": 3}, {}, {}, {}]))

    def weight(self):
        return self.edge.tunnel("backbone-0")["weight"]

    def test_reverts_by_itself(self):
        self.lab.up()
        self.heavier()
        done = self.edge.apply("--confirm", "2s")
        self.assertIn("tunorch confirm", done.stdout)
        self.assertEqual(self.weight(), 3)
        wait_for("it is reverted", lambda: self.weight() == 1, 6)
        self.assertIn("reverted", [e["event"] for e in self.edge.events()])
        rows.all_live(self.lab)

    def test_reverts_when_asked(self):
        self.lab.up()
        self.fails_with(self.edge.tunorch("revert", check=False), "nothing to go back to")
        self.heavier()
        self.edge.apply("--confirm", "60s")
        self.edge.tunorch("revert")
        self.assertEqual(self.weight(), 1)
        self.fails_with(self.edge.tunorch("confirm", check=False), "nothing to confirm")
        rows.all_live(self.lab)

    def test_stays_when_confirmed_and_is_reverted_by_a_new_daemon_too(self):
        self.lab.up()
        self.heavier()
        self.edge.apply("--confirm", "3s")
        self.edge.tunorch("confirm")
        time.sleep(3.5)
        self.assertEqual(self.weight(), 3)
        self.fails_with(self.edge.tunorch("confirm", check=False), "nothing to confirm")
        self.lab.write(cluster())
        self.edge.apply("--confirm", "4s")
        os.kill(self.edge.daemon_pid(), signal.SIGKILL)
        self.edge.start_daemon()
        wait_for("the new daemon reverts", lambda: self.edge.tunorch(
            "status", check=False).returncode == 0 and self.weight() == 3, 10)


class Tiers(LabTest):
    spec = cluster(tunnels=[{"priority": 100}, {"priority": 100}, {"priority": 50},
                            {"priority": 50}], failback="manual")

    def test_the_lower_tier_carries_only_while_the_higher_is_down(self):
        self.lab.up()
        for host in (self.edge, self.gateway):
            wait_for("the high tier carries", lambda: carrying(host) == ALL[:2])
        firewall = rows.Firewall(self.edge)
        self.addCleanup(firewall.clear)
        firewall.drop("output tcp dport 4430-4431 drop", "input tcp sport 4430-4431 drop")
        for host in (self.edge, self.gateway):
            wait_for("the low tier carries", lambda: carrying(host) == ALL[2:], 5)
        self.assert_reaches(self.edge, "10.77.0.1")
        firewall.clear()
        wait_for("the high tier lives", lambda: self.edge.live() == 4, 20)
        time.sleep(1)
        self.assertEqual(carrying(self.edge), ALL[2:], "it waits to be asked")
        for host in (self.edge, self.gateway):
            host.tunorch("failback", "backbone")
            wait_for("the high tier carries again", lambda: carrying(host) == ALL[:2], 5)


class FullTunnel(LabTest):
    nodes = ("gateway", "edge", "branch")

    def setUp(self):
        self.spec = cluster(restart={"backoff": "1s"})
        self.spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0", "::/0"]
        super().setUp()
        self.outside = self.lab.branch  # a host of the internet, which the gateway reaches
        self.outside.ip("addr", "add", "198.51.100.9/32", "dev", "lo")
        self.gateway.ip("route", "add", "198.51.100.9/32", "via", "10.66.1.2")
        self.outside.ip("route", "add", "10.77.0.0/16", "via", "10.66.1.1")
        self.edge.ip("route", "add", "default", "via", "10.66.0.1")
        self.gateway.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        # What the underlay of the edge carries in the clear: the gateway counts it where it comes in.
        self.gateway.run("nft", "add table inet capture; add chain inet capture in "
                                "{ type filter hook prerouting priority -300 ; }; "
                                "add counter inet capture clear; add rule inet capture in iifname "
                                "w0 ip daddr 198.51.100.9 counter name clear; add rule inet "
                                "capture in iifname w0 ip saddr 10.77.0.0/16 counter name clear")

    def kill(self, pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if pid > 0:  # 0: in a pause before its next start
                    os.kill(pid, signal.SIGKILL)

    def clear_packets(self):
        text = self.gateway.run("nft", "-j", "list", "counter", "inet", "capture", "clear").stdout
        return [one["counter"]["packets"] for one in json.loads(text)["nftables"]
                if "counter" in one][0]

    def way(self, *words):
        return self.edge.run("ip", "route", "get", *words, check=False).stdout

    def test_everything_but_the_tunnels_own_connections_and_the_way_in(self):
        self.edge.start(FLOWS, "tcp-serve", "10.66.0.2", "2222", "40")
        time.sleep(0.3)
        ssh = self.outside.start(FLOWS, "tcp", "10.66.0.2", "2222", "5", "25",
                                 stdout=-1)  # as ssh from outside would be
        # Before the first tunnel is up nothing leaves.
        self.edge.tunorch("apply", self.lab.file, "--timeout", "500ms", check=False)
        self.assertEqual(self.clear_packets(), 0)
        self.assert_does_not_reach(self.edge, "198.51.100.9")
        self.assertEqual(self.clear_packets(), 0, "all_down: unreachable")
        self.gateway.apply()
        self.edge.apply()
        self.assert_reaches(self.edge, "198.51.100.9")
        self.assertIn("dev backbone-", self.way("198.51.100.9"))
        self.assertIn("dev backbone-", self.edge.run("ip", "-6", "route", "get", "2001:db8::9").stdout)
        self.assertIn("dev wan", self.way("198.51.100.9", "from", "10.66.0.2"))
        self.assertIn("dev wan", self.way("10.66.0.1"), "the local network stays where it is")
        done = self.edge.tunorch("explain", "10.77.0.2", "198.51.100.9", "udp", "1000", "2000")
        self.assertRegex(done.stdout, r"table 116")
        self.assertRegex(done.stdout, r"both directions|different tunnels")
        for _ in range(2):
            self.edge.kill_worker("backbone-1")
            time.sleep(2)
        self.edge.tunorch("restart")
        wait_for("it carries again", lambda: len(carrying(self.edge)) == 4)
        self.edge.run("ip", "rule", "flush")
        self.edge.run("ip", "rule", "add", "pref", "32766", "lookup", "main")
        self.edge.run("ip", "rule", "add", "pref", "0", "lookup", "local")
        wait_for("the rules are back", lambda: "dev backbone-" in self.way("198.51.100.9"), 5)
        report = json.loads(ssh.communicate(timeout=60)[0])
        self.assertEqual((report["broken"], report["silent_at_end"]), (0, 0), "ssh from outside")
        self.edge.tunorch("down")
        self.assertEqual(self.edge.run("ip", "rule").stdout.count("lookup 116"), 0)
        self.assertIn("dev wan", self.way("198.51.100.9"))

    def test_no_packet_leaves_in_the_clear_whatever_happens(self):
        self.gateway.apply()
        self.edge.apply()
        rows.all_live(self.lab)
        cycles = int(os.environ.get("CLEAR_CYCLES", "15"))
        load = Flows(self.edge, self.outside, "198.51.100.9", 50, 2000, cycles * 1.2 + 2, echo=False)
        heavier = copy.deepcopy(self.spec)
        heavier["bundles"]["backbone"]["tunnels"] = [{"weight": 2}, {}, {}, {}]
        for cycle in range(cycles):
            if cycle % 3 == 0:
                self.kill([self.edge.tunnel(ALL[cycle % 4])["pid"]])
            elif cycle % 3 == 1:
                self.lab.write(heavier if cycle % 2 else self.spec)
                self.edge.tunorch("apply", self.lab.file, "--timeout", "1ms", check=False)
            else:  # all dead
                self.kill(self.edge.worker_pids().values())
            time.sleep(1)
        got, _ = load.finish()
        print(f"\n{cycles} cycles of kill, reload, all dead: {got['packets']} packets arrived, "
              f"{self.clear_packets()} seen in the clear on the underlay")
        self.assertGreater(got["packets"], 0)
        self.assertEqual(self.clear_packets(), 0)


class Explain(LabTest):
    def test_names_the_tunnel_that_the_packets_take_in_both_directions(self):
        self.lab.up()
        rows.all_live(self.lab)
        for words in (["10.77.0.1", "10.77.0.2", "udp", "5000", "4000", "--in"],
                      ["10.77.0.2", "10.77.0.1", "udp", "4000", "5000"]):
            said = json.loads(self.edge.tunorch("explain", "--json", *words).stdout)
            self.assertIn(said["ours"]["tunnel"], ALL)
            self.assertIn(said["peers"]["tunnel"], ALL)
        self.assertEqual(said["ours"]["flow"]["source"], "10.77.0.2")
        self.assertEqual(said["peers"]["flow"]["source"], "10.77.0.1")
        self.assertIn("resilient", said["ours"]["mechanism"])
        sent_before = self.edge.tunnel(said["ours"]["tunnel"])["tx_bytes"]
        self.edge.run("python3", "-c", "import socket; s = socket.socket(socket.AF_INET, "
                      "socket.SOCK_DGRAM); s.bind(('10.77.0.2', 4000)); [s.sendto(b'x' * 1000, "
                      "('10.77.0.1', 5000)) for _ in range(50)]")
        wait_for("the packets took it", lambda: self.edge.tunnel(
            said["ours"]["tunnel"])["tx_bytes"] - sent_before > 50000, 3)
        local = self.edge.tunorch("explain", "10.66.0.2", "10.66.0.1").stdout
        self.assertIn("wan, which is no tunnel", local)
        self.fails_with(self.edge.tunorch("explain", "here", "there", check=False),
                        "source 'here' is not an IP address")


class Policy(LabTest):
    def setUp(self):
        self.spec = cluster(policy={"table": 1000, "from": ["192.168.50.0/24"], "fwmark": 7})
        self.spec["nodes"]["edge"]["subnets"] = ["192.168.50.0/24"]
        super().setUp()

    def test_only_chosen_packets_take_the_bundle(self):
        self.edge.ip("addr", "add", "192.168.50.1/24", "dev", "lo")
        self.gateway.apply()
        self.edge.apply()

        def way(*words):
            return self.edge.run("ip", "route", "get", "10.77.0.1", *words, check=False).stdout
        self.assertNotIn("backbone", way())
        self.assertIn("backbone", way("mark", "7"))
        self.assertIn("backbone", way("from", "192.168.50.1"))
        self.edge.tunorch("down")
        self.assertNotIn("1000", self.edge.run("ip", "rule").stdout)
        self.assertEqual(self.edge.run("ip", "route", "show", "table", "1000", check=False).stdout, "")


class HashMode(LabTest):
    spec = cluster(balance={"mode": "hash"}, restart={"backoff": "1s"})

    def test_multipath_routes_fail_over_as_fast(self):
        self.lab.up()
        self.assertIn("multipath route: balance.mode is hash",
                      self.edge.tunorch("status").stdout)
        self.assertEqual(self.edge.run("ip", "nexthop").stdout, "")
        result = unless_void(lambda: rows.kill_worker(self.lab, self.edge, "backbone-1"))
        print("\nkill -9 with multipath routes:", result)
        self.assertEqual(result["tcp_broken"], 0)
        if not result["void"]:
            self.assertLess(result["forward_last_lost_ms"], 200)
        # From one mechanism to the other and back, without a word lost on the way.
        for mode in ("resilient", "hash"):
            self.lab.write(cluster(balance={"mode": mode}, restart={"backoff": "1s"}))
            pps = carried_pps(self.edge, self.gateway, "10.77.0.1", 50, 5000)
            flows = Flows(self.edge, self.gateway, "10.77.0.1", 50, pps, 2)
            time.sleep(0.5)
            for host in (self.edge, self.gateway):
                host.apply()
            got, echoed = flows.finish()
            self.assertGreater(got["packets"], 0)
            if flows.void:
                print(f"losses are not judged: {flows.void}")
            else:
                self.assertEqual((got["lost"], echoed["lost_on_return"]), (0, 0), mode)
            groups = self.edge.run("ip", "nexthop").stdout.count("group")
            self.assertEqual(groups, 1 if mode == "resilient" else 0)
