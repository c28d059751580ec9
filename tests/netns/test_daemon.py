"""The daemon ends or is killed: traffic goes on, and its successor takes over what lives."""

import os
import resource
import signal
import socket
import subprocess
import time

from lab import GATEWAY, Flows, LabTest, TUNORCH, wait_for


class DaemonEnds(LabTest):
    def end_daemon(self, host, sig):
        pid = host.daemon_pid()
        os.kill(pid, sig)
        wait_for("the daemon is gone", lambda: host.daemon_pid() is None)

    def start_daemon(self, host):
        log = open(os.path.join(host.runtime, "daemon.log"), "a")
        self.addCleanup(log.close)
        host.start(TUNORCH, "daemon", *host.options(), stderr=log)
        wait_for("the new daemon answers",
                 lambda: host.tunorch("status", check=False).returncode == 0)

    def check_successor_adopts(self, sig):
        self.lab.up()
        pids = self.edge.worker_pids()
        flows = Flows(self.edge, self.gateway, "10.77.0.1", 100, 5000, 5)
        time.sleep(0.7)
        self.end_daemon(self.edge, sig)
        time.sleep(0.5)
        self.start_daemon(self.edge)
        got, echoed = flows.finish()
        print(f"\nsignal {sig} and a successor: lost {got['lost']} forward, "
              f"{echoed['lost_on_return']} on return of {echoed['sent']}")
        self.assertLessEqual(got["lost"] + echoed["lost_on_return"], 5)
        self.assertEqual(self.edge.worker_pids(), pids)
        wait_for("four live tunnels", lambda: self.edge.live() == 4)
        self.assertIn("nothing to do", self.edge.apply().stdout)
        self.edge.kill_worker("backbone-2")
        wait_for("an adopted worker's death is seen",
                 lambda: self.edge.tunnel("backbone-2")["restarts"] == 1)
        wait_for("four live tunnels", lambda: self.edge.live() == 4)

    def test_sigterm(self):
        self.check_successor_adopts(signal.SIGTERM)

    def test_sigkill(self):
        self.check_successor_adopts(signal.SIGKILL)

    def test_one_that_cannot_read_its_keys_says_so_and_tries_again(self):
        self.lab.up()
        pids = self.edge.worker_pids()
        key = os.path.join(self.lab.dir, "pki/edge.key")
        os.rename(key, key + ".away")
        self.end_daemon(self.edge, signal.SIGKILL)
        self.edge.start_daemon()
        done = wait_for("the new daemon answers", lambda: [
            done for done in [self.edge.tunorch("status", check=False)] if done.stdout])[0]
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot load what was applied last: cannot read " + key, done.stdout)
        self.assertIn("edge.key", self.edge.status(check=False)["problem"])
        self.assertIn("failed", [event["event"] for event in self.edge.events()])
        self.assert_reaches(self.edge, "10.77.0.1")
        os.rename(key + ".away", key)
        wait_for("it goes on", lambda: self.edge.tunorch("status", check=False).returncode == 0, 15)
        self.assertEqual(self.edge.worker_pids(), pids)
        self.edge.kill_worker("backbone-1")
        wait_for("a worker's death is seen", lambda: self.edge.tunnel("backbone-1")["restarts"] == 1)
        wait_for("four live tunnels", lambda: self.edge.live() == 4)

    def test_booted_without_keys_traffic_does_not_go_around_the_bundle(self):
        self.lab.up()
        key = os.path.join(self.lab.dir, "pki/edge.key")
        os.rename(key, key + ".away")
        pids = self.edge.worker_pids().values()
        self.end_daemon(self.edge, signal.SIGKILL)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for k in range(4):
            self.edge.ip("link", "del", f"backbone-{k}")
        self.edge.run("ip", "route", "flush", "proto", "116")
        self.edge.ip("route", "add", "default", "via", "10.66.0.1")  # where it would go in the clear
        self.edge.start_daemon()
        wait_for("the new daemon answers", lambda: self.edge.tunorch("status", check=False).stdout)
        done = self.edge.run("ip", "route", "get", GATEWAY, check=False)
        self.assertIn("No route to host", done.stderr)
        os.rename(key + ".away", key)
        wait_for("four live tunnels", lambda: self.edge.tunorch("status", check=False).returncode == 0
                 and self.edge.live() == 4, 30)
        self.assert_reaches(self.edge, GATEWAY)

    def test_one_that_cannot_read_its_keys_can_be_taken_down(self):
        self.lab.up()
        key = os.path.join(self.lab.dir, "pki/edge.key")
        os.rename(key, key + ".away")
        self.end_daemon(self.edge, signal.SIGKILL)
        self.edge.start_daemon()
        wait_for("the new daemon answers", lambda: self.edge.tunorch("status", check=False).stdout)
        self.assertIn("as it was before", self.edge.tunorch("down").stdout)
        self.assertNotIn("backbone", self.edge.run("ip", "link").stdout)
        self.assertEqual(list(self.edge.left_workers()), [])

    def test_a_listeners_daemon_too(self):
        self.lab.up()
        pids = self.gateway.worker_pids()
        self.end_daemon(self.gateway, signal.SIGKILL)
        self.start_daemon(self.gateway)
        self.assertEqual(self.gateway.worker_pids(), pids)
        wait_for("four live tunnels", lambda: self.gateway.live() == 4)
        self.assert_reaches(self.edge, "10.77.0.1")

    def test_a_worker_that_dies_without_a_daemon(self):
        self.lab.up()
        victim = self.edge.worker_pids()["backbone-3"]
        self.end_daemon(self.edge, signal.SIGKILL)
        os.kill(victim, signal.SIGKILL)
        time.sleep(2)  # the kernel's own link watch: up to a second
        got, echoed = Flows(self.edge, self.gateway, "10.77.0.1", 200, 4000, 1).finish()
        self.assertEqual((got["flows"], got["lost"], echoed["lost_on_return"]), (200, 0, 0))
        self.assertNotIn("backbone-3", got["flows_by_device"])
        self.start_daemon(self.edge)
        wait_for("four live tunnels", lambda: self.edge.live() == 4)
        self.assertNotEqual(self.edge.worker_pids()["backbone-3"], victim)

    def test_a_second_daemon_is_refused(self):
        self.lab.up()
        done = self.edge.run(TUNORCH, "daemon", "--node", "edge", "--runtime-dir",
                             os.path.join(self.lab.dir, "second"), check=False)
        self.assertIn("another tunorch daemon runs in this network namespace", done.stderr)
        self.assertEqual(self.edge.live(), 4)

    def test_a_hung_worker_leaves_the_routes_and_is_replaced(self):
        self.lab.up()
        victim = self.edge.worker_pids()["backbone-1"]
        os.kill(victim, signal.SIGSTOP)
        self.addCleanup(lambda: os.path.exists(f"/proc/{victim}") and os.kill(victim, 9))
        wait_for("it leaves the route",
                 lambda: "backbone-1" not in self.edge.route_devices("10.77.0.1"))
        wait_for("it is replaced",
                 lambda: self.edge.worker_pids()["backbone-1"] not in (victim, 0), 20)
        wait_for("four live tunnels", lambda: self.edge.live() == 4)


