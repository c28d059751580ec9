"""The two hosts of a soak run: a lab whose daemons are kept running as systemd would, with their
files on a small disk of their own and a clock that can be moved.

        gateway                         edge
     ┌────────────┐  10.66.0.0/24  ┌────────────┐
     │ 10.77.0.1  ├────────────────┤ 10.77.0.2  │   four tunnels; all of the edge's traffic goes
     └────────────┘.1            .2└────────────┘   through them (a /0, so there are rules and NAT)
"""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import threading
import time

from lab import BIN, TUNORCH, Lab, cluster, wait_for

WORKER = os.path.join(BIN, "tunorch-worker")
TUNNELS = 4
DISK_KIB = 1024
# Pauses that do not grow, or the run would wait instead of breaking more.
PATIENT = {"restart": {"backoff": "200ms", "max_backoff": "1s", "quarantine_after": 1000},
           "health": {"damping": "0s", "slow_start": "1s"}}


def spec_with(tunnels):
    spec = cluster(tunnels=tunnels, **PATIENT)
    spec["nodes"]["gateway"].update(subnets=["0.0.0.0/0", "::/0"], masquerade="w0")
    spec["tuning"] = {"sysctl": {"net.ipv4.tcp_fin_timeout": "30"}}
    return spec


class Keeper:
    """Starts a host's daemon again when it ended, as its unit would."""

    def __init__(self, host):
        self.host = host
        self.log_path = os.path.join(host.lab.dir, f"{host.node}.log")
        self.clock_path = os.path.join(host.lab.dir, f"{host.node}.clock")
        self.lock = threading.RLock()
        self.process = None
        self.start_at = None      # when to start it again; None: nobody keeps it
        self.expected = set()     # pids whose end is somebody's fault
        self.ends = []            # (pid, return code) of all others
        open(self.log_path, "w").close()
        self.set_clock(0)

    def set_clock(self, seconds):
        """What CLOCK_REALTIME of the daemon and its workers is ahead by."""
        with open(self.clock_path, "r+b" if os.path.exists(self.clock_path) else "wb") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))

    def start(self):
        with self.lock, open(self.log_path, "a") as log:
            preload = os.path.join(BIN, "soak_realtime.so")
            self.process = self.host.start(
                "env", f"LD_PRELOAD={preload}", f"SOAK_CLOCK={self.clock_path}", TUNORCH, "daemon",
                *self.host.options(), stdout=log, stderr=log, start_new_session=True)
            self.start_at = time.monotonic()

    def pid(self):
        with self.lock:
            alive = self.process is not None and self.process.poll() is None
            return self.process.pid if alive else None

    def end(self, sig, pause):
        """The daemon's end, for `pause` seconds."""
        with self.lock:
            pid = self.pid()
            if pid is None:
                return
            self.expected.add(pid)
            self.start_at = time.monotonic() + pause
            os.kill(pid, sig)

    @contextlib.contextmanager
    def may_end(self):
        """The daemon's pid; that it ends meanwhile is no failure."""
        pid = self.pid()
        self.expected.add(pid)
        try:
            yield pid
        finally:
            if pid == self.pid():
                self.expected.discard(pid)

    def keep(self):
        with self.lock:
            if self.start_at is None or self.process.poll() is None:
                return
            if self.process.pid not in self.expected:
                self.ends.append((self.process.pid, self.process.returncode))
                self.expected.add(self.process.pid)
            if time.monotonic() >= self.start_at:
                self.start()
                self.start_at += 0.5  # not more often than twice a second

    def log(self):
        with open(self.log_path) as log:
            return log.read()

    def let_go(self):
        with self.lock:
            self.start_at = None


class SoakLab(Lab):
    def __init__(self):
        self.mounted = []
        super().__init__(spec=spec_with(TUNNELS))
        for host in self.hosts.values():
            disk = os.path.join(self.dir, f"disk-{host.node}")
            os.mkdir(disk)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k,mode=711", "soak",
                            disk], check=True)
            self.mounted.append(disk)
            host.disk = disk
            host.runtime = os.path.join(disk, "run")
            host.state = os.path.join(disk, "state")
            host.keeper = Keeper(host)
            host.log = host.keeper.log
            nodes = spec_with(TUNNELS)["nodes"]
            host.inner4, host.inner6 = nodes[host.node]["inner"]
        self.gateway.peer, self.edge.peer = self.edge, self.gateway
        # A program under AddressSanitizer wants to be the first that is loaded.
        os.environ["ASAN_OPTIONS"] += ":verify_asan_link_order=0"

    def start(self):
        for host in self.hosts.values():
            host.keeper.start()
            wait_for("the daemon answers", lambda: ask(host, "status").stdout)
        self.apply_everywhere(TUNNELS)

    def apply_everywhere(self, tunnels, seconds=60):
        """The same file on both, however long that takes; False where it did not come about."""
        self.write(spec_with(tunnels))
        end = time.monotonic() + seconds
        left = [self.gateway, self.edge]
        while left and time.monotonic() < end:
            left = [host for host in left if ask(host, "apply", self.file, "--timeout", "5s",
                                                 seconds=15).returncode != 0]
        return not left

    def close(self):
        for host in self.hosts.values():
            if hasattr(host, "keeper"):
                host.keeper.let_go()
        try:
            super().close()
        finally:
            for disk in self.mounted:
                subprocess.run(["umount", "-l", disk])
            shutil.rmtree(self.dir, ignore_errors=True)


class Silent:
    """What a client is said to have answered that never did."""
    returncode, stdout, stderr = 124, "", "no answer"


def ask(host, *words, seconds=5):
    """A client's call, which may fail or hang."""
    try:
        return host.run(TUNORCH, *words, *host.options(), check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Silent


def status(host, seconds=5):
    """None: the daemon does not answer, or has a problem."""
    done = ask(host, "status", "--json", seconds=seconds)
    with contextlib.suppress(json.JSONDecodeError, IndexError, KeyError):
        return json.loads(done.stdout)["bundles"][0] if done.returncode == 0 else None
    return None


def workers(host):
    """{tunnel: pid} of the workers that live, with or without a daemon to ask."""
    living = set(host.left_workers())
    found = {}
    folder = os.path.join(host.runtime, "w")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        tunnel, extension = os.path.splitext(name)
        if extension != ".process":
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(os.path.join(folder, name)) as file:
                pid = int(file.read().split()[0])
            if pid in living:
                found[tunnel] = pid
    return found


def send_signal(pid, sig):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def go_on(pid):
    send_signal(pid, signal.SIGCONT)
