"""Where packets wait: that what is small does not wait behind bulk, and that what came together goes
together."""

import json
import re
import statistics
import subprocess
import sys
import time

import failover_rows as rows
from lab import GATEWAY, LabTest, cluster, wait_for


class SlowPath(LabTest):
    """50 Mbit/s, 40 ms and a queue of another 50, filled by four bulk flows."""

    path = "delay=20 rate=50 queue=50"
    seconds = 15

    def window(self):
        """Segments the outer connection may have under way."""
        shown = self.edge.run("ss", "-Htni", "state", "established", "dport", "=", ":4430").stdout
        return [int(size) for size in re.findall(r"cwnd:(\d+)", shown)]

    def test_a_ping_does_not_wait_behind_bulk(self):
        self.lab.write(cluster(tunnels=1))
        self.lab.up()
        bulk = self.start_iperf(self.seconds + 2, "-C", "cubic", "-P", "4")
        time.sleep(1.5)  # until their queues have settled
        ping = self.edge.start("ping", "-c", str(self.seconds * 20), "-i", "0.05", "-W", "5", GATEWAY,
                               stdout=-1)
        windows = []
        while ping.poll() is None:
            windows += self.window()
            time.sleep(0.03)
        trips = [float(value) for value in re.findall(r"time=([\d.]+)", ping.communicate()[0])]
        rate = self.end_iperf(bulk)["end"]["sum_received"]["bits_per_second"] / 1e6
        print(f"{rate:.0f} Mbit/s; {len(trips)} pings, median {statistics.median(trips):.0f} ms, "
              f"longest {max(trips):.0f} ms; window {min(windows)} to {max(windows)} segments")
        self.assertGreater(rate, 25)
        self.assertGreater(len(trips), self.seconds * 15)
        # 40 ms of it is the path. A full TUN queue alone would be seconds, a full path queue 50 ms.
        self.assertLess(statistics.median(trips), 160)
        # BBR goes down to 4 segments when it probes the round trip, each 10 s.
        self.assertGreater(min(windows), 8)


# Two ends of 20 flows whose packets say when they were sent; the second prints the oldest in seconds.
SEND = """
import socket, struct, sys, time
flows = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
end = time.monotonic() + 6
while time.monotonic() < end:
    for flow in flows:
        flow.setblocking(False)
        try:
            flow.sendto(struct.pack("=d", time.monotonic()) + bytes(500), (sys.argv[1], 5555))
        except OSError:
            pass  # no way just now
    time.sleep(0.02)
"""
RECEIVE = """
import socket, struct, sys, time
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind((sys.argv[1], 5555))
sink.settimeout(0.5)
end, oldest = time.monotonic() + 8, 0
while time.monotonic() < end:
    try:
        packet = sink.recv(2000)
    except TimeoutError:
        continue
    oldest = max(oldest, time.monotonic() - struct.unpack("=d", packet[:8])[0])
print(oldest)
"""


class DarkPath(LabTest):
    def test_what_it_held_up_is_not_delivered(self):
        self.lab.up()
        rows.all_live(self.lab)
        sink = self.gateway.start(sys.executable, "-c", RECEIVE, GATEWAY, stdout=subprocess.PIPE)
        self.edge.start(sys.executable, "-c", SEND, GATEWAY)
        time.sleep(2)
        firewall = rows.Firewall(self.edge)
        self.addCleanup(firewall.clear)
        firewall.drop("output oifname wan drop", "input iifname wan drop")
        time.sleep(2)
        firewall.clear()
        oldest = float(sink.communicate(timeout=30)[0])
        late = sum(tunnel["dropped"].get("late", 0) for tunnel in [
            *self.edge.bundle()["tunnels"], *self.gateway.bundle()["tunnels"]])
        print(f"the oldest of the packets had waited {oldest * 1000:.0f} ms, {late} were dropped")
        # Half a second, and what lies between two PINGs.
        self.assertLess(oldest, 1.2)
        self.assertGreater(late, 100)


class LightFlows(LabTest):
    """Both cores are busy, and a light direction is not slowed down for it."""

    def test_no_flow_stands_still(self):
        self.lab.up()
        rows.all_live(self.lab)
        gaps = {"there": [], "back": []}
        for _ in range(3):
            load = rows.Load(self.lab, 4, tcp=8)
            got, echoed = load.udp.finish()
            gaps["there"].append(got["longest_gap_ms"])
            gaps["back"].append(echoed["longest_gap_ms"])
        print(gaps)
        for way in gaps.values():
            self.assertLess(statistics.median(way), 200)


class UdpGro(LabTest):
    """Datagrams that arrive together reach the kernel as one packet, and the socket as they were."""

    SENDER = """
import socket, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for burst in range(200):
    for i in range(20):
        one.sendto((burst * 20 + i).to_bytes(4, "big") + bytes(996), ("10.77.0.1", 5003))
    time.sleep(0.005)
"""
    RECEIVER = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
one.bind(("10.77.0.1", 5003))
one.settimeout(2)
print("ready", flush=True)
numbers = []
try:
    while True:
        datagram = one.recv(65536)
        assert len(datagram) == 1000, len(datagram)
        assert datagram[4:] == bytes(996)
        numbers.append(int.from_bytes(datagram[:4], "big"))
except TimeoutError:
    assert numbers == sorted(numbers), "out of order"
    print(len(numbers))
"""

    def written(self):
        """Packets the gateway's worker gave its kernel."""
        link = json.loads(self.gateway.run("ip", "-j", "-s", "link", "show", "backbone-0").stdout)[0]
        return link["stats64"]["rx"]["packets"]

    def packets_for(self):
        """(datagrams that arrived, packets they were in)"""
        receiver = self.gateway.start(sys.executable, "-c", self.RECEIVER, stdout=-1)
        self.assertEqual(receiver.stdout.readline(), "ready\n")
        before = self.written()
        self.edge.run(sys.executable, "-c", self.SENDER)
        arrived = int(receiver.communicate(timeout=30)[0])
        return arrived, self.written() - before

    def test_they_are_fewer_and_in_order(self):
        self.lab.write(cluster(tunnels=1))
        self.lab.up()
        arrived, packets = self.packets_for()
        print(f"{arrived} datagrams in {packets} packets")
        self.assertGreater(arrived, 3900)
        self.assertLess(packets, 0.6 * arrived)
        # Where the kernel takes no such packets, each is written by itself.
        self.lab.write(cluster(tunnels=1, link={"offload": "tso"}))
        self.lab.up()
        wait_for("the session", lambda: self.edge.live() == 1 and self.gateway.live() == 1)
        arrived, packets = self.packets_for()
        print(f"without USO: {arrived} datagrams in {packets} packets")
        self.assertGreater(arrived, 3900)
        self.assertGreaterEqual(packets, arrived)
