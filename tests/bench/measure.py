"""Measurements between the lab's edge and gateway, each bounded in time. Sizes are bytes, rates bits
or packets a second, times milliseconds."""

import json
import os
import re
import statistics
import subprocess
import time

from lab import Flows

TICKS = os.sysconf("SC_CLK_TCK")


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as file:
            total += int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))
    return total / 1024


class Iperf:
    """One run of iperf3 from the edge, under way from the start."""

    def __init__(self, lab, address, seconds, *options):
        self.server = lab.gateway.start("iperf3", "-s", "-1", stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        self.seconds = seconds
        self.client = lab.edge.start("iperf3", "-c", address, "-t", str(seconds), "-J", *options,
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def end(self):
        try:
            text = self.client.communicate(timeout=self.seconds + 20)[0]
            self.server.wait(timeout=5)
            return json.loads(text)["end"]
        except (subprocess.TimeoutExpired, KeyError, ValueError):
            return None
        finally:
            for process in (self.client, self.server):
                if process.poll() is None:
                    process.kill()
                process.wait()


def goodput(lab, address, seconds, *options):
    """(bits a second received, bytes received); zeroes where nothing came to an end."""
    end = Iperf(lab, address, seconds, *options).end()
    if not end:
        return 0.0, 0
    got = end["sum_received"]
    return got["bits_per_second"], got["bytes"]


def packet_rate(lab, address, seconds):
    """64-byte UDP payloads a second that arrived, of as many as one sender can send."""
    end = Iperf(lab, address, seconds, "-u", "-l", "64", "-b", "0").end()
    if not end:
        return 0.0
    total = end["sum"]
    return total["packets"] * (1 - total["lost_percent"] / 100) / total["seconds"]


def round_trips(lab, address, count, interval):
    """By fping: ping(8) spins between packets 10 ms apart, and two cores have none to spare."""
    done = lab.edge.run("fping", "-q", "-C", str(count), "-p", str(round(interval * 1000)),
                        "-t", "5000", address, check=False, timeout=count * interval + 20)
    answers = done.stderr.rpartition(" : ")[2].split()
    return [float(value) for value in answers if value != "-"] or [float("inf")]


def reordered(lab, address, seconds):
    """Numbered packets out of order, both ways, beside one bulk flow."""
    bulk = Iperf(lab, address, seconds)
    got, echoed = Flows(lab.edge, lab.gateway, address, 10, 10000, seconds - 0.5).finish()
    bulk.end()
    return got["reordered"] + echoed["reordered"]


def measure(lab, candidate, seconds):
    """Everything of one candidate, once."""
    address, pids = candidate.address, candidate.pids()
    result = {}
    idle = round_trips(lab, address, 300, 0.01)
    result["rtt idle p50"], result["rtt idle p99"] = statistics.median(idle), percentile(idle, 0.99)
    before = cpu_seconds(pids)
    result["one flow up"], moved = goodput(lab, address, seconds)
    if pids and moved:
        result["cpu s/GB"] = (cpu_seconds(pids) - before) / (moved / 1e9)
    result["one flow down"] = goodput(lab, address, seconds, "-R")[0]
    result["8 flows"] = goodput(lab, address, seconds, "-P", "8")[0]
    # A 99th percentile of few pings is their longest one.
    bulk = Iperf(lab, address, 7)
    time.sleep(0.7)
    loaded = round_trips(lab, address, 500, 0.01)
    bulk.end()
    result["rtt loaded p50"] = statistics.median(loaded)
    result["rtt loaded p99"] = percentile(loaded, 0.99)
    result["64-byte packets"] = packet_rate(lab, address, seconds)
    result["reordered"] = reordered(lab, address, seconds)
    if pids:
        result["rss MiB"] = rss_mib(pids)
    return result


def busy_share(seconds=2.0):
    """Of all cores' time, the part that was not idle."""
    def sample():
        with open("/proc/stat") as file:
            fields = [int(value) for value in file.readline().split()[1:]]
        return sum(fields), fields[3] + fields[4]
    total, idle = sample()
    time.sleep(seconds)
    total_after, idle_after = sample()
    return 1 - (idle_after - idle) / max(1, total_after - total)
