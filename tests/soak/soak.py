"""`./dev soak [MINUTES]`: two hosts, four tunnels, load, and one fault after another, some two at a
time; what must hold is checked all along. Prints a line a fault and a table; exits with 1 where
anything was lost or did not hold.

A seed gives the same faults in the same order: the command at the end of the table replays them."""

import argparse
import collections
import contextlib
import datetime
import os
import platform
import random
import re
import shlex
import shutil
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../netns"))
os.environ["TUNORCH_BIN"] = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/bin")

import checks  # noqa: E402: they read TUNORCH_BIN
import faults  # noqa: E402
from hosts import SoakLab  # noqa: E402
from lab import INTERRUPTIONS, need_root_and_tun  # noqa: E402
from test_residue import dump  # noqa: E402
from traffic import Load  # noqa: E402

MOVING_S = 1    # flows go on: none is silent for longer
MOST_TOLD = 10  # of the flows that one fault cost
SLOW_S = 5      # it is told what a run waits for
SKIPPED = 77    # ctest's SKIP_RETURN_CODE here


class Row:
    """What came of one kind of fault."""

    def __init__(self):
        self.injected = self.survived = self.flows_lost = self.udp_lost = 0
        self.longest_stall = self.longest_to_plan = 0.0


class Soak:
    def __init__(self, options):
        self.options = options
        self.rows = collections.defaultdict(Row)
        self.problems = []
        self.residue = None  # lines; None: the run did not come so far
        self.took = 0
        self.leaks = []
        self.load = self.watch = None

    def run(self):
        lab = SoakLab()
        for sig in INTERRUPTIONS:
            signal.signal(sig, signal.default_int_handler)  # KeyboardInterrupt
        try:
            self.run_in(lab)
        except KeyboardInterrupt:
            print("interrupted; the table so far", flush=True)
        except AssertionError as error:
            self.problem(str(error))
        finally:
            if self.watch and self.watch.is_alive():
                self.watch.end()
            self.keep_logs(lab)
            try:
                lab.close()
            except AssertionError as error:  # what daemons and workers said
                self.problem(str(error))
        if self.watch:
            self.problems += self.watch.violations

    def run_in(self, lab):
        before = {node: dump(host) for node, host in lab.hosts.items()}
        lab.start()
        self.watch = checks.Watch(lab)
        self.watch.start()
        began = time.monotonic()
        end = began + self.options.minutes * 60
        self.load = Load(lab, self.options.minutes * 60 + 900, self.options.seed)
        try:
            self.settle(lab, 60)
            self.inject_until(lab, end)
            self.problems += self.load.end()
            self.tell_lost("at the end, with nothing broken", self.load.newly_lost())
        finally:
            self.took = time.monotonic() - began
            self.watch.read_log([])
            self.leaks = self.watch.leaks()
            self.watch.end()
        self.take_down(lab, before)

    def inject_until(self, lab, end):
        for calm, both in faults.rounds(self.options.seed, self.options.only):
            time.sleep(calm)
            self.tell_lost("with nothing broken", self.load.newly_lost())
            if time.monotonic() > end:
                return
            if not self.round(lab, both):
                return self.problem("ended: where all is not as planned, more faults prove nothing")
            if dead := self.load.dead():
                raise AssertionError(f"the load of {dead} ended")

    def round(self, lab, both):
        """Whether all was as planned at its end."""
        kinds = [pick.kind for _, pick in both]
        began, udp_lost = time.monotonic(), self.load.total("udp_lost")
        violations = len(self.watch.violations)
        self.break_and_mend(lab, both)
        mended = time.monotonic()
        left = self.settle(lab, faults.LIMIT_S)
        settled = time.monotonic()
        self.watch.quiet_moment()
        self.watch.read_log(kinds)
        stall, lost = self.load.between(began, settled), self.load.newly_lost()
        self.tell_lost(" + ".join(kinds), lost)
        well = not left and not lost and len(self.watch.violations) == violations
        for kind in kinds:
            row = self.rows[kind]
            row.injected += 1
            row.survived += well
            row.flows_lost += len(lost)
            row.udp_lost += self.load.total("udp_lost") - udp_lost
            row.longest_stall = max(row.longest_stall, stall)
            row.longest_to_plan = max(row.longest_to_plan, settled - mended)
        where = " + ".join(f"{pick.kind} ({pick.node}, {pick.name()})" for _, pick in both)
        print(f"{datetime.datetime.now():%H:%M:%S} {'ok ' if well else 'BAD'} {where}: "
              f"{mended - began:.1f} s, as planned {settled - mended:.1f} s later, "
              f"longest silence {stall:.1f} s", flush=True)
        return not left

    def tell_lost(self, when, lost):
        for words in lost[:MOST_TOLD]:
            self.problem(f"{when}: flow lost: {words}")
        if len(lost) > MOST_TOLD:
            self.problem(f"{when}: {len(lost) - MOST_TOLD} more flows lost")

    def break_and_mend(self, lab, both):
        """Each for as long as it says; the second begins within a second of the first."""
        ends = []
        try:
            for later, pick in both:
                time.sleep(later)
                fault = contextlib.ExitStack()
                seconds = fault.enter_context(faults.FAULTS[pick.kind](lab, pick)) or 0
                ends.append((time.monotonic() + seconds, len(ends), fault))
            for when, _, fault in sorted(ends):
                time.sleep(max(0, when - time.monotonic()))
                fault.close()
        finally:
            for _, _, fault in ends:
                fault.close()  # a second time: nothing

    def settle(self, lab, seconds):
        """Until all is as planned and every flow goes on; says what is not when the time is up.
        What took long is told."""
        began = time.monotonic()
        end, told = began + seconds, set()
        while True:
            left = next(filter(None, (checks.not_as_planned(host, lab.file)
                                      for host in lab.hosts.values())), None)
            if not left and self.load.silence() > MOVING_S:
                left = f"a flow is silent; {self.load.stuck()}; for {self.load.silence():.0f} s"
            if not left:
                return None
            words = re.sub(r"silent.*", "", left)
            if time.monotonic() > began + SLOW_S and words not in told:
                told.add(words)
                print(f"{datetime.datetime.now():%H:%M:%S} waiting: {left}", flush=True)
            if time.monotonic() > end:
                self.problem(f"not as planned after {seconds} s: {left}")
                return left
            time.sleep(0.1)

    def keep_logs(self, lab):
        for host in lab.hosts.values() if self.options.logs else []:
            os.makedirs(self.options.logs, exist_ok=True)
            shutil.copy(host.keeper.log_path, self.options.logs)

    def take_down(self, lab, before):
        for host in lab.hosts.values():
            host.keeper.let_go()
        for host in lab.hosts.values():
            host.tunorch("down")
        self.residue = []
        for node, host in lab.hosts.items():
            host.keeper.process.wait(timeout=10)
            self.residue += checks.residue(before[node], dump(host), node)
            self.residue += [f"{node}: worker {pid} still runs"
                             for pid in checks.worker_processes(host)]
        self.problems += [f"left after down: {line}" for line in self.residue]

    def problem(self, words):
        self.problems.append(words)
        print(f"         {words}", flush=True)

    # ---- the table ----

    def table(self):
        total = Row()
        lines = ["| fault | injected | survived | flows lost | longest stall, s | UDP packets lost "
                 "| as planned after, s |", "|---|---|---|---|---|---|---|"]
        for kind in [*faults.FAULTS, None]:
            row = self.rows.get(kind) if kind else total
            if row is None:
                continue
            name = kind or "**all** (two at a time count twice)"
            lines.append(f"| {name} | {row.injected} | {row.survived} | {row.flows_lost} | "
                         f"{row.longest_stall:.1f} | {row.udp_lost} | {row.longest_to_plan:.1f} |")
            total.injected += row.injected
            total.survived += row.survived
            total.flows_lost += row.flows_lost
            total.udp_lost += row.udp_lost
            total.longest_stall = max(total.longest_stall, row.longest_stall)
            total.longest_to_plan = max(total.longest_to_plan, row.longest_to_plan)
        return "\n".join([*lines, "", *self.figures()])

    def figures(self):
        load, seconds = self.load, max(self.took, 1)
        if load:
            yield (f"- Load: {load.total('opened')} TCP connections opened and "
                   f"{load.total('finished') // 2} checked to their last byte, "
                   f"{len(load.lost)} lost; {load.total('bytes_in') / 1e9:.2f} GB checked "
                   f"({load.total('bytes_in') * 8 / seconds / 1e6:.0f} Mbit/s); "
                   f"{load.total('udp_received') / seconds:.0f} UDP packets/s, "
                   f"{load.total('udp_lost')} of {load.total('udp_sent')} lost, "
                   f"{load.total('udp_wrong')} wrong; {load.total('refused')} connects refused "
                   "while there was no way, and tried again.")
        for one in self.leaks:
            yield (f"- Leaks, {one['role']}: {one['kib_an_hour']:+.0f} kB/h on average over "
                   f"{one['count']} processes and {one['hours']:.2f} hours, most of one "
                   f"{one['most_kib']:.0f} kB; descriptors {one['descriptors']:+d}, threads "
                   f"{one['threads']:+d} at most.")
        if self.residue is not None:
            yield f"- Left behind after `down`: {len(self.residue)} lines."
        yield f"- Violations: {len(self.problems)}."
        for words in self.problems[:50]:
            yield f"  - {words}"
        yield (f"- {self.took / 60:.1f} minutes, {os.cpu_count()} cores, Linux "
               f"{platform.release()}, {datetime.date.today()}. Replay: "
               f"`{replay(self.options)}`")


