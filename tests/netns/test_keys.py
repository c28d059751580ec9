"""New certificates while traffic flows."""

import os
import re
import subprocess
import time

import lab
from lab import GATEWAY, Flows, LabTest, cluster, wait_for


class Renewal(LabTest):
    spec = cluster(tunnels=[{}, {}, {"engine": "openvpn"}])

    def certificate(self, node):
        with open(os.path.join(self.lab.dir, "pki", f"{node}.crt")) as file:
            return file.read()

    def shown(self):
        """The certificate a new connection to the gateway gets to see."""
        done = self.edge.run("openssl", "s_client", "-connect", "10.66.0.1:4430", "-tls1_3",
                             check=False)
        return re.search("-----BEGIN.*END CERTIFICATE-----\n", done.stdout, re.S)[0]

    def test_no_packet_is_lost(self):
        self.lab.up()
        before = self.certificate("gateway")
        self.assertEqual(self.shown(), before)
        pids = self.gateway.worker_pids()
        flows = Flows(self.edge, self.gateway, GATEWAY, 20, 2000, 25)
        time.sleep(1)
        done = subprocess.run([lab.TUNORCH, "pki", "renew", self.lab.file], check=True,
                              capture_output=True, text=True)
        self.assertEqual(done.stdout.count("made "), 4)
        self.assertNotEqual(self.certificate("gateway"), before)
        for host in (self.gateway, self.edge):
            self.assertIn("takes the new spec", host.apply().stdout)
            self.assertIn("nothing to do", host.apply().stdout)
        self.assertEqual(self.gateway.worker_pids(), pids)
        wait_for("new connections see it", lambda: self.shown() == self.certificate("gateway"))
        for host in (self.gateway, self.edge):
            host.tunorch("restart", "--rolling", "--deadline", "500ms")
        got, echoed = flows.finish()
        print(f"lost {got['lost']} forward, {echoed['lost_on_return']} on return")
        self.assertLessEqual(got["lost"] + echoed["lost_on_return"], 20)
        self.assertNotEqual(self.gateway.worker_pids(), pids)
        self.assertEqual(self.edge.live(), 3)

    def test_of_one_node_alone(self):
        kept = self.certificate("edge")
        subprocess.run([lab.TUNORCH, "pki", "renew", self.lab.file, "gateway"], check=True)
        self.assertEqual(self.certificate("edge"), kept)
        done = subprocess.run([lab.TUNORCH, "pki", "renew", self.lab.file, "gatway"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot renew gatway: cluster 'demo' has no such node", done.stderr)
        self.lab.up()


class Revocation(LabTest):
    """Three nodes; one is refused from one moment to the next, on connections that stand too."""
    nodes = ("gateway", "edge", "branch")
    spec = cluster(tunnels=[{}, {"engine": "openvpn"}], dial=["edge", "branch"])
    spec["nodes"]["branch"] = {"inner": ["10.77.0.3/32"]}

    def test_of_one_of_two_dialers(self):
        self.lab.up()
        branch = self.lab.branch
        pids = self.gateway.worker_pids()
        done = subprocess.run([lab.TUNORCH, "pki", "revoke", self.lab.file, "branch"], check=True,
                              capture_output=True, text=True)
        self.assertIn("ca.crl", done.stdout)
        # The file still names it, so what is applied waits for it in vain.
        done = self.gateway.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        self.assertIn("branch", done.stderr)
        for tunnel in ("backbone-0", "backbone-1"):
            wait_for(f"{tunnel} has no session with it",
                     lambda: "branch" not in self.gateway.tunnel(tunnel)["sessions"])
        wait_for("the reason is told", lambda: any(
            "certificate of branch is revoked" in event.get("cause", "") for event in self.gateway.events()))
        wait_for("it is refused", lambda: any(
            event["event"] == "refused" and "certificate revoked" in event["cause"]
            for event in self.gateway.events()))
        self.assertEqual(self.gateway.worker_pids()["backbone-0"], pids["backbone-0"])
        wait_for("the one that may has both", lambda: self.edge.live() == 2, 30)
        self.assertEqual(branch.live(), 0)
        # With new keys it may come back.
        subprocess.run([lab.TUNORCH, "pki", "init", self.lab.file], check=True, capture_output=True)
        branch.apply()
        wait_for("it is back", lambda: branch.live() == 2, 30)
