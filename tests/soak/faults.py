"""What a soak run breaks. A fault is a context: entered it breaks something and tells for how many
seconds, left it undoes that. It is survived when all is as planned again within LIMIT_S of its end
and no flow was lost meanwhile. No fault here is entitled to lose a flow: not one of them breaks
more than TCP outlasts.

What is drawn for a fault is drawn before the run, so that a seed gives the same faults in the same
order with the same victims, however fast the machine is."""

import contextlib
import dataclasses
import os
import random
import re
import resource
import signal
import subprocess
import time

import failover_rows as rows
from hosts import TUNNELS, ask, go_on, send_signal, workers
from lab import BIN, SANITIZED

LIMIT_S = 45  # on a busy machine with two cores; most need 1 to 3
PORT = 4430
LIMITS = {"nofile": "Max open files", "as": "Max address space"}  # as /proc/PID/limits says it
LOAD = os.path.join(BIN, "soak_load")


@dataclasses.dataclass(frozen=True)
class Pick:
    """What a fault is to hit. `seconds` is how long it lasts, 0 to 1 of what its kind allows."""
    kind: str
    node: str
    tunnel: int
    part: float
    choice: int

    def name(self):
        return f"backbone-{self.tunnel}"

    def between(self, least, most):
        return least + (most - least) * self.part

    def one_of(self, choices):
        return choices[self.choice % len(choices)]


# ---- processes ----

def worker_of(host, tunnel):
    """Its pid; None where it does not come back within seconds of what broke it before."""
    for _ in range(60):
        if pid := workers(host).get(tunnel):
            return pid
        time.sleep(0.05)
    return None


def kill_worker(host, tunnel):
    if pid := worker_of(host, tunnel):
        send_signal(pid, signal.SIGKILL)


@contextlib.contextmanager
def worker_killed(lab, pick):
    kill_worker(lab.hosts[pick.node], pick.name())
    yield


@contextlib.contextmanager
def all_workers_killed(lab, pick):
    """Of one host: the routes turn unreachable until the first is back."""
    for pid in workers(lab.hosts[pick.node]).values():
        send_signal(pid, signal.SIGKILL)
    yield


@contextlib.contextmanager
def worker_stopped(lab, pick):
    """Short: it goes on as if nothing was. Long: its daemon kills it."""
    pid = worker_of(lab.hosts[pick.node], pick.name())
    if pid:
        send_signal(pid, signal.SIGSTOP)
    try:
        yield pick.between(0.1, 3)
    finally:
        if pid:
            go_on(pid)


@contextlib.contextmanager
def daemon_killed(lab, pick):
    lab.hosts[pick.node].keeper.end(signal.SIGKILL, pick.between(0.1, 3))
    yield pick.between(0.1, 3)


@contextlib.contextmanager
def daemon_ended(lab, pick):
    """As an upgrade of the package does it."""
    lab.hosts[pick.node].keeper.end(signal.SIGTERM, pick.between(0.1, 1))
    yield pick.between(0.1, 1)


@contextlib.contextmanager
def daemon_stopped(lab, pick):
    """From 5 s on its watchdog ends it."""
    with lab.hosts[pick.node].keeper.may_end() as pid:
        if pid:
            send_signal(pid, signal.SIGSTOP)
        try:
            yield pick.between(0.2, 7)
        finally:
            if pid:
                go_on(pid)


# ---- the path ----

@contextlib.contextmanager
def dropped(lab, pick, seconds, *rules):
    firewall = rows.Firewall(lab.hosts[pick.node])
    try:
        firewall.drop(*rules)
        yield seconds
    finally:
        firewall.clear()


def path_dark(lab, pick):
    device = "wan" if pick.node == "edge" else "w0"
    return dropped(lab, pick, pick.between(0.1, 2), f"output oifname {device} drop",
                   f"input iifname {device} drop")


def path_lossy(lab, pick):
    device = "wan" if pick.node == "edge" else "w0"
    percent = int(pick.between(2, 20))
    return dropped(lab, pick, pick.between(5, 1), f"input iifname {device} "
                   f"numgen random mod 100 < {percent} drop")


def tunnel_dark(lab, pick):
    port = PORT + pick.tunnel
    out, back = ("dport", "sport") if pick.node == "edge" else ("sport", "dport")
    rules = [f"output tcp {out} {port} drop", f"input tcp {back} {port} drop"]
    return dropped(lab, pick, pick.between(0.5, 5), *rules[:pick.one_of([1, 2])])


@contextlib.contextmanager
def neighbours_flushed(lab, pick):
    lab.hosts[pick.node].run("ip", "neigh", "flush", "all", check=False)
    yield