def replay(options):
    only = "" if options.only == tuple(faults.FAULTS) else f" --only {shlex.join(options.only)}"
    return f"./dev soak {options.minutes:g} --seed {options.seed}{only}"


def parse():
    parser = argparse.ArgumentParser(prog="./dev soak", description="Load and random faults.")
    parser.add_argument("bin", help=argparse.SUPPRESS)
    parser.add_argument("minutes", nargs="?", type=float, default=10, help="default: 10")
    parser.add_argument("--seed", type=int, help="of the faults, to replay a run")
    parser.add_argument("--keep", metavar="FILE", help="writes the table there too")
    parser.add_argument("--logs", metavar="FOLDER", help="copies the daemons' logs there")
    parser.add_argument("--only", nargs="+", metavar="FAULT", choices=faults.FAULTS,
                        help="; ".join(faults.FAULTS).replace("%", "%%"))
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    options.only = tuple(options.only or faults.FAULTS)
    return options


def main():
    options = parse()
    try:
        need_root_and_tun()
    except unittest.SkipTest as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    print(f"replay: {replay(options)}", flush=True)
    soak = Soak(options)
    soak.run()
    table = soak.table()
    print("\n" + table, flush=True)
    if options.keep:
        with open(options.keep, "w") as file:
            file.write(table + "\n")
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
