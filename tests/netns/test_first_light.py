"""apply, status, plan: the main line, a second apply, and a changed file."""

import copy
import json
import os
import re
import subprocess
import time

from lab import CLUSTER, TUNORCH, Flows, LabTest, cluster, netlink_writes, wait_for

TUNNEL_KEYS = {"name", "engine", "dev", "pid", "worker", "health", "drain", "weight", "rtt_us", "tx_bytes",
               "rx_bytes", "restarts", "sessions", "reason", "dropped", "confinement",
               "waiting_bytes"}


class EitherOrder(LabTest):
    def check_traffic(self):
        for address in ("10.77.0.1", "fd77::1"):
            self.assert_reaches(self.edge, address)
        for address in ("10.77.0.2", "fd77::2"):
            self.assert_reaches(self.gateway, address)

    def test_listener_first(self):
        self.gateway.apply()
        self.edge.apply()
        self.check_traffic()
        self.check_status()
        server = self.gateway.start("iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        done = self.edge.run("iperf3", "-c", "10.77.0.1", "-t", "2", "-P", "4", "-J")
        server.wait(timeout=20)
        sent = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
        self.assertGreater(sent, 50e6)
        self.edge.tunorch("down")
        self.gateway.tunorch("down")

    def check_status(self):
        status = self.edge.status()
        self.assertEqual(set(status), {"cluster", "node", "bundles", "daemon", "certificate", "time", "version",
                                       "events", "failovers", "applies"})
        self.assertEqual((status["cluster"], status["node"]), ("demo", "edge"))
        bundle = status["bundles"][0]
        self.assertEqual(set(bundle), {"name", "role", "state", "live", "tunnels", "peers"})
        self.assertEqual((bundle["name"], bundle["role"], bundle["state"], bundle["live"]),
                         ("backbone", "dialer", "up", 4))
        for tunnel in bundle["tunnels"]:
            self.assertEqual(TUNNEL_KEYS, set(tunnel))
            self.assertEqual((tunnel["worker"], tunnel["health"], tunnel["engine"]),
                             ("running", "up", "native"))
            self.assertGreater(tunnel["rtt_us"], 0)
        names = [f"backbone-{k}" for k in range(4)]
        self.assertEqual([(p["name"], p["live_tunnels"], p["carrying"]) for p in bundle["peers"]],
                         [("gateway", names, names)])
        self.assertEqual(self.gateway.bundle()["role"], "listener")
        with open(f"/proc/{self.edge.worker_pids()['backbone-0']}/status") as file:
            fields = dict(line.split(":\t", 1) for line in file)
        self.assertNotIn("0", fields["Uid"].split(), "workers are not root")
        self.assertEqual(int(fields["CapEff"], 16), 0)

    def test_dialer_first(self):
        waiting = self.edge.start(*self.apply_command(self.edge), stdout=subprocess.DEVNULL)
        time.sleep(1)
        self.assertIsNone(waiting.poll(), "a dialer waits for its listener")
        self.gateway.apply("--wait-peers")
        self.assertEqual(waiting.wait(timeout=20), 0)
        self.check_traffic()

    def test_both_at_once(self):
        both = [host.start(*self.apply_command(host), stdout=subprocess.DEVNULL)
                for host in (self.edge, self.gateway)]
        self.assertEqual([one.wait(timeout=30) for one in both], [0, 0])
        self.check_traffic()

    def test_a_dialer_without_a_listener_says_which_tunnel_is_missing(self):
        done = self.edge.tunorch("apply", self.lab.file, "--timeout", "2s", check=False)
        self.fails_with(done, r"backbone-0: not healthy towards gateway: .*onnect")

    def apply_command(self, host):
        from lab import TUNORCH
        return [TUNORCH, "apply", self.lab.file, "--timeout", "20s", *host.options()]


class SecondApply(LabTest):
    """With every kind of object there is: forwarding, nftables and tuning too."""

    spec = cluster(tunnels=3)
    spec["nodes"]["gateway"].update(subnets=["10.20.0.0/16", "fd20::/64"], masquerade="w0")
    spec["nodes"]["edge"]["subnets"] = ["192.168.50.0/24"]
    spec["tuning"] = {"sysctl": {"net.ipv4.tcp_fin_timeout": "30"}}

    def traced_apply(self, host):
        """apply's output, and what of the daemon's system calls meanwhile changes the kernel."""
        trace_file = os.path.join(self.lab.dir, f"trace-{host.node}")
        trace = host.start(
            "strace", "-f", "-s", "0", "-v", "-e", "trace=%network,write,ioctl,openat,execve,clone",
            "-o", trace_file, "-p", str(host.daemon_pid()), stderr=subprocess.PIPE)
        self.assertIn("attached", trace.stderr.readline())
        done = host.apply()
        trace.terminate()
        trace.wait(timeout=10)
        with open(trace_file) as file:
            text = file.read()
        os.remove(trace_file)
        self.assertIn("RTM_GETROUTE", text, "the trace saw the daemon look at the kernel")
        writes = netlink_writes(text)
        for line in text.splitlines():
            if (re.search(r"/proc/sys/.*(O_WRONLY|O_RDWR)", line) or "execve(" in line or
                    re.search(r"ioctl\(.*TUN(SET|ATTACH|DETACH)", line)):
                writes.append(line)
        return done.stdout, writes

    def test_makes_no_kernel_write(self):
        plan = ("plan", self.lab.file)
        for host in (self.gateway, self.edge):
            self.assertEqual(host.tunorch(*plan, check=False).returncode, 2)
        self.lab.up()
        for host in (self.gateway, self.edge):
            self.assertEqual(host.tunorch(*plan, check=False).returncode, 0)
            output, writes = self.traced_apply(host)
            self.assertIn("nothing to do", output)
            self.assertEqual(writes, [], host.node)

    def test_the_trace_would_show_every_kind_of_write(self):
        self.lab.up()
        changed = copy.deepcopy(self.spec)
        changed["bundles"]["backbone"]["tunnels"] = 4
        changed["nodes"]["edge"]["subnets"] = ["192.168.51.0/24"]
        changed["tuning"]["sysctl"]["net.ipv4.tcp_fin_timeout"] = "31"
        self.lab.write(changed)
        output, writes = self.traced_apply(self.gateway)
        writes = "\n".join(writes)
        for kind in ("RTM_NEWROUTE", "RTM_NEWADDR", "RTM_DELROUTE", "NFT_MSG_NEWRULE", "TUNSETIFF",
                     "/proc/sys/net/ipv4/tcp_fin_timeout", "execve("):
            self.assertIn(kind, writes, output)

    def test_a_plan_needs_no_root(self):
        done = self.edge.run("unshare", "--user", TUNORCH, "plan", self.lab.file, *self.edge.options(),
                             check=False)
        self.assertEqual((done.returncode, done.stderr), (2, ""), done.stdout)
        self.assertIn("you are not root", done.stdout)

    def test_words_that_are_no_verbs_are_named(self):
        for words, at in ((["stauts"], "tunorch"), (["pki", "int"], "tunorch pki")):
            done = self.edge.run(TUNORCH, *words, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"unknown verb '{words[-1]}'; see `{at} --help`", done.stderr)

    def test_an_error_is_exit_code_1(self):
        self.assertEqual(self.edge.tunorch("plan", "/nonexistent.yaml", check=False).returncode, 1)


class ChangedFile(LabTest):
    def change(self, may_lose=5, **bundle):
        self.lab.write(cluster(**bundle))
        pids = {host: host.worker_pids() for host in (self.edge, self.gateway)}
        flows = Flows(self.edge, self.gateway, "10.77.0.1", 200, 5000, 3)
        time.sleep(0.7)
        outputs = [host.apply().stdout for host in (self.gateway, self.edge)]
        got, echoed = flows.finish()
        for host, before in pids.items():
            now = host.worker_pids()
            for tunnel in set(before) & set(now):
                self.assertEqual(before[tunnel], now[tunnel], f"{tunnel} was not to be restarted")
        lost = got["lost"] + echoed["lost_on_return"]
        print(f"{bundle}: lost {got['lost']} forward, {echoed['lost_on_return']} on return")
        self.assertLessEqual(lost, may_lose)
        return outputs

    def test_changes_only_what_changed_and_loses_nothing(self):
        self.lab.up()
        tunnels = [{"weight": 1}] * 4
        for output in self.change(tunnels=[{"weight": 5}] + tunnels[1:]):
            changed = [line.split(":")[0] for line in output.splitlines() if line.startswith("  ~")]
            self.assertEqual(changed, ["  ~ nexthop group"])
        for output in self.change(tunnels=5):
            self.assertIn("+ tun backbone-4", output)
            self.assertNotIn("~ tun", output)
            self.assertEqual(output.count("+ worker"), 1)
        for output in self.change(tunnels=5, link={"mtu": 1400}):
            self.assertEqual(output.count("~ "), 5)
        # The kernel swaps a device's queueing discipline for its new length, and drops meanwhile.
        for output in self.change(100, tunnels=5, link={"mtu": 1400, "txqueuelen": 700}):
            self.assertEqual(output.count("~ "), 5)
        link = json.loads(self.edge.run("ip", "-j", "link", "show", "backbone-0").stdout)[0]
        self.assertEqual((link["mtu"], link["txqlen"]), (1400, 700))
        wait_for("five live tunnels", lambda: self.edge.live() == self.gateway.live() == 5)
        # The end that is told first takes its side away while the other still sends into it.
        for output in self.change(50, tunnels=4, link={"mtu": 1400, "txqueuelen": 700}):
            self.assertIn("- tun backbone-4", output)
        self.assertEqual(self.edge.live(), 4)

    def test_a_new_dialer_does_not_touch_the_others_sessions(self):
        self.lab.up()
        before = self.gateway.worker_pids()
        more = copy.deepcopy(CLUSTER)
        more["nodes"]["late"] = {"inner": ["10.77.0.9/32"]}
        more["bundles"]["backbone"]["dial"].append("late")
        self.lab.write(more)
        self.assertIn("takes the new spec", self.gateway.apply().stdout)
        self.assertEqual(self.gateway.worker_pids(), before)
        self.assertEqual(self.gateway.live(), 4)
        self.assert_reaches(self.edge, "10.77.0.1")
