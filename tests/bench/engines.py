"""`./dev bench engines`: other engines' failover, four OpenVPN processes against one, and the postgres
transport, between two network namespaces of this machine. Writes docs/benchmarks/engines.md and .json.

    engines.py BIN [ROUNDS]
"""

import json
import os
import random
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path.insert(0, os.path.join(HERE, "../netns"))
os.environ["TUNORCH_BIN"] = os.path.abspath(sys.argv[1])

import data_plane  # noqa: E402: these read TUNORCH_BIN
import failover_rows as rows  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
from database import PORT, SERVER, Server  # noqa: E402
from lab import GATEWAY, Lab, cluster  # noqa: E402

SECONDS = 5
CALM = {"restart": {"backoff": "1s", "quarantine_after": 1000},
        "health": {"damping": "0s", "slow_start": "0s"}}
FOUR = {"tunnels": 4, **CALM}
MIXED = {**CALM, "tunnels": [{}, {}, {"engine": "openvpn"}, {"engine": "wireguard"}]}
# name, the bundle's keys, which tunnel dies, and what load: 20,000 packets a second each way unless
# that alone is more than the engine carries here.
KILLS = [
    ("4 × openvpn over UDP", {**FOUR, "engine": "openvpn"}, lambda n: n % 4, {}),
    ("4 × openvpn over TCP", {**FOUR, "engine": "openvpn", "openvpn": {"proto": "tcp"}},
     lambda n: n % 4, {}),
    ("4 × wireguard-go, 5,000 packets/s", {**FOUR, "engine": "wireguard"}, lambda n: n % 4,
     {"pps": 5000}),
    ("2 native + openvpn + wireguard: openvpn dies", MIXED, lambda n: 2, {"pps": 10000}),
    ("2 native + openvpn + wireguard: wireguard dies", MIXED, lambda n: 3, {"pps": 10000}),
]
WINDOW = "256KiB"
RATES = {
    "openvpn TCP, 1 process": {"engine": "openvpn", "openvpn": {"proto": "tcp"}, "tunnels": 1},
    "openvpn TCP, 4 processes": {"engine": "openvpn", "openvpn": {"proto": "tcp"}, "tunnels": 4},
}


def show(values, divisor=1.0, digits=2):
    numbers = [value / divisor for value in values]
    return (f"{statistics.median(numbers):.{digits}f} ({min(numbers):.{digits}f}–"
            f"{max(numbers):.{digits}f})")


def say(text):
    print(text, file=sys.stderr, flush=True)


def kill_row(bundle, victim, load, rounds):
    results = []
    lab = Lab(spec=cluster(**bundle))
    try:
        lab.up()
        for n in range(rounds):
            results.append(rows.kill_worker(lab, lab.edge, f"backbone-{victim(n)}", tcp=0, **load))
    finally:
        lab.close()
    return results


def up(spec, path=None):
    lab = Lab(spec=spec, path=path)
    try:
        lab.up()
        rows.wait_for("all tunnels carry", lambda: lab.edge.live() == len(
            lab.edge.bundle()["tunnels"]) == lab.gateway.live(), 30)
        return lab
    except BaseException:
        lab.close()
        raise


def pids(lab):
    return [pid for host in (lab.gateway, lab.edge) for pid in host.worker_pids().values()]


def measured(lab, more_pids, *options):
    """(bits a second, CPU seconds a gigabyte)"""
    all_pids = pids(lab) + more_pids()
    before = measure.cpu_seconds(all_pids)
    rate, moved = measure.goodput(lab, GATEWAY, SECONDS, *options)
    # The database starts and ends processes of its own meanwhile; who is there at the end counts.
    after = measure.cpu_seconds([pid for pid in all_pids if os.path.exists(f"/proc/{pid}")])
    return rate, (after - before) / (moved / 1e9) if moved else float("nan")


def openvpn_rates(rounds, path, sockets):
    found = {name: [] for name in RATES}
    for number in range(rounds):
        for name in random.sample(list(RATES), len(RATES)):
            say(f"{name}, {path or 'no path'}, round {number + 1} of {rounds}")
            lab = up(cluster(**RATES[name], sockets=sockets), path)
            try:
                found[name].append(measured(lab, list, "-P", "8", "-O", "1"))
            finally:
                lab.close()
    return found


def server_pids(server):
    main = server.process.pid
    with open(os.path.join(server.data, "postmaster.pid")) as file:
        main = int(file.readline())
    with open(f"/proc/{main}/task/{main}/children") as file:
        return [main, *map(int, file.read().split())]