@contextlib.contextmanager
def strangers(lab, pick):
    """They connect to a tunnel's port and say nothing."""
    seconds = pick.between(0.5, 4)
    crowd = lab.edge.start(LOAD, "strangers", "10.66.0.1", str(PORT + pick.tunnel), "300",
                           str(seconds), start_new_session=True)
    try:
        yield seconds
    finally:
        crowd.kill()
        crowd.wait()


# ---- what operators do ----

@contextlib.contextmanager
def reload(lab, pick):
    """Another file on both ends, and the first again."""
    lab.apply_everywhere(pick.one_of([[{"weight": 3}] + [{}] * (TUNNELS - 1), TUNNELS + 1,
                                     TUNNELS - 1]))
    try:
        yield
    finally:
        lab.apply_everywhere(TUNNELS)


@contextlib.contextmanager
def drain(lab, pick):
    host = lab.hosts[pick.node]
    ask(host, "drain", pick.name(), "--deadline", "500ms", seconds=8)
    try:
        yield pick.between(0, 2)
    finally:
        while ask(host, "undrain", pick.name()).returncode == 124:
            time.sleep(0.2)


# ---- what others do to the kernel ----

def taken_away(*variants):
    @contextlib.contextmanager
    def fault(lab, pick):
        host = lab.hosts[pick.node]
        for line in pick.one_of(variants).split(";"):
            words = line.format(tunnel=pick.name(), inner=host.inner4, inner6=host.inner6)
            host.run(*words.split(), check=False)
        yield
    return fault


routes_flushed = taken_away("ip -4 route flush table all proto 116",
                            "ip -6 route flush table all proto 116",
                            "ip -4 route flush table all proto 116;"
                            "ip -6 route flush table all proto 116")
nexthops_flushed = taken_away("ip nexthop flush")
rules_flushed = taken_away("ip -4 rule flush protocol 116;ip -6 rule flush protocol 116",
                           "ip -4 rule flush protocol 116")
link_down = taken_away("ip link set {tunnel} down")
link_deleted = taken_away("ip link del {tunnel}")
link_changed = taken_away("ip link set {tunnel} mtu 1300", "ip link set {tunnel} txqueuelen 7")
address_removed = taken_away("ip addr del {inner} dev lo", "ip addr del {inner6} dev lo",
                             "ip addr flush dev {tunnel}")
nft_flushed = taken_away("nft delete table inet tunorch", "nft flush table inet tunorch")
setting_changed = taken_away("sysctl -qw net.ipv4.conf.{tunnel}.rp_filter=1",
                             "sysctl -qw net.ipv4.fib_multipath_hash_policy=0",
                             "sysctl -qw net.ipv4.conf.{tunnel}.ignore_routes_with_linkdown=0")


# ---- what runs out ----

@contextlib.contextmanager
def clock_jump(lab, pick):
    """Of one host, which then makes a connection: certificates know when they are valid (from an
    hour before they were made, for a year)."""
    host = lab.hosts[pick.node]
    host.keeper.set_clock(pick.one_of([-3000, -7, 7, 3600, 30 * 86400]))
    try:
        kill_worker(host, pick.name())
        yield pick.between(0.5, 3)
    finally:
        host.keeper.set_clock(0)


@contextlib.contextmanager
def disk_full(lab, pick):
    """Of what the daemon writes to. Meanwhile a worker dies, and somebody applies a file."""
    host = lab.hosts[pick.node]
    filler = os.path.join(host.disk, "filler")
    try:
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        kill_worker(host, pick.name())
        ask(host, "apply", lab.file, "--timeout", "1s")
        yield pick.between(0.5, 3)
    finally:
        os.unlink(filler)


@contextlib.contextmanager
def limited(pid, kind, soft):
    """Left, the limit is what it was. By prlimit(1) under the process's own user: root may change
    another user's limits only with CAP_SYS_RESOURCE, which containers lack."""
    user = os.stat(f"/proc/{pid}").st_uid

    def prlimit(value):
        done = subprocess.run(
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "prlimit",
             f"--pid={pid}", f"--{kind}={value}:"], text=True, capture_output=True)
        assert done.returncode == 0 or "No such process" in done.stderr, done.stderr
    with open(f"/proc/{pid}/limits") as file:
        before = re.search(LIMITS[kind] + r" +(\S+)", file.read())[1]
    prlimit(soft)
    try:
        yield
    finally:
        prlimit(before)


def first_free_descriptor(pid):
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return next(number for number in range(1 << 20) if number not in used)


