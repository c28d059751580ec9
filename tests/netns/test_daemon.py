"""The daemon ends or is killed: traffic goes on, and its successor takes over what lives."""

import os
import signal
import time

from lab import Flows, LabTest, TUNORCH, wait_for


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
