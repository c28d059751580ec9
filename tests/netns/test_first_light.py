"""apply, status, plan: the main line, a second apply, and a changed file."""

import copy
import json
import os
import subprocess
import time

from lab import CLUSTER, Flows, LabTest, cluster, netlink_writes, wait_for

TUNNEL_KEYS = {"name", "engine", "dev", "pid", "worker", "health", "weight", "rtt_us", "tx_bytes",
               "rx_bytes", "restarts", "reason"}


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
        self.assertEqual((status["cluster"], status["node"]), ("demo", "edge"))
        bundle = status["bundles"][0]
        self.assertEqual((bundle["name"], bundle["role"], bundle["state"], bundle["live"]),
                         ("backbone", "dialer", "up", 4))
        for tunnel in bundle["tunnels"]:
            self.assertLessEqual(TUNNEL_KEYS, set(tunnel))
            self.assertEqual((tunnel["worker"], tunnel["health"], tunnel["engine"]),
                             ("running", "up", "native"))
            self.assertGreater(tunnel["rtt_us"], 0)
        names = [f"backbone-{k}" for k in range(4)]
        self.assertEqual(bundle["peers"], [{"name": "gateway", "live_tunnels": names}])
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
    def test_makes_no_kernel_write(self):
        plan = ("plan", self.lab.file)
        self.assertEqual(self.edge.tunorch(*plan, check=False).returncode, 2)
        self.lab.up()
        self.assertEqual(self.edge.tunorch(*plan, check=False).returncode, 0)
        trace_file = os.path.join(self.lab.dir, "trace")
        trace = self.edge.start(
            "strace", "-f", "-s", "0", "-v", "-e", "trace=%network,write,ioctl,openat,execve,clone",
            "-o", trace_file, "-p", str(self.edge.daemon_pid()), stderr=subprocess.PIPE)
        self.assertIn("attached", trace.stderr.readline())
        done = self.edge.apply()
        trace.terminate()
        trace.wait(timeout=10)
        self.assertIn("nothing to do", done.stdout)
        with open(trace_file) as file:
            text = file.read()
        self.assertIn("RTM_GETROUTE", text, "the trace saw the daemon look at the kernel")
        self.assertEqual(netlink_writes(text), [])
        for line in text.splitlines():
            self.assertFalse("/proc/sys/" in line and ("O_WRONLY" in line or "O_RDWR" in line), line)
            self.assertNotIn("TUNSETIFF", line)
            self.assertNotIn("execve(", line)

    def test_the_trace_would_show_a_write(self):
        self.assertEqual(netlink_writes("7 sendmsg(5, {type=RTM_NEWROUTE, flags"),
                         ["RTM_NEWROUTE"])

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
            changed = [line.split()[:2] for line in output.splitlines() if line.startswith("  ~")]
            self.assertEqual(changed, [["~", "route:"]] * 2)
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
