"""`./dev bench profile`: where the time of both cores goes while tunorch carries one flow, and eight
(perf, cpu-clock). Writes docs/benchmarks/profile.md.

    cpu_profile.py BIN [--out DIR]
"""

import argparse
import collections
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path.insert(0, os.path.join(HERE, "../netns"))
os.environ["TUNORCH_BIN"] = os.path.abspath(sys.argv[1])

import measure  # noqa: E402: lab reads TUNORCH_BIN
import peers  # noqa: E402
from lab import Lab  # noqa: E402

HERTZ, SECONDS = 1999, 5
SCENARIOS = (("one flow, one tunnel", dict(tunnels=1), ()),
             ("8 flows, 4 tunnels", dict(tunnels=4), ("-P", "8")),
             ("8 flows, 4 streams of one tunnel", dict(tunnels=1, streams=4), ("-P", "8")))
# Of a worker's samples: the first of these that the call stack has, the leaf's library before.
IN_KERNEL = (("tun_get_user", "writing to the TUN, the inner stack run inline"),
             ("tcp_recvmsg", "receiving from the connection"),
             ("tcp_sendmsg", "sending, the receiver's stack run inline"),
             ("tun_do_read", "reading from the TUN"),
             ("do_epoll_wait", "waiting"), ("hrtimer_nanosleep", "waiting"),
             ("handle_softirqs", "softirqs that come in between"))


def record(folder, bundle, options):
    """(bits a second, what perf script prints)"""
    data = os.path.join(folder, "perf.data")
    lab = Lab()
    candidate = peers.Tunorch("tunorch", **bundle)
    try:
        candidate.up(lab)
        bulk = measure.Iperf(lab, candidate.address, SECONDS + 2, *options)
        time.sleep(1)
        subprocess.run(["perf", "record", "-q", "-a", "-g", "-F", str(HERTZ), "-e", "cpu-clock", "-o",
                        data, "sleep", str(SECONDS)], check=True, stderr=subprocess.DEVNULL)
        rate = bulk.end()["sum_received"]["bits_per_second"]
    finally:
        candidate.down()
        lab.close()
    done = subprocess.run(["perf", "script", "-i", data, "-F", "comm,cpu,ip,sym,dso"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    os.unlink(data)
    return rate, done.stdout


def samples(script):
    """(command, core, symbols from the leaf up, the leaf's file)"""
    for block in script.split("\n\n"):
        head, *frames = block.strip("\n").split("\n")
        known = re.match(r"(.*?)\s+\[(\d+)\]", head)
        if not known:
            continue
        named = [re.match(r"\s*[0-9a-f]+\s+(\S.*?) \((.*)\)$", frame) for frame in frames]
        named = [frame for frame in named if frame]
        if named:
            yield (known[1].strip(), int(known[2]), [frame[1] for frame in named], named[0][2])


def place(command, symbols, file):
    """(whose time it is, what it does)"""
    if command.startswith("swapper") and "net_rx_action" not in symbols:
        return "idle", "idle"
    if not command.startswith("stream"):
        return ("load generators" if command.startswith("iperf3") else "other"), command
    if "libcrypto" in file or "libIPSec_MB" in file:
        return "workers", "AES-GCM"
    if "libssl" in file:
        return "workers", "TLS records"
    for symbol, words in IN_KERNEL:
        if any(one.startswith(symbol) for one in symbols):
            return "workers", words
    if "libc.so" in file:
        return "workers", "libc: copies"
    return "workers", "the worker's own code" if "tunorch-worker" in file else "other"


def section(title, rate, script):
    groups, work, leaves, cores = (collections.Counter() for _ in range(4))
    for command, core, symbols, file in samples(script):
        group, what = place(command, symbols, file)
        groups[group] += 1
        cores[core] += 1
        if group == "workers":
            work[what] += 1
            leaves[f"{symbols[0]} ({os.path.basename(file)})"] += 1
    total = sum(groups.values())
    due = HERTZ * SECONDS

    def rows(counter, count):
        return "".join(f"| {name} | {number / total:.1%} |\n"
                       for name, number in counter.most_common(count))
    ran = ", ".join(f"core {core}: {number / due:.0%}" for core, number in sorted(cores.items()))
    return (f"## {title}: {rate / 1e9:.2f} Gbit/s under perf\n\n"
            f"Samples there are, of those due, idle ones counted (below 100 % a core took no timer "
            f"interrupt for a part of the time): {ran}.\n\n"
            f"| of all samples | |\n|---|---|\n{rows(groups, 9)}\n"
            f"| of the workers' | |\n|---|---|\n{rows(work, 12)}\n"
            f"| leaves of the workers' | |\n|---|---|\n{rows(leaves, 20)}\n")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench profile")
    parser.add_argument("bin")
    parser.add_argument("--out", default=os.path.join(ROOT, "docs/benchmarks"))
    arguments = parser.parse_args()
    commit = peers.output("git", "-C", ROOT, "describe", "--always", "--dirty")
    text = ("# Where the time goes\n\nMade by `./dev bench profile`: perf record -a -e cpu-clock, "
            f"{HERTZ} Hz, {SECONDS} s each, iperf3 upwards between two network namespaces; commit "
            f"{commit}, Linux {os.uname().release}, {os.cpu_count()} cores for both hosts and the "
            "load.\n\n")
    for title, bundle, options in SCENARIOS:
        text += section(title, *record(arguments.out, bundle, options))
    with open(os.path.join(arguments.out, "profile.md"), "w") as file:
        file.write(text)
    print(text)


main()
