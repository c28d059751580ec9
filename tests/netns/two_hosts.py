"""Two hosts on this machine to try tunorch on: network namespaces joined by a veth, 10.66.0.1 (gateway) and
10.66.0.2 (edge), each with its own runtime and state folder. ./dev hosts, ./dev on HOST COMMAND.

    two_hosts.py up | down         makes them; takes them away with all that runs in them
    two_hosts.py on HOST COMMAND   runs it there, with TUNORCH_NODE and the folders set
"""

import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.abspath(os.path.join(HERE, "../../build/bin"))
TOOLS = os.path.abspath(os.path.join(HERE, "../../build/tools"))  # Prometheus, where it is not installed
RUNTIME = "/run/tunorch-hosts"
ADDRESSES = {"gateway": "10.66.0.1", "edge": "10.66.0.2"}


def namespace(host):
    return f"tunorch-{host}"


def ip(*args, **kwargs):
    return subprocess.run(["ip", *args], check=True, **kwargs)


def exist():
    return os.path.isdir(RUNTIME)


def up():
    if exist():
        sys.exit("the hosts are there already: ./dev on gateway COMMAND, ./dev hosts down")
    os.makedirs(RUNTIME)
    try:
        for host in ADDRESSES:
            ip("netns", "add", namespace(host))
            ip("-n", namespace(host), "link", "set", "lo", "up")
        ip("link", "add", "wan", "netns", namespace("gateway"), "type", "veth",
           "peer", "name", "wan", "netns", namespace("edge"))
        for host, address in ADDRESSES.items():
            ip("-n", namespace(host), "addr", "add", f"{address}/24", "dev", "wan")
            ip("-n", namespace(host), "link", "set", "wan", "up")
    except BaseException:
        down()
        raise
    print("gateway 10.66.0.1 ──── 10.66.0.2 edge: two hosts, as network namespaces of this machine\n"
          "  ./dev on gateway COMMAND, ./dev on edge COMMAND    runs it there\n"
          "  ./dev hosts down                                   takes them away")


def pids_in(host):
    done = subprocess.run(["ip", "netns", "pids", namespace(host)], text=True, capture_output=True)
    return [int(pid) for pid in done.stdout.split()]


def down():
    for host in ADDRESSES:
        if os.path.isdir(os.path.join(RUNTIME, host)):
            subprocess.run(command(host, os.path.join(BIN, "tunorch"), "down"), env=environment(host))
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids_in(host):
                os.kill(pid, number)
            time.sleep(0.3 if pids_in(host) else 0)
        subprocess.run(["ip", "netns", "del", namespace(host)], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(RUNTIME, ignore_errors=True)


def environment(host):
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}:{TOOLS}", "TUNORCH_NODE": host,
            "TUNORCH_RUNTIME_DIR": os.path.join(RUNTIME, host),
            "TUNORCH_STATE_DIR": os.path.join(RUNTIME, "state")}


def command(host, *words):
    return ["ip", "netns", "exec", namespace(host), *words]


def main():
    verb, *words = sys.argv[1:] or [""]
    if verb == "up" and not words:
        return up()
    if verb == "down" and not words:
        return down()
    if verb != "on" or len(words) < 2 or words[0] not in ADDRESSES:
        sys.exit("usage: ./dev hosts [down], ./dev on gateway|edge COMMAND")
    if not exist():
        sys.exit("there are no hosts yet: ./dev hosts")
    host, *words = words
    os.execvpe("ip", command(host, *words), environment(host))


if __name__ == "__main__":
    main()
