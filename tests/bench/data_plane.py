"""`./dev bench [ROUNDS]`: this project and the peers from Debian's packages between two network
namespaces of this machine, one after the other in each round, and over a bad path. Writes a Markdown
table, JSON and a plot to docs/benchmarks/ (or --out DIR), with each target beside its figure.

    data_plane.py BIN [ROUNDS] [--out DIR] [--only local|wan] [--seconds N] [--candidates NAME,...]
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path.insert(0, os.path.join(HERE, "../netns"))
os.environ["TUNORCH_BIN"] = os.path.abspath(sys.argv[1])

import measure  # noqa: E402: lab reads TUNORCH_BIN
import peers  # noqa: E402
from lab import Lab  # noqa: E402

# column, unit, divisor, digits
COLUMNS = [
    ("one flow up", "Gbit/s", 1e9, 2), ("one flow down", "Gbit/s", 1e9, 2),
    ("8 flows", "Gbit/s", 1e9, 2), ("64-byte packets", "k/s", 1e3, 0),
    ("rtt idle p50", "ms", 1, 2), ("rtt idle p99", "ms", 1, 2), ("rtt loaded p50", "ms", 1, 2),
    ("rtt loaded p99", "ms", 1, 2), ("cpu s/GB", "both ends", 1, 2), ("rss MiB", "both ends", 1, 0),
    ("reordered", "packets", 1, 0),
]
WAN_RATE, WAN_RTT = 200e6, 40.0
LOSSES = (0, 0.1, 1)


def note(text):
    print(text, file=sys.stderr, flush=True)


class Results:
    """Of each candidate and column: the values of all rounds."""

    def __init__(self):
        self.values = {}

    def add(self, candidate, figures):
        for column, value in figures.items():
            self.values.setdefault(candidate, {}).setdefault(column, []).append(value)

    def median(self, candidate, column):
        values = self.values.get(candidate, {}).get(column)
        return statistics.median(values) if values else None

    def cell(self, candidate, column, divisor, digits):
        values = self.values.get(candidate, {}).get(column)
        if not values:
            return "–"
        shown = [f"{value / divisor:.{digits}f}"
                 for value in (statistics.median(values), min(values), max(values))]
        return f"{shown[0]} ({shown[1]}–{shown[2]})"


def conditions(rounds, versions, busy):
    commit = peers.output("git", "-C", ROOT, "describe", "--always", "--dirty")
    with open("/proc/cpuinfo") as file:
        models = {line.partition(":")[2].strip() for line in file if line.startswith("model name")}
    return [f"{time.strftime('%Y-%m-%d')}, commit {commit}, {rounds} rounds, candidates in random "
            "order within each",
            f"Linux {platform.release()}, {os.cpu_count()} cores ({', '.join(models)}) shared by both "
            "hosts and the load generators",
            f"{', '.join(versions)}; OpenSSL: {peers.output('openssl', 'version')}",
            f"{busy:.0%} of the machine was busy before the run"]


def run_local(rounds, seconds, candidates):
    results = Results()
    lab = Lab()
    try:
        for number in range(rounds):
            for candidate in random.sample(candidates, len(candidates)):
                note(f"round {number + 1} of {rounds}: {candidate.name}")
                try:
                    candidate.up(lab)
                    results.add(candidate.name, measure.measure(lab, candidate, seconds))
                finally:
                    candidate.down()
    finally:
        lab.close()
    return results


# ---- over a bad path ----

def wan_candidates():
    return [peers.Bare(), peers.OpenVpn(tcp=True),
            peers.Tunorch("tunorch 1 tunnel", tunnels=1),
            peers.Tunorch("tunorch 4 tunnels", tunnels=4)]


def measure_wan(lab, candidate, seconds):
    """Inner connections use cubic: what most of the world's senders use."""
    address = candidate.address
    one = measure.goodput(lab, address, seconds, "-C", "cubic")[0]
    bulk = measure.Iperf(lab, address, seconds + 2, "-C", "cubic", "-P", "8", "-O", "2")
    time.sleep(2)
    trips = measure.round_trips(lab, address, int(seconds * 50), 0.02)
    end = bulk.end()
    return {"one flow": one, "8 flows": end["sum_received"]["bits_per_second"] if end else 0.0,
            "ping p50": statistics.median(trips), "ping p99": measure.percentile(trips, 0.99)}


