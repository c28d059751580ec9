"""The version before and this one, host by host (docs/compatibility.md): the daemon is replaced under load, and
no worker is restarted and no packet lost. The version before is built from git, once."""

import os
import subprocess
import time

import failover_rows as rows
import lab
from lab import GATEWAY, TUNORCH, Flows, LabTest, carried_pps, cluster, unless_void, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))


def previous_version():
    """The folder of its programs."""
    with open(os.path.join(HERE, "previous_version")) as file:
        commit = file.read().strip()
    folder = os.path.realpath(os.path.join(lab.BIN, "../previous", commit))
    programs = os.path.join(folder, "build/bin")
    if os.path.exists(os.path.join(programs, "complete")):
        return programs
    os.makedirs(folder, exist_ok=True)
    tree = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True)
    if tree.returncode != 0:
        raise AssertionError(f"cannot read commit {commit}: fetch the whole history "
                             f"(git fetch --unshallow): {tree.stderr.decode()}")
    subprocess.run(["tar", "-x", "-C", folder], input=tree.stdout, check=True)
    # Without optimization: what is compared is what they say, not how fast.
    for command in (["cmake", "-S", ".", "-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug",
                     "-DCMAKE_CXX_FLAGS_DEBUG=-O0"],
                    ["cmake", "--build", "build", "--target", "tunorch", "tunorch-worker"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"cannot build commit {commit}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    with open(os.path.join(programs, "complete"), "w"):
        pass
    return programs


class PreviousVersion(LabTest):
    spec = cluster(restart={"backoff": "1s"}, health={"damping": "0s", "slow_start": "0s"})

    def setUp(self):
        self.old = os.path.join(previous_version(), "tunorch")
        super().setUp()

    def serve_with(self, host, program):
        """The daemon of this version takes the other's place, as a package's upgrade does it."""
        pid = host.daemon_pid(self.old, TUNORCH)
        os.kill(pid, 15)
        wait_for("the daemon ended", lambda: host.daemon_pid(self.old, TUNORCH) != pid)
        with open(os.path.join(host.runtime, "daemon.log"), "a") as log:
            host.start(program, "daemon", *host.options(), stdout=log, stderr=log)
        wait_for("the next one serves", lambda: host.tunorch("status", check=False).returncode == 0)

    def apply_with(self, program):
        for host in (self.gateway, self.edge):
            host.run(program, "apply", self.lab.file, "--timeout", "20s", *host.options())
        rows.all_live(self.lab)

    def replaced_under_load(self, changes):
        """What is lost while daemons are replaced one after the other."""
        rows.all_live(self.lab)
        time.sleep(1.2)
        flows = Flows(self.edge, self.gateway, GATEWAY, 50, self.pps, 6)
        time.sleep(0.5)
        for host, program in changes:
            self.serve_with(host, program)
        got, echoed = flows.finish()
        return {"lost": (got["lost"], echoed["lost_on_return"]), "packets": got["packets"], "void": flows.void}

    def check_replacements(self, changes):
        before = {host: host.worker_pids() for host in (self.gateway, self.edge)}
        result = unless_void(lambda: self.replaced_under_load(changes))
        self.assertGreater(result["packets"], 0)
        self.assertTrue(result["void"] or result["lost"] == (0, 0), result)
        for host, pids in before.items():
            self.assertEqual(host.worker_pids(), pids, f"workers of {host.node}")
            self.assertEqual([one["restarts"] for one in host.bundle()["tunnels"]], [0] * 4)

    def test_upgrade_and_downgrade_host_by_host(self):
        self.apply_with(self.old)
        self.pps = carried_pps(self.edge, self.gateway, GATEWAY, 50, 2000)
        for first, second in ((self.gateway, self.edge), (self.edge, self.gateway)):
            self.check_replacements([(first, TUNORCH), (second, TUNORCH)])
            self.check_replacements([(second, self.old), (first, self.old)])

    def test_new_workers_and_a_peer_of_the_version_before(self):
        self.apply_with(self.old)
        self.serve_with(self.edge, TUNORCH)
        for host, tunnel in ((self.edge, "backbone-1"), (self.gateway, "backbone-2")):
            host.kill_worker(tunnel)
            wait_for("it is started again", lambda: host.tunnel(tunnel)["restarts"] == 1)
            rows.all_live(self.lab)
        self.assert_reaches(self.edge, GATEWAY)
        self.assert_reaches(self.edge, "fd77::1")
