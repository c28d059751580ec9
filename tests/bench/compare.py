"""`./dev bench compare BEFORE [PAIRS] [ROW ...]`: the programs of another build beside those of this
tree. BEFORE is a folder with tunorch, tunorch-worker and tunorch-web. Both are up all the time, each between
two network namespaces of its own, and take turns: one measurement of each is a pair, and which comes first
alternates. Prints for each row both medians, and the ratio with its 95 % interval: above 1 this tree is better.

    compare.py BIN BEFORE [PAIRS] [ROW ...]
"""

import json
import math
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 6  # of a measurement of throughput
RESOLUTION_MS = 0.1  # two packets of the load: what is shorter cannot be told apart

ROWS = {
    "kill-dialer": "kill -9 of the dialer's worker, ms of loss",
    "kill-listener": "kill -9 of the listener's worker, ms of loss",
    "hang": "SIGSTOP of a worker, ms of loss",
    "flush": "nexthops and routes flushed, ms of loss",
    "one-flow": "one TCP flow, Gbit/s",
    "eight-flows": "8 TCP flows, Gbit/s",
}


def serve():
    """One build, for as long as somebody names rows on standard input; a figure a line."""
    sys.path.insert(0, os.path.join(HERE, "../netns"))
    import failover_rows as rows
    import measure
    from lab import GATEWAY, Lab, cluster

    rows.rate_for = lambda lab: rows.PPS

    def loss(result):
        return max(result["forward_last_lost_ms"], result["return_last_lost_ms"], RESOLUTION_MS)

    def gbits(*options):
        return measure.goodput(lab, GATEWAY, SECONDS, *options)[0] / 1e9

    def once(row, number):
        tunnel = f"backbone-{number % 4}"
        if row == "kill-dialer":
            return loss(rows.kill_worker(lab, lab.edge, tunnel))
        if row == "kill-listener":
            return loss(rows.kill_worker(lab, lab.gateway, tunnel))
        if row == "hang":
            return loss(rows.stop_worker(lab, lab.edge, tunnel))
        if row == "flush":
            return loss(rows.flush(lab))
        rows.all_live(lab)
        return gbits() if row == "one-flow" else gbits("-P", "8")

    lab = Lab(spec=cluster(restart={"backoff": "1s", "quarantine_after": 1000},
                           health={"damping": "0s", "slow_start": "0s"}))
    try:
        lab.up()
        print("ready", flush=True)
        for line in sys.stdin:
            row, number = line.split()
            print(json.dumps(once(row, int(number))), flush=True)
    finally:
        lab.close()


class Side:
    """A process that serves one build."""

    def __init__(self, programs):
        self.process = subprocess.Popen([sys.executable, __file__, "--serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "TUNORCH_BIN": programs})

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("compare: one side ended; see above")
        return line

    def measure(self, row, number):
        self.process.stdin.write(f"{row} {number}\n")
        self.process.stdin.flush()
        return json.loads(self.answer())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def programs_of(folder, before, generators):
    """That build's programs beside this tree's generators of load."""
    for name in ("tunorch", "tunorch-worker", "tunorch-web"):
        os.symlink(os.path.join(os.path.abspath(before), name), os.path.join(folder, name))
    for name in ("flows", "path"):
        os.symlink(os.path.join(os.path.abspath(generators), name), os.path.join(folder, name))
    return folder


def interval(logs):
    """95 % of the mean of these, by resampling."""
    chance = random.Random(1)
    means = sorted(statistics.fmean(chance.choices(logs, k=len(logs))) for _ in range(10000))
    return math.exp(means[249]), math.exp(means[9749])


def vectors():
    with open("/proc/cpuinfo") as file:
        flags = set(re.search(r"^flags\s*:(.*)", file.read(), re.M)[1].split())
    return ", ".join(sorted(flags & {"avx2", "avx512f", "vaes", "vpclmulqdq"})) or "none"


def main():
    ours, before = sys.argv[1:3]
    pairs = int(sys.argv[3]) if len(sys.argv) > 3 else 11
    rows = sys.argv[4:] or list(ROWS)
    print(f"{pairs} pairs a row, in turns; {os.cpu_count()} cores ({vectors()}), Linux {platform.release()}; "
          "generators on the same cores\n")
    print("| row | before, median | now, median | now better by (95 % interval) |\n|---|---|---|---|",
          flush=True)
    with tempfile.TemporaryDirectory() as folder:
        sides = {"before": Side(programs_of(folder, before, ours)), "now": Side(os.path.abspath(ours))}
        try:
            for side in sides.values():
                side.answer()
            for row in rows:
                values = {"before": [], "now": []}
                for number in range(pairs):
                    for name in (sorted(sides), sorted(sides, reverse=True))[number % 2]:
                        values[name].append(sides[name].measure(row, number))
                    print(".", end="", flush=True, file=sys.stderr)
                print("", file=sys.stderr)
                logs = [math.log(now / then) for then, now in zip(values["before"], values["now"])]
                if "flow" not in row:
                    logs = [-one for one in logs]  # less loss is better
                low, high = interval(logs)
                medians = [f"{statistics.median(values[name]):.2f}" for name in ("before", "now")]
                print(f"| {ROWS[row]} | {medians[0]} | {medians[1]} | "
                      f"{math.exp(statistics.fmean(logs)):.3f} ({low:.3f}–{high:.3f}) |", flush=True)
        finally:
            for side in sides.values():
                side.end()


if sys.argv[1:2] == ["--serve"]:
    serve()
else:
    main()
