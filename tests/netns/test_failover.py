"""A worker is killed under load: the flows go on over the others, both ways, and it comes back."""

import json
import statistics
import subprocess
import time

from lab import FLOWS, Flows, LabTest, cluster, wait_for

ROUNDS = 8
PPS = 20000  # each way
FLOWS_COUNT = 40  # so each flow has a packet every 2 ms, and its gap is told that exactly
TARGET_MS = 50  # for the median, on an idle machine
GATE_MS = 10 * TARGET_MS  # a busy one proves nothing about us below this


class KilledWorker(LabTest):
    # The pause is long enough to look at the routes before the worker is back.
    spec = cluster(restart={"backoff": "1s", "quarantine_after": 1000})

    def rounds(self, victim_host):
        forward, back, lost = [], [], []
        for number in range(ROUNDS):
            victim = f"backbone-{number % 4}"
            for host in (self.edge, self.gateway):
                wait_for("four live tunnels", lambda: host.live() == 4)
            flows = Flows(self.edge, self.gateway, "10.77.0.1", FLOWS_COUNT, PPS, 2.5)
            time.sleep(1)
            victim_host.kill_worker(victim)
            time.sleep(0.1)
            for host, inner in ((self.edge, "10.77.0.1"), (self.gateway, "10.77.0.2")):
                self.assertNotIn(victim, host.route_devices(inner), "100 ms after the kill")
            got, echoed = flows.finish()
            self.assertEqual(got["flows"], FLOWS_COUNT)
            forward.append(got["longest_gap_ms"])
            back.append(echoed["longest_gap_ms"])
            lost.append((got["lost"], echoed["lost_on_return"]))
        print(f"\nkill -9 of a worker of {victim_host.node}, {PPS} packets/s each way, {ROUNDS} rounds:")
        print("  longest gap of any flow forward, ms:", ", ".join(f"{gap:.1f}" for gap in forward),
              f"(median {statistics.median(forward):.1f})")
        print("  longest gap of any flow return, ms: ", ", ".join(f"{gap:.1f}" for gap in back),
              f"(median {statistics.median(back):.1f})")
        print("  packets lost (forward, return):", lost)
        for way, gaps in (("forward", forward), ("return", back)):
            median = statistics.median(gaps)
            print(f"  {way}: median below {TARGET_MS} ms:", "yes" if median < TARGET_MS else "NO")
            self.assertLess(median, GATE_MS)

    def test_flows_go_on_both_ways(self):
        self.lab.up()
        self.gateway.start(FLOWS, "tcp-serve", "10.77.0.1", "5100", "200")
        time.sleep(0.3)
        tcp = self.edge.start(FLOWS, "tcp", "10.77.0.1", "5100", "100", "140",
                              stdout=subprocess.PIPE)
        self.rounds(self.edge)
        self.rounds(self.gateway)
        self.assertIsNone(tcp.poll(), "the TCP flows were to run through all rounds")
        for host in (self.edge, self.gateway):
            wait_for("four live tunnels", lambda: host.live() == 4)
        got, _ = Flows(self.edge, self.gateway, "10.77.0.1", 400, 5000, 1).finish()
        self.assertEqual(len(got["flows_by_device"]), 4, "the returned worker carries flows again")
        result = json.loads(tcp.communicate(timeout=120)[0])
        print("  TCP connections through all rounds:", result)
        self.assertEqual(result["broken"], 0)
        self.assertEqual(result["silent_at_end"], 0)
