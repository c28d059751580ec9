"""SIGKILL of the daemon before each single write of an apply. Its successor finds either the old
state or makes the new one whole, and `down` leaves the machine as it was."""

import os
import time

from lab import TUNORCH, cluster, wait_for
from test_residue import NothingIsLeft

WRITES = ("sendmsg", "ioctl", "write")  # rtnetlink and nftables; TUNs; /proc/sys and our files


class KilledAtEveryWrite(NothingIsLeft):
    def setUp(self):
        super().setUp()
        self.spec = cluster(tunnels=2)
        self.spec["nodes"]["gateway"].update(subnets=["0.0.0.0/0"], masquerade="w0")
        self.spec["tuning"] = {"sysctl": {"net.ipv4.tcp_fin_timeout": "30"}}
        self.lab.write(self.spec)
        self.log = os.path.join(self.lab.dir, "killed.log")
        open(self.log, "w").close()

    def killed_daemon(self, call, number):
        """A daemon that dies at its system call `call` number `number`."""
        with open(self.log, "a") as log:
            process = self.gateway.start(
                "strace", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                f"inject={call}:signal=SIGKILL:when={number}", TUNORCH, "daemon",
                *self.gateway.options(), stdout=log, stderr=log)
        socket = os.path.join(self.gateway.runtime, "control.sock")
        wait_for("the daemon serves or is dead", lambda: process.poll() is not None
                 or (os.path.exists(socket) and self.answers()))
        return process

    def answers(self):
        return self.gateway.tunorch("status", check=False).returncode == 0

    def apply(self):
        return self.gateway.tunorch("apply", self.lab.file, "--timeout", "1ms", check=False)

    def settled(self):
        """Nothing is applied, or nothing is left to do."""
        if self.gateway.status()["cluster"] == "":
            return "old"
        if self.gateway.tunorch("plan", self.lab.file, check=False).returncode == 0:
            return "new"
        return None

    def test_old_or_new_after_the_next_start(self):
        before = self.dump(self.gateway)
        outcomes = {"old": 0, "new": 0, "before it served": 0}
        began = time.monotonic()
        for call in WRITES:
            count = self.kill_at_each(call, before, outcomes)
            print(f"\nkilled at each of {count} {call} calls", end="")
        print(f": {outcomes}, {time.monotonic() - began:.0f} s")
        self.assertGreater(outcomes["new"], 20)

    def kill_at_each(self, call, before, outcomes):
        number = 0
        while True:
            number += 1
            process = self.killed_daemon(call, number)
            if process.poll() is None:
                self.apply()
            if process.poll() is None and self.answers():
                # It outlived the whole apply; it may die of its `down`, and the next one ends it.
                self.gateway.tunorch("down", check=False)
                self.gateway.tunorch("down")
                return number - 1
            served = os.path.exists(os.path.join(self.gateway.runtime, "journal.json"))
            process.wait(timeout=10)
            with open(self.log, "a") as log:
                successor = self.gateway.start(TUNORCH, "daemon", *self.gateway.options(),
                                               stdout=log, stderr=log)
            wait_for("its successor serves", self.answers)
            state = wait_for(f"old or new after a kill at {call} {number}", self.settled)
            outcomes[state if served else "before it served"] += 1
            self.gateway.tunorch("down")
            successor.wait(timeout=10)
            self.assert_same(before, self.gateway)

    # Not again what the base class tests.
    test_after_down = test_after_down_with_a_killed_daemon = None
    test_forwarding_that_was_on_for_one_device_stays_on_for_it = None
    test_down_twice_and_down_of_nothing = None
