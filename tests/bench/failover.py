"""`./dev bench failover`: every fault of docs/failover.md, twenty times each, under 200 TCP
connections and 20,000 numbered packets a second each way over four tunnels between two network
namespaces of this machine. Prints the table with its figures and conditions.

    failover.py BIN [ROUNDS] [ROW ...]
"""

import os
import platform
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../netns"))
os.environ["TUNORCH_BIN"] = os.path.abspath(sys.argv[1])

import failover_rows as rows  # noqa: E402: it reads TUNORCH_BIN
from lab import Lab, cluster  # noqa: E402

rows.rate_for = lambda lab: rows.PPS  # figures are of one rate, whatever the machine carries

PATIENT = {"restart": {"backoff": "1s", "quarantine_after": 1000},
           "health": {"damping": "0s", "slow_start": "0s"}}
QUICK = {**PATIENT, "health": {**PATIENT["health"], "interval": "50ms", "timeout": "75ms"}}


def victim(number):
    return f"backbone-{number % 4}"


# name, what is aimed at, the bundle's keys, what happens in round n
ROWS = {
    "kill-dialer": ("kill -9 of the dialer's worker", "5 / 20 ms median, 0 lost forward", PATIENT,
                    lambda lab, n: rows.kill_worker(lab, lab.edge, victim(n))),
    "kill-listener": ("kill -9 of the listener's worker", "20 / 5 ms median", PATIENT,
                      lambda lab, n: rows.kill_worker(lab, lab.gateway, victim(n))),
    "hang": ("SIGSTOP of a worker", "900 ms", PATIENT,
             lambda lab, n: rows.stop_worker(lab, lab.edge, victim(n))),
    "hang-quick": ("SIGSTOP, interval 50ms, timeout 75ms", "300 ms", QUICK,
                   lambda lab, n: rows.stop_worker(lab, lab.edge, victim(n), seconds=4)),
    "one-way": ("one direction silently dropped", "1000 ms", PATIENT,
                lambda lab, n: rows.blackhole(lab, victim(n), rows.one_direction(4430 + n % 4))),
    "blackhole": ("path blackholed", "900 ms", PATIENT,
                  lambda lab, n: rows.blackhole(lab, victim(n), rows.both_directions(4430 + n % 4))),
    "flush": ("nexthops and routes flushed", "200 ms", PATIENT, lambda lab, n: rows.flush(lab)),
    "daemon": ("SIGKILL of the daemon, and a new one", "0 lost", PATIENT,
               lambda lab, n: rows.kill_daemon(lab, (lab.edge, lab.gateway)[n % 2])),
}
# Those that are one long run each: the tests' own classes, at full length.
LONG = {
    "busy": ("test_failover.BusyMachine", {"BUSY_SECONDS": "300"}),
    "rolling": ("test_traffic.RollingRestart", {}),
    "clear": ("test_traffic.FullTunnel.test_no_packet_leaves_in_the_clear_whatever_happens",
              {"CLEAR_CYCLES": "100"}),
}


def run_row(name, rounds):
    title, target, bundle, action = ROWS[name]
    lab = Lab(spec=cluster(**bundle))
    results = []
    try:
        lab.up()
        for number in range(rounds):
            results.append(action(lab, number))
            print(".", end="", flush=True, file=sys.stderr)
    finally:
        lab.close()
    print("", file=sys.stderr)

    def pair(key, digits):
        median, most = rows.summary(results, key)
        return f"{median:.{digits}f} / {most:.{digits}f}"
    print(f"| {title} | {target} | {pair('forward_last_lost_ms', 1)} | "
          f"{pair('return_last_lost_ms', 1)} | {pair('forward_lost', 0)} | "
          f"{pair('return_lost', 0)} | {pair('others_moved', 0)} | "
          f"{sum(one.get('tcp_broken', 0) for one in results)} |", flush=True)


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    wanted = sys.argv[3:] or [*ROWS, *LONG]
    print(f"{rounds} rounds a row, median / maximum; {os.cpu_count()} cores, Linux "
          f"{platform.release()}; {rows.TCP_FLOWS} TCP connections and {rows.PPS} packets/s each "
          f"way in {rows.FLOWS_COUNT} flows, generators on the same cores\n")
    print("| fault | target | last lost forward, ms | last lost return, ms | lost forward | "
          "lost return | flows of others moved | TCP broken |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in wanted:
        if name in ROWS:
            run_row(name, rounds)
    for name in wanted:
        if name not in LONG:
            continue
        test, environment = LONG[name]
        done = subprocess.run([sys.executable, "-m", "unittest", test], text=True,
                              capture_output=True, cwd=os.path.join(HERE, "../netns"),
                              env={**os.environ, **environment})
        told = [line for line in done.stdout.splitlines() if line.strip()]
        print(f"\n{name}: {'as it should be' if done.returncode == 0 else 'NOT as it should be'}")
        print("\n".join("  " + line for line in told) or done.stderr[-2000:], flush=True)


main()
