"""./dev demo: two hosts as network namespaces, four tunnels between them, one of them killed.

Prints what it types and what comes of it. Leaves nothing behind, also when interrupted.
"""

import json
import os
import subprocess
import sys
import time

from lab import Flows, Lab, TUNORCH, carried_pps, cluster, wait_for

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
WEIGHTS = {"backbone-0": 3, "backbone-1": 1, "backbone-2": 1, "backbone-3": 1}
VICTIM = "backbone-1"

CLUSTER_FILE = """\
cluster: demo
nodes:
  gateway:
    endpoint: 10.66.0.1
    inner: [10.77.0.1/32, fd77::1/128]
  edge:
    inner: [10.77.0.2/32, fd77::2/128]
bundles:
  backbone:
    listen: gateway
    dial: [edge]
    tunnels: [{weight: 3}, {weight: 1}, {weight: 1}, {weight: 1}]
"""


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def title(text):
    print("\n" + paint("1", f"== {text}"), flush=True)


def typed(host, text):
    print(paint("36", f"{host}# ") + text, flush=True)


def state_of(host):
    """Everything that apply could have touched, as text."""
    commands = (("ip", "-o", "-d", "link"), ("ip", "-o", "addr"), ("ip", "nexthop"),
                ("ip", "-4", "route", "show", "table", "all"),
                ("ip", "-6", "route", "show", "table", "all"),
                ("ip", "-4", "rule"), ("ip", "-6", "rule"), ("nft", "list", "ruleset"))
    state = [host.run(*words).stdout for words in commands]
    sysctls = subprocess.run(host.command("sysctl", "-a"), text=True, capture_output=True).stdout
    state += [line for line in sysctls.splitlines()
              if line.startswith(("net.ipv4.conf", "net.ipv6.conf", "net.ipv4.tcp_", "net.ipv4.ip_",
                                  "net.ipv4.fib", "net.ipv6.fib"))
              and "tcp_fastopen_key" not in line and "tcp_mem" not in line]
    return "\n".join(state).splitlines()


def apply(host):
    typed(host.node, f"tunorch apply cluster.yaml --node {host.node}")
    lines = [line for line in host.apply().stdout.splitlines() if "  waiting for" not in line]
    for line in lines[:3]:
        print(line)
    print(f"  … {len(lines) - 6} more steps")
    for line in lines[-3:]:
        print(line)


def show_status(host):
    typed(host.node, "tunorch status")
    print(host.tunorch("status").stdout.strip())


def iperf3(edge, gateway, *options):
    server = gateway.start("iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    typed("edge", " ".join(("iperf3", "-c", "10.77.0.1", *options)))
    report = json.loads(edge.run("iperf3", "-c", "10.77.0.1", *options, "-J").stdout)
    server.wait(timeout=20)
    return report["end"]["sum_received"]["bits_per_second"]


def traffic(edge, gateway):
    rate = iperf3(edge, gateway, "-P", "8", "-t", "4")
    print(f"  {rate / 1e9:.2f} Gbit/s in 8 flows as fast as they can, both hosts on this machine")
    before = {t["name"]: t["tx_bytes"] for t in edge.bundle()["tunnels"]}
    iperf3(edge, gateway, "-P", "120", "-b", "4M", "-t", "4")
    time.sleep(0.3)  # the next heartbeat brings the counters
    sent = {t["name"]: t["tx_bytes"] - before[t["name"]] for t in edge.bundle()["tunnels"]}
    print("  120 flows of 4 Mbit/s; each stays on the tunnel that its hash gives it:")
    print("  tunnel       weight   expected   share")
    for name, weight in WEIGHTS.items():
        share = 100 * sent[name] / sum(sent.values())
        print(f"  {name}   {weight} of 6      {100 * weight / 6:3.0f} %   {share:3.0f} %  "
              f"{'#' * round(share / 2)}")


def kill_one(edge, gateway):
    pps = carried_pps(edge, gateway, "10.77.0.1", 40, 20000)
    flows = Flows(edge, gateway, "10.77.0.1", 40, pps, 4)
    server = gateway.start("iperf3", "-s", "-1", stdout=subprocess.DEVNULL)
    time.sleep(0.3)
    bulk = edge.start("iperf3", "-c", "10.77.0.1", "-P", "8", "-t", "3", "-b", "50M",
                      stdout=subprocess.DEVNULL)
    time.sleep(1)
    pid = edge.tunnel(VICTIM)["pid"]
    typed("edge", f"kill -9 {pid}    # {VICTIM}'s worker, in mid-transfer")
    edge.kill_worker(VICTIM)
    time.sleep(0.05)
    print("  50 ms later, edge's and gateway's routes:")
    for host, inner in ((edge, "10.77.0.1"), (gateway, "10.77.0.2")):
        print(f"    {host.node}: {inner} through {' '.join(host.route_devices(inner))}")
    got, echoed = flows.finish()
    ended_well = bulk.wait(timeout=20) == 0
    server.wait(timeout=20)
    print(f"  40 numbered UDP flows, {got['packets']} packets there and back, {pps:,} per second:")
    print(f"    longest gap of any flow on the way there {got['longest_gap_ms']:.1f} ms, "
          f"packets lost {got['lost']}")
    print(f"    longest gap of any flow on the way back  {echoed['longest_gap_ms']:.1f} ms, "
          f"packets lost {echoed['lost_on_return']}")
    if flows.void:
        print(f"    this machine is busy: {flows.void}, so gaps and losses say nothing of tunorch")
    print(f"  the 8 TCP flows beside them {'all went on' if ended_well else 'BROKE'}")
    return ended_well


def show_difference(host, before):
    after = state_of(host)
    gone = [line for line in before if line not in after]
    new = [line for line in after if line not in before]
    for line in gone + new:
        print(f"  {host.node}: DIFFERS: {line}")
    if not gone and not new:
        print(f"  {host.node}: {len(before)} lines of links, addresses, routes, rules, nftables and "
              "sysctls: as before")
    return not gone and not new


def main():
    title("Two hosts (network namespaces) with a cable between them")
    lab = Lab(spec=cluster())
    try:
        gateway, edge = lab.gateway, lab.edge
        print("  gateway 10.66.0.1 ──── 10.66.0.2 edge")
        with open(lab.file, "w") as file:
            file.write(CLUSTER_FILE)
        before = {host: state_of(host) for host in (gateway, edge)}

        title("One file for both")
        print(CLUSTER_FILE.rstrip())
        for name in os.listdir(os.path.join(lab.dir, "pki")):
            os.remove(os.path.join(lab.dir, "pki", name))
        typed("any", "tunorch pki init cluster.yaml")
        done = subprocess.run([TUNORCH, "pki", "init", lab.file], text=True, capture_output=True,
                              check=True)
        print(done.stdout.replace(lab.dir + "/", "").rstrip())

        title("apply, on each host")
        apply(gateway)
        apply(edge)
        wait_for("four live tunnels", lambda: gateway.live() == edge.live() == 4)
        show_status(edge)

        title("Traffic over the bundle")
        traffic(edge, gateway)

        title("A worker is killed")
        good = kill_one(edge, gateway)
        wait_for("the worker's return", lambda: edge.live() == 4)
        print("  and it is back by itself:")
        show_status(edge)

        title("down: everything as it was")
        for host in (edge, gateway):
            typed(host.node, "tunorch down")
            print("  " + host.tunorch("down").stdout.splitlines()[-1])
        for host in (gateway, edge):
            good = show_difference(host, before[host]) and good
        return 0 if good else 1
    finally:
        lab.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.environ.setdefault("TUNORCH_BIN", sys.argv[1])
    sys.exit(main())
