"""The faults of docs/failover.md, each as a function that makes it once under load and returns what
it cost. The tests run a few rounds of each, the bench twenty."""

import json
import os
import signal
import statistics
import subprocess
import time

from lab import EDGE, FLOWS, GATEWAY, Flows, carried_pps, wait_for

PPS = 20000  # each way
FLOWS_COUNT = 200
TCP_FLOWS = 200


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def rate_for(lab):
    """The rate of a test's load; the bench has its own."""
    return carried_pps(lab.edge, lab.gateway, GATEWAY, FLOWS_COUNT, PPS)


class Load:
    """Numbered UDP both ways and TCP connections while a fault happens."""

    def __init__(self, lab, seconds, pps=None, tcp=TCP_FLOWS):
        pps = pps or rate_for(lab)
        self.tcp = None
        if tcp:
            lab.gateway.start(FLOWS, "tcp-serve", GATEWAY, "5100", str(seconds + 1))
            time.sleep(0.3)
            self.tcp = lab.edge.start(FLOWS, "tcp", GATEWAY, "5100", str(tcp), str(seconds - 0.5),
                                      stdout=subprocess.PIPE)
        self.udp = Flows(lab.edge, lab.gateway, GATEWAY, FLOWS_COUNT, pps, seconds - 1)
        time.sleep(1)

    def finish(self, at_ns, victim):
        got, echoed = self.udp.finish()
        forward = {(flow, number): sent for flow, number, sent in got["missing"]}
        back = {(flow, number): sent for flow, number, sent in echoed["missing"]
                if (flow, number) not in forward}
        result = {
            "forward_lost": len(forward),
            "return_lost": len(back),
            "forward_last_lost_ms": last_ms(forward, at_ns),
            "return_last_lost_ms": last_ms(back, at_ns),
            "others_moved": sum(count for device, count in got["moved_from"].items()
                                if device != victim),
            "reordered": got["reordered"],
            "longest_gap_ms": max(got["longest_gap_ms"], echoed["longest_gap_ms"]),
            "void": self.udp.void,
        }
        if self.tcp:
            report = json.loads(self.tcp.communicate(timeout=60)[0])
            result["tcp_broken"] = report["broken"] + report["silent_at_end"]
        return result


def last_ms(missing, at_ns):
    """From the fault to when the last packet that got lost was sent; 0: none was lost."""
    return max([(sent - at_ns) / 1e6 for sent in missing.values()] + [0])


def all_live(lab, tunnels=4):
    for host in (lab.edge, lab.gateway):
        wait_for(f"{tunnels} carrying tunnels on {host.node}", lambda: all(
            len(peer["carrying"]) == tunnels for peer in host.bundle()["peers"]), 40)


def fault(lab, seconds, victim, cause, **load):
    """All is well, load runs, the fault happens, the load ends."""
    all_live(lab)
    time.sleep(1.2)  # buckets of a group follow their weights after the idle timer
    running = Load(lab, seconds, **load)
    at_ns = now_ns()
    cause()
    return running, running.finish(at_ns, victim)


def kill_worker(lab, host, victim, seconds=4, **load):
    all_live(lab)  # else it may be one that is about to be started, and have no pid
    pid = host.tunnel(victim)["pid"]
    return fault(lab, seconds, victim, lambda: os.kill(pid, signal.SIGKILL), **load)[1]


def stop_worker(lab, host, victim, seconds=6):
    pid = host.tunnel(victim)["pid"]
    return fault(lab, seconds, victim, lambda: os.kill(pid, signal.SIGSTOP))[1]


class Firewall:
    """nft rules on a host's underlay, which lose packets without a word."""

    def __init__(self, host):
        self.host = host

    def drop(self, *rules):
        self.host.run("nft", "add", "table", "inet", "lab")
        for hook in ("input", "output"):
            self.host.run("nft", "add", "chain", "inet", "lab", hook,
                          f"{{ type filter hook {hook} priority 0 ; }}")
        for rule in rules:
            self.host.run("nft", "add", "rule", "inet", "lab", *rule.split())

    def clear(self):
        self.host.run("nft", "delete", "table", "inet", "lab", check=False)


def out_everywhere(lab, victim):
    for host, inner in ((lab.edge, GATEWAY), (lab.gateway, EDGE)):
        if victim in host.route_devices(inner):
            return False
    return True


def blackhole(lab, victim, rules, seconds=6):
    """What the underlay of a tunnel loses at the edge's end; until both ends left it."""
    firewall = Firewall(lab.edge)
    try:
        return fault(lab, seconds, victim, lambda: firewall.drop(*rules))[1]
    finally:
        firewall.clear()


def both_directions(port):
    return (f"output tcp dport {port} drop", f"input tcp sport {port} drop")


def one_direction(port):
    return (f"output tcp dport {port} drop",)


def flush(lab, seconds=4):
    def cause():
        # ip(8) fails where a route it has listed went with its nexthop, or where the daemon was faster.
        lab.edge.run("sh", "-c", "ip nexthop flush; ip route flush proto 116; "
                                 "ip -6 route flush proto 116", check=False)
    return fault(lab, seconds, None, cause)[1]


def kill_daemon(lab, host, seconds=5):
    def cause():
        os.kill(host.daemon_pid(), signal.SIGKILL)
        time.sleep(0.5)
        host.start_daemon()
    return fault(lab, seconds, None, cause)[1]


def summary(rounds, key):
    values = [one[key] for one in rounds]
    return statistics.median(values), max(values)
