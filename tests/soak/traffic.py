"""The load of a soak run: soak_load on both hosts, and what it tells."""

import json
import subprocess
import threading
import time

from lab import EDGE, GATEWAY
from faults import LOAD

LONG_FLOWS = 24          # dialed by each host
SHORT_FLOWS_A_SECOND = 6
KBIT = 500               # of a long flow, each way
UDP_PPS = 1000
STALL_SECONDS = 30       # a flow silent for longer is lost
PORT = 7000


class Load:
    def __init__(self, lab, seconds, seed):
        self.lock = threading.Lock()
        self.now = {}        # node: its newest line
        self.silences = []   # (when, seconds)
        self.lost = {}       # name of the flow: words
        self.told = set()    # names
        self.processes = {}
        for node, own, peer in (("gateway", GATEWAY, EDGE), ("edge", EDGE, GATEWAY)):
            words = [node, own, peer, PORT, LONG_FLOWS, SHORT_FLOWS_A_SECOND, KBIT, UDP_PPS,
                     STALL_SECONDS, seconds, seed]
            self.processes[node] = lab.hosts[node].start(
                LOAD, "run", *map(str, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                start_new_session=True)
            threading.Thread(target=self.read, args=(node,), daemon=True).start()

    def read(self, node):
        other = {"gateway": "edge", "edge": "gateway"}[node]
        for text in self.processes[node].stdout:
            line, now = json.loads(text), time.monotonic()
            with self.lock:
                self.now[node] = line
                self.silences.append((now, line["silence_s"]))
                for flow in line["lost"]:
                    name = flow["flow"].replace("peer", other)  # both ends tell of it
                    self.lost.setdefault(name, f"{name}: {flow['why']} at byte "
                                               f"{flow['at_byte']}, {flow['age_s']:.0f} s old")

    def silence(self):
        """Of the flow that has been silent longest, in seconds."""
        with self.lock:
            return max([line["silence_s"] for line in self.now.values()] + [0])

    def between(self, begin, end):
        """Longest silence in seconds."""
        with self.lock:
            return max([silence for when, silence in self.silences if begin <= when <= end] + [0])

    def newly_lost(self):
        """Words on each flow that was lost since the last time this was asked."""
        with self.lock:
            news = [words for name, words in self.lost.items() if name not in self.told]
            self.told.update(self.lost)
            return news

    def total(self, key):
        with self.lock:
            return sum(line[key] for line in self.now.values())

    def stuck(self):
        """Words on flows that are silent, or whose bytes TCP sends again and again."""
        with self.lock:
            return [f"{node}: {flow}" for node, line in self.now.items() for flow in line["stuck"]]

    def dead(self):
        return [node for node, process in self.processes.items() if process.poll() is not None]

    def end(self):
        """In good order: every flow to its last byte. Returns what is wrong."""
        for process in self.processes.values():
            process.stdin.close()
        for process in self.processes.values():
            process.wait(timeout=2 * STALL_SECONDS)
        time.sleep(0.3)  # the last lines
        problems = []
        if self.total("bytes_in") != self.total("bytes_out") and not self.lost:
            problems.append(f"{self.total('bytes_out')} bytes were sent and "
                            f"{self.total('bytes_in')} arrived")
        if self.total("udp_wrong"):
            problems.append(f"{self.total('udp_wrong')} UDP packets with wrong bytes")
        return problems
