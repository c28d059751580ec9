"""What must hold all along a soak run: the routes are as planned after each fault, no tunnel that
is dead stays among them, there is one process a tunnel, none leaks, and none says what it must
not."""

import collections
import contextlib
import os
import re
import threading
import time

from hosts import TUNNELS, WORKER, ask, status, workers
from lab import EDGE, GATEWAY, SANITIZED

DEAD_MEMBER_S = 8       # a tunnel known to be dead is out of the routes after so long
WARM_UP_S = 20          # of a process, before what it holds is compared
SERIES_S = 60           # a shorter life says nothing of a leak
GROWTH_KIB = 8192       # of one process in its life; buffers and arenas grow to what load needs
MORE_DESCRIPTORS = 4    # than at its first quiet moment

NEVER_SAID = re.compile(r"AddressSanitizer|ThreadSanitizer|runtime error:|internal error|"
                        r"terminate called|Assertion|Segmentation fault|"
                        r"killed by signal (4|6|7|8|11) ")
SAID_WITHOUT_MEMORY = re.compile(r"terminate called|killed by signal 6 |bad_alloc")

Sample = collections.namedtuple("Sample", "when rss_kib descriptors threads")


def sample(pid):
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return Sample(time.monotonic(), int(fields["VmRSS"].split()[0]),
                  len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"]))


def namespace(pid):
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    return None


def processes():
    """(pid, parent, state) of all."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
            yield int(pid), int(parent), state


def state_of(pid):
    """As proc(5) writes it; Z where there is none."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    return "Z"


def worker_processes(host):
    """Of a host's network namespace, whether or not its daemon knows them."""
    ours = os.stat(f"/run/netns/{host.ns}").st_ino
    found = set()
    for pid, _, state in processes():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/exe") == WORKER and state != "Z" and \
                    namespace(pid) == ours:
                found.add(pid)
    return found


def names(count):
    return [f"backbone-{k}" for k in range(count)]


def not_as_planned(host, file, count=TUNNELS):
    """The first thing that is not as it should be when nothing is broken; None: all is well."""
    bundle = status(host)
    if bundle is None:
        return f"{host.node}: the daemon does not answer"
    for tunnel in bundle["tunnels"]:
        if (tunnel["worker"], tunnel["health"], tunnel["drain"]) != ("running", "up", "no"):
            return (f"{host.node}: {tunnel['name']} is {tunnel['worker']}, {tunnel['health']}, "
                    f"drain {tunnel['drain']}: {tunnel['reason']}")
    carrying = sorted(bundle["peers"][0]["carrying"])
    if carrying != names(count):
        return f"{host.node}: traffic is carried by {carrying}"
    pids = {tunnel["pid"] for tunnel in bundle["tunnels"]}
    if worker_processes(host) != pids:
        return f"{host.node}: workers {worker_processes(host)}, and the daemon knows {pids}"
    for address, family in ((host.peer.inner4, "-4"), (host.peer.inner6, "-6")):
        if (devices := host.route_devices(address, family)) != names(count):
            return f"{host.node}: the kernel's route to {address} is through {devices}"
    planned = ask(host, "plan", file)
    if planned.returncode != 0:
        return f"{host.node}: a plan is not empty: {planned.stdout}{planned.stderr}"
    return None


def growth_kib(series):
    """By least squares over a process's life: (growth, seconds); None: it was too short."""
    points = [(one.when - series[0].when, one.rss_kib) for one in series
              if one.when - series[0].when > WARM_UP_S]
    if not points or points[-1][0] - points[0][0] < SERIES_S:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    lasted = points[-1][0] - points[0][0]
    return slope * lasted, lasted


class Watch(threading.Thread):
    """Looks at both hosts every second, and keeps their daemons running."""

    def __init__(self, lab):
        super().__init__(daemon=True)
        self.lab = lab
        self.over = threading.Event()
        self.violations = []
        self.series = collections.defaultdict(list)  # (node, "daemon" or "worker", pid): Samples
        self.quiet = collections.defaultdict(list)   # the same, with nothing broken
        self.dead_since = {}                         # (node, tunnel): when
        self.zombies = collections.defaultdict(set)   # node: pids at the last look
        self.read_logs = collections.defaultdict(int)

    def violated(self, words):
        if words not in self.violations:
            self.violations.append(words)

    def run(self):
        looked = 0
        while not self.over.wait(0.1):
            for host in self.lab.hosts.values():
                host.keeper.keep()
            if time.monotonic() - looked < 1:
                continue
            looked = time.monotonic()
            for host in self.lab.hosts.values():
                with contextlib.suppress(OSError, KeyError, ValueError):
                    self.look(host)

    def end(self):
        self.over.set()
        self.join()

    def look(self, host):
        for role, pid in self.processes_of(host):
            with contextlib.suppress(OSError, KeyError):
                self.series[host.node, role, pid].append(sample(pid))
        bundle = status(host, seconds=2)
        # One that does not answer, perhaps because it is stopped, takes leave of no child either.
        zombies = {pid for pid, parent, state in processes()
                   if state == "Z" and parent == host.keeper.pid() and bundle}
        for pid in zombies & self.zombies[host.node]:
            self.violated(f"{host.node}: zombie {pid} of the daemon")
        self.zombies[host.node] = zombies
        for pid, code in host.keeper.ends:
            self.violated(f"{host.node}: daemon {pid} ended by itself with {code}")
        self.look_for_dead_members(host, bundle)

    def processes_of(self, host):
        if pid := host.keeper.pid():
            yield "daemon", pid
        for pid in workers(host).values():
            yield "worker", pid

    def look_for_dead_members(self, host, bundle):
        if bundle is None:
            self.dead_since = {key: when for key, when in self.dead_since.items()
                               if key[0] != host.node}
            return
        live = bundle["peers"][0]["live_tunnels"]
        devices = host.route_devices(host.peer.inner4)
        running = {name for name, pid in workers(host).items() if state_of(pid) not in "TZ"}
        dead = {tunnel["name"] for tunnel in bundle["tunnels"]
                if tunnel["name"] not in running or tunnel["name"] not in live}
        for tunnel in names(TUNNELS + 1):
            key = host.node, tunnel
            # The last one stays where probes alone are against it.
            if tunnel not in dead or devices in ([], [tunnel]) or tunnel not in devices:
                self.dead_since.pop(key, None)
            elif time.monotonic() - self.dead_since.setdefault(key, time.monotonic()) > \
                    DEAD_MEMBER_S:
                self.violated(f"{host.node}: {tunnel} is dead for {DEAD_MEMBER_S} s and carries")

    def quiet_moment(self):
        """Nothing is broken: what each process holds can be compared."""
        for host in self.lab.hosts.values():
            for role, pid in self.processes_of(host):
                with contextlib.suppress(OSError, KeyError):
                    self.quiet[host.node, role, pid].append(sample(pid))

    def read_log(self, kinds):
        """What daemons and workers said since the last time, while `kinds` of faults were made."""
        for host in self.lab.hosts.values():
            log = host.log()
            news, self.read_logs[host.node] = log[self.read_logs[host.node]:], len(log)
            excused = any("memory" in kind for kind in kinds)
            for line in news.splitlines():
                if NEVER_SAID.search(line) and not (excused and SAID_WITHOUT_MEMORY.search(line)):
                    self.violated(f"{host.node}: said: {line[:300]}")

    # ---- at the end ----

    def leaks(self):
        """[{role, hours, kib_an_hour, most_kib, descriptors, threads}], and violations noted."""
        table = []
        for role in ("daemon", "worker"):
            grown = {key: growth for key, one in self.series.items() if key[1] == role
                     and (growth := growth_kib(one))}
            hours = sum(seconds for _, seconds in grown.values()) / 3600
            for (node, _, pid), (kib, seconds) in grown.items():
                if kib > GROWTH_KIB and not SANITIZED:  # whose runtime keeps what was freed
                    self.violated(f"{node}: {role} {pid} grew by {kib:.0f} KiB in {seconds:.0f} s")
            more = {"descriptors": 0, "threads": 0}
            for (node, own_role, pid), one in self.quiet.items():
                if own_role != role or len(one) < 3:
                    continue
                for what in more:
                    now = min(getattr(last, what) for last in one[-2:])
                    more[what] = max(more[what], now - getattr(one[0], what))
                    if now > getattr(one[0], what) + MORE_DESCRIPTORS:
                        self.violated(f"{node}: {role} {pid} has {now} {what}, and had "
                                      f"{getattr(one[0], what)}")
            table.append({"role": role, "count": len(grown), "hours": hours, **more,
                          "kib_an_hour": sum(kib for kib, _ in grown.values()) / hours
                          if hours else 0,
                          "most_kib": max([kib for kib, _ in grown.values()] + [0])})
        return table


def residue(before, after, node):
    """Lines that differ between two dumps of a host."""
    return [f"{node}: {name}: {sign} {line}" for name in before
            for sign, lines, others in (("left", after, before), ("gone", before, after))
            for line in lines[name] if line not in others[name]]