def size_of(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def daemon_without_descriptors(lab, pick):
    """Meanwhile clients ask it things, and a worker dies."""
    host = lab.hosts[pick.node]
    with contextlib.ExitStack() as limits:
        if pid := host.keeper.pid():
            limits.enter_context(limited(pid, "nofile", first_free_descriptor(pid)))
        kill_worker(host, pick.name())
        ask(host, "status", seconds=1)
        yield pick.between(0.5, 3)


@contextlib.contextmanager
def worker_without(lab, pick, kind, amount):
    """Meanwhile it has new connections to make: strangers are at a listener's door, and a dialer's
    peer dies."""
    host = lab.hosts[pick.node]
    with contextlib.ExitStack() as undo:
        if pid := worker_of(host, pick.name()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                undo.enter_context(limited(pid, kind, amount(pid)))
        if pick.node == "edge":
            kill_worker(host.peer, pick.name())
        yield undo.enter_context(strangers(lab, pick))


def worker_without_descriptors(lab, pick):
    return worker_without(lab, pick, "nofile", first_free_descriptor)


def worker_without_memory(lab, pick):
    """At the size it has: what it asks for beyond that it does not get, and may end."""
    return worker_without(lab, pick, "as", size_of)


@contextlib.contextmanager
def daemon_without_memory(lab, pick):
    """It may end, and is started again. Meanwhile a worker dies, so that it has something to do."""
    host = lab.hosts[pick.node]
    with contextlib.ExitStack() as undo:
        if pid := undo.enter_context(host.keeper.may_end()):
            undo.enter_context(limited(pid, "as", size_of(pid)))
        kill_worker(host, pick.name())
        yield pick.between(0.5, 3)


# By the name in the table.
FAULTS = {
    "worker killed": worker_killed,
    "all workers of a host killed": all_workers_killed,
    "worker stopped, 0.1 to 3 s": worker_stopped,
    "daemon killed, gone for 0.1 to 3 s": daemon_killed,
    "daemon ended and started": daemon_ended,
    "daemon stopped, 0.2 to 7 s": daemon_stopped,
    "path dark, 0.1 to 2 s": path_dark,
    "path loses 2 to 20 %, 1 to 5 s": path_lossy,
    "a tunnel's path dark, 0.5 to 5 s": tunnel_dark,
    "neighbours flushed": neighbours_flushed,
    "300 strangers at the door": strangers,
    "another file and back": reload,
    "drain and undrain": drain,
    "routes flushed": routes_flushed,
    "nexthops flushed": nexthops_flushed,
    "rules flushed": rules_flushed,
    "link set down": link_down,
    "link deleted": link_deleted,
    "MTU or queue changed": link_changed,
    "address removed": address_removed,
    "nftables table deleted": nft_flushed,
    "setting written over": setting_changed,
    "clock jumps and back": clock_jump,
    "disk full": disk_full,
    "daemon out of descriptors": daemon_without_descriptors,
    "worker out of descriptors": worker_without_descriptors,
    "worker out of memory": worker_without_memory,
    "daemon out of memory": daemon_without_memory,
}

if SANITIZED:  # their runtime ends what gets no memory, and asks a pipe what can be read as an object
    FAULTS = {kind: make for kind, make in FAULTS.items() if "out of" not in kind}

# Where only one host has what is to be broken.
ONLY_ON = {"rules flushed": "edge", "nftables table deleted": "gateway",
           "300 strangers at the door": "gateway"}

# A client that finds no daemon starts one, of which nobody here knows: these wait for each other.
APPLY = {"another file and back", "disk full"}
NO_DAEMON = {kind for kind in FAULTS if kind.startswith("daemon")} | APPLY


def may_meet(one, other):
    return one != other and not (one in APPLY and other in NO_DAEMON
                                 or other in APPLY and one in NO_DAEMON)


def rounds(seed, kinds=tuple(FAULTS)):
    """Without end: (seconds of calm, [(seconds after the one before it, Pick)]). Each kind once
    before any comes again; every fourth time two at once."""
    random_ = random.Random(seed)
    waiting = []

    def pick(kind):
        node = random_.choice(["gateway", "edge"])
        return Pick(kind, ONLY_ON.get(kind, node), random_.randrange(TUNNELS), random_.random(),
                    random_.randrange(60))

    while True:
        if not waiting:
            waiting = random_.sample(kinds, len(kinds))
        calm, together, later = random_.uniform(0.3, 2), random_.random() < 0.25, random_.random()
        both = [(0, pick(waiting.pop()))]
        partners = [kind for kind in waiting if may_meet(both[0][1].kind, kind)]
        if together and partners:
            waiting.remove(partners[-1])
            both.append((later, pick(partners[-1])))
        yield calm, both