def postgres_rates(rounds):
    found = {}
    for number in range(rounds):
        for sync in random.sample(["off", "on"], 2):
            say(f"postgres, synchronous_commit {sync}, round {number + 1} of {rounds}")
            lab = Lab()
            try:
                server = Server(lab.gateway, os.path.join(lab.dir, "pg"))
                server.init()
                url = f"postgresql://vpn@10.66.0.1:{PORT}/vpn"
                lab.write(cluster(tunnels=1, transport="postgres",
                                  postgres={"url": url, "sync": sync}))
                lab.up()
                rows.wait_for("it carries", lambda: lab.gateway.live() == 1 == lab.edge.live())
                for direction, options in (("up", []), ("down", ["-R"])):
                    rate, cpu = measured(lab, lambda: server_pids(server), *options)
                    found.setdefault((sync, direction), []).append((rate, cpu))
                trips = measure.round_trips(lab, GATEWAY, 100, 0.02)
                found.setdefault((sync, "trip"), []).append(statistics.median(trips))
                lost = measure.reordered(lab, GATEWAY, 4)
                found.setdefault((sync, "reordered"), []).append(lost)
                gaps = server.sql("SELECT count(*) FROM (SELECT FROM tunorch.packet GROUP BY stream, "
                                  "direction HAVING count(*) <> max(seq)) AS gap")[0][0]
                found.setdefault((sync, "gaps"), []).append(int(gaps))
            finally:
                lab.close()
    return found


def verdict(met):
    return "met" if met else "**missed**"


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    versions = [" ".join(peers.output(program, "--version").split()[:words]) for program, words in
                (("openvpn", 2), ("wireguard-go", 2), (os.path.join(SERVER, "postgres"), 3))]
    head = data_plane.conditions(rounds, versions, measure.busy_share())
    text = "# Other engines, and packets through a database\n\nMedian (least–most) of the rounds. "
    text += "Made by `./dev bench engines`.\n\n" + "".join(f"- {line}\n" for line in head)
    values = {}

    text += ("\n## kill -9 of one of four processes on the dialer\n\nNumbered packets in 200 flows "
             "both ways, 20,000 a second each way unless said; from the kill to when the last packet "
             "that was lost had been sent.\n\n| bundle | forward, ms | return, ms | lost forward | "
             "lost on return | target: forward ≤ 5 ms median |\n|---|---|---|---|---|---|\n")
    for name, bundle, victim, load in KILLS:
        say(f"kill: {name}")
        results = kill_row(bundle, victim, load, max(rounds, 8))
        values[f"kill {name}"] = results
        column = {key: [one[key] for one in results] for key in results[0]}
        forward = column["forward_last_lost_ms"]
        text += (f"| {name} | {show(forward, 1, 1)} | {show(column['return_last_lost_ms'], 1, 0)} | "
                 f"{show(column['forward_lost'], 1, 0)} | {show(column['return_lost'], 1, 0)} | "
                 f"{verdict(statistics.median(forward) <= 5)} |\n")

    text += ("\n## Four OpenVPN processes against one, over TCP, 8 flows\n\n| | Mbit/s | CPU s/GB, "
             "both ends | |\n|---|---|---|---|\n")
    for title, path, sockets, target in (
            ("between two namespaces", None, {}, 1.2),
            (f"40 ms RTT, windows of {WINDOW}", "delay=20 rate=1000 queue=50",
             {"sndbuf": WINDOW, "rcvbuf": WINDOW}, 3.0)):
        found = openvpn_rates(rounds, path, sockets)
        values[f"openvpn {title}"] = found
        for name, results in found.items():
            text += (f"| {title}: {name} | {show([r for r, _ in results], 1e6, 0)} | "
                     f"{show([c for _, c in results], 1, 1)} | |\n")
        one, four = (statistics.median(rate for rate, _ in results) for results in found.values())
        text += (f"| {title}: ratio | {four / one:.2f} × | | target ≥ {target} ×: "
                 f"{verdict(four / one >= target)} |\n")

    text += ("\n## The postgres transport, one flow\n\nThe database on the gateway's host. CPU of both "
             "workers and of the database.\n\n| synchronous_commit | up, Mbit/s | down, Mbit/s | "
             "CPU s/GB up | ping, idle, ms | reordered | logs with gaps | target |\n"
             "|---|---|---|---|---|---|---|---|\n")
    found = postgres_rates(rounds)
    values["postgres"] = {f"{sync} {what}": numbers for (sync, what), numbers in found.items()}
    for sync, target in (("off", 300), ("on", 100)):
        rates = {way: [rate for rate, _ in found[sync, way]] for way in ("up", "down")}
        least = min(statistics.median(numbers) for numbers in rates.values()) / 1e6
        text += (f"| {sync} | {show(rates['up'], 1e6, 0)} | {show(rates['down'], 1e6, 0)} | "
                 f"{show([cpu for _, cpu in found[sync, 'up']], 1, 1)} | "
                 f"{show(found[sync, 'trip'])} | {sum(found[sync, 'reordered'])} | "
                 f"{sum(found[sync, 'gaps'])} | ≥ {target}: {verdict(least >= target)} |\n")

    folder = os.path.join(ROOT, "docs/benchmarks")
    with open(os.path.join(folder, "engines.md"), "w") as file:
        file.write(text)
    with open(os.path.join(folder, "engines.json"), "w") as file:
        json.dump({"conditions": head, "values": values}, file, indent=1)
    print(text)


if __name__ == "__main__":
    main()