def run_wan(rounds, seconds):
    results = {}
    for loss in LOSSES:
        results[loss] = Results()
        for number in range(rounds):
            for candidate in random.sample(wan_candidates(), 4):
                note(f"{loss} % loss, round {number + 1} of {rounds}: {candidate.name}")
                lab = Lab(path=f"delay={WAN_RTT / 2} rate={WAN_RATE / 1e6} queue=50 loss={loss} "
                               f"seed={number + 1}")
                try:
                    candidate.up(lab)
                    results[loss].add(candidate.name, measure_wan(lab, candidate, seconds))
                finally:
                    candidate.down()
                    lab.close()
    return results


# ---- what it says ----

def local_targets(results):
    """(what, target as words, the figure, whether it is met)"""
    def median(candidate, column):
        return results.median(candidate, column)

    rows = []

    def at_least(what, mine, column, factor, other):
        a, b = median(mine, column), median(other, column)
        if a is not None and b:
            rows.append((f"{what}, {column}", f"≥ {factor} × {other}", f"{a / b:.2f} ×",
                         a / b >= factor))

    def at_most(what, mine, column, factor, others):
        a = median(mine, column)
        known = [median(other, column) for other in others if median(other, column) is not None]
        if a is not None and known:
            best = min(known)
            rows.append((f"{what}, {column}", f"≤ {factor:.2g} × the best of: {', '.join(others)}",
                         f"{a / best:.2f} ×", a <= factor * best))

    one = "tunorch 1 tunnel"
    for column in ("one flow up", "one flow down"):
        for other, factor in (("bare veth", 0.45), ("OpenVPN UDP", 5), ("OpenVPN TCP", 18),
                              ("wireguard-go", 7), ("fastd", 4.5)):
            at_least("1 tunnel", one, column, factor, other)
    at_least("4 tunnels", "tunorch 4 tunnels", "8 flows", 0.55, "bare veth")
    at_least("4 streams", "tunorch 4 streams", "8 flows", 0.55, "bare veth")
    userspace = ["OpenVPN UDP", "OpenVPN TCP", "wireguard-go", "fastd", "tinc"]
    known = [name for name in userspace if median(name, "64-byte packets")]
    if known:
        best = max(known, key=lambda name: median(name, "64-byte packets"))
        at_least("1 tunnel", one, "64-byte packets", 2.5, best)
    at_most("1 tunnel", one, "cpu s/GB", 0.2, userspace)
    at_most("1 tunnel", one, "rtt idle p50", 1, ["OpenVPN UDP"])
    at_most("1 tunnel", one, "rtt loaded p99", 1, userspace)
    for name in ("tunorch 4 tunnels", "tunorch 4 streams"):
        if median(name, "reordered") is not None:
            worst = max(results.values[name]["reordered"])
            rows.append((name.removeprefix("tunorch ") + ", reordered", "0 packets",
                         f"{worst:.0f}", worst == 0))
    return rows


def wan_targets(results):
    worst = results[1]
    mine = worst.median("tunorch 4 tunnels", "8 flows")
    bare = worst.median("bare veth", "8 flows")
    ping = worst.median("tunorch 4 tunnels", "ping p99")
    if not mine or not bare:
        return []
    return [("1 % loss, 4 tunnels, 8 flows", "≥ 0.8 × the path's rate", f"{mine / WAN_RATE:.2f} ×",
             mine >= 0.8 * WAN_RATE),
            ("1 % loss, 4 tunnels, 8 flows", "≥ 4 × the bare path with cubic", f"{mine / bare:.1f} ×",
             mine >= 4 * bare),
            ("1 % loss, 4 tunnels, ping p99", "≤ 5 × the path's RTT", f"{ping / WAN_RTT:.1f} ×",
             ping <= 5 * WAN_RTT)]


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                      *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def local_section(results):
    return ("## Two namespaces joined by a veth\n\n![one flow](local.svg)\n\n" +
            table(["", *(f"{name}, {unit}" for name, unit, _, _ in COLUMNS)],
                  [[candidate, *(results.cell(candidate, name, divisor, digits)
                                 for name, _, divisor, digits in COLUMNS)]
                   for candidate in sorted(results.values,
                                           key=lambda one: -results.median(one, "one flow up"))]))