class OutOfDescriptors(LabTest):
    def cpu_seconds(self, pid):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_clients_that_cannot_be_served_do_not_keep_it_busy(self):
        self.lab.up()
        pid = self.edge.daemon_pid()
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        self.addCleanup(resource.prlimit, pid, resource.RLIMIT_NOFILE, before)
        used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        free = next(number for number in range(1000) if number not in used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
        client = self.edge.start(TUNORCH, "status", *self.edge.options(), stdout=subprocess.PIPE)
        began = self.cpu_seconds(pid)
        time.sleep(2)
        self.assertIsNone(client.poll(), "it was to wait: there is no descriptor for it")
        self.assertLess(self.cpu_seconds(pid) - began, 0.2)
        self.assert_reaches(self.edge, "10.77.0.1")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        self.assertIn("4 of 4 tunnels live", client.communicate(timeout=10)[0])


class UnderSystemd(LabTest):
    """What sd_notify(3) hears; under a real systemd the fleet's tests run it."""

    def test_it_says_that_it_is_up_and_lives(self):
        path = os.path.join(self.lab.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(path)
            listening.settimeout(10)
            daemon = self.edge.start("env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=600000", TUNORCH,
                                     "daemon", *self.edge.options())
            hear = lambda: listening.recv(4096).decode()
            self.assertIn("READY=1\nSTATUS=serves node edge", hear())
            self.assertEqual(self.edge.tunorch("status", check=False).returncode, 0)
            began = time.monotonic()
            for _ in range(4):
                self.assertEqual(hear(), "WATCHDOG=1")
            self.assertLess(time.monotonic() - began, 2)
            daemon.terminate()
            while (word := hear()) == "WATCHDOG=1":
                pass
            self.assertEqual(word, "STOPPING=1")
            self.assertEqual(daemon.wait(timeout=10), 0)