def wan_section(all_results):
    text = ""
    for loss, results in all_results.items():
        text += (f"## {WAN_RTT:.0f} ms RTT, {WAN_RATE / 1e6:.0f} Mbit/s with a queue of 50 ms, "
                 f"{loss} % loss; inner connections cubic\n\n")
        text += table(["", "one flow, Mbit/s", "8 flows, Mbit/s", "ping p50 meanwhile, ms",
                       "ping p99 meanwhile, ms"],
                      [["bare path" if candidate == "bare veth" else candidate,
                        results.cell(candidate, "one flow", 1e6, 1),
                        results.cell(candidate, "8 flows", 1e6, 1),
                        results.cell(candidate, "ping p50", 1, 0),
                        results.cell(candidate, "ping p99", 1, 0)]
                       for candidate in sorted(results.values)]) + "\n"
    return text


def write_report(folder, name, title, conditions_, section, targets, values):
    text = f"# {title}\n\nMedian (least–most) of the rounds. Made by `./dev bench`.\n\n"
    text += "".join(f"- {line}\n" for line in conditions_) + "\n" + section
    text += "\n## Targets\n\n" + table(["", "target", "here", ""],
                                       [[what, target, figure, "met" if met else "**missed**"]
                                        for what, target, figure, met in targets])
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{name}.md"), "w") as file:
        file.write(text)
    with open(os.path.join(folder, f"{name}.json"), "w") as file:
        json.dump({"conditions": conditions_, "values": values}, file, indent=1)
    print(text, flush=True)


def plot(results, path):
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
    names = sorted(results.values, key=lambda one: results.median(one, "one flow up"))
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(names) + 1.2))
    for offset, column, colour in ((0.2, "one flow up", "#1f6feb"), (-0.2, "8 flows", "#2da44e")):
        axes.barh([place + offset for place in range(len(names))],
                  [results.median(name, column) / 1e9 for name in names], height=0.38,
                  color=colour, label=column)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("Gbit/s, median")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("bin")
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--out", default=os.path.join(ROOT, "docs/benchmarks"))
    parser.add_argument("--only", choices=["local", "wan"])
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--candidates", help="names, with commas")
    arguments = parser.parse_args()
    candidates = peers.all_candidates()
    if arguments.candidates:
        wanted = arguments.candidates.split(",")
        candidates = [one for one in candidates if one.name in wanted]
    busy = measure.busy_share()
    if busy > 0.05:
        note(f"WARNING: {busy:.0%} of this machine is busy already; the figures will say little")
    versions = [f"{one.name} {one.version()}" for one in candidates if one.version()]
    head = conditions(arguments.rounds, versions, busy)
    if arguments.only != "wan":
        results = run_local(arguments.rounds, arguments.seconds, candidates)
        write_report(arguments.out, "local", "Beside other VPNs, on one machine", head,
                     local_section(results), local_targets(results), results.values)
        plot(results, os.path.join(arguments.out, "local.svg"))
    if arguments.only != "local":
        wan = run_wan(arguments.rounds, 3 * arguments.seconds)
        write_report(arguments.out, "wan", "Over a bad path", head, wan_section(wan),
                     wan_targets(wan), {loss: one.values for loss, one in wan.items()})
    if measure.busy_share() > 0.05:
        note("WARNING: something else was busy at the end of the run")


if __name__ == "__main__":
    main()
