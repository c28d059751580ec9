"""Hosts for tests: network namespaces joined by veth, each with its own runtime and state folder.

        gateway                         edge
     ┌────────────┐  10.66.0.0/24  ┌────────────┐
     │ inner      │.1            .2│ inner      │
     │ 10.77.0.1  ├────────────────┤ 10.77.0.2  │
     │ fd77::1    │                │ fd77::2    │
     └─────┬──────┘                └────────────┘
         .1│ 10.66.1.0/24          branch (where a test asks for it)
           │                   .2┌────────────┐
           └─────────────────────┤ 10.77.0.3  │
                                 └────────────┘

Whatever a lab makes it takes away again, also when a test fails or is interrupted. It ends only
processes it started or that its own hosts' daemons started.
"""

import contextlib
import copy
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.abspath(os.environ.get("TUNORCH_BIN", os.path.join(HERE, "../../build/bin")))
TUNORCH = os.path.join(BIN, "tunorch")
FLOWS = os.path.join(BIN, "flows")
PATH = os.path.join(BIN, "path")
os.environ["PATH"] += ":" + os.path.abspath(os.path.join(HERE, "../../build/tools"))  # of ./dev
GATEWAY, EDGE = "10.77.0.1", "10.77.0.2"
SANITIZED = False  # then several times slower and larger: their figures are not the product's
with contextlib.suppress(FileNotFoundError):  # not built yet: --help does without
    with open(os.path.join(BIN, "tunorch-worker"), "rb") as worker_program:
        SANITIZED = re.search(rb"__[at]san_init", worker_program.read()) is not None
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: the terminal is gone

LATE_MS = 100  # a generator that sends this late is not scheduled
CARRIED = {}

# LeakSanitizer of a thread that was just ending, or under strace; nothing of one killed meanwhile.
LEAKS_NOT_LOOKED_FOR = (r"(==\d+==(Unable to get registers from thread \d+\.|HINT: .*|"
                        r"LeakSanitizer has encountered a fatal error\.)\s*)*")

CLUSTER = {
    "cluster": "demo",
    "nodes": {
        "gateway": {"endpoint": "10.66.0.1", "inner": ["10.77.0.1/32", "fd77::1/128"]},
        "edge": {"inner": ["10.77.0.2/32", "fd77::2/128"]},
    },
    "bundles": {"backbone": {"listen": "gateway", "dial": ["edge"], "tunnels": 4}},
}


def cluster(**bundle):
    """The lab's cluster with other keys in its bundle."""
    changed = copy.deepcopy(CLUSTER)
    changed["bundles"]["backbone"].update(bundle)
    return changed


def need_root_and_tun():
    if os.geteuid() == 0 and os.path.exists("/dev/net/tun"):
        return
    reason = "needs root and /dev/net/tun: it makes network namespaces and tunnels"
    if os.environ.get("CI") == "true":
        raise RuntimeError(reason)
    raise unittest.SkipTest(reason)


def wait_for(what, condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Host:
    def __init__(self, lab, node):
        self.lab = lab
        self.node = node
        self.ns = f"{os.path.basename(lab.dir)}-{node}"
        self.runtime = os.path.join(lab.dir, node)
        self.state = os.path.join(lab.dir, "state")
        self.started = []
        subprocess.run(["ip", "netns", "add", self.ns], check=True)
        self.ip("link", "set", "lo", "up")

    def ip(self, *args):
        subprocess.run(["ip", "-n", self.ns, *args], check=True)

    def command(self, *args):
        return ["ip", "netns", "exec", self.ns, *args]

    def run(self, *args, check=True, timeout=60):
        done = subprocess.run(self.command(*args), text=True, capture_output=True, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.node}: {' '.join(args)}: {done.stdout}{done.stderr}")
        return done

    def start(self, *args, **kwargs):
        process = subprocess.Popen(self.command(*args), text=True, **kwargs)
        self.started.append(process)
        return process

    def options(self):
        return ["--node", self.node, "--runtime-dir", self.runtime,
                "--state-dir", self.state]

    def tunorch(self, *args, check=True):
        return self.run(TUNORCH, *args, *self.options(), check=check)

    def apply(self, *args, check=True):
        return self.tunorch("apply", self.lab.file, "--timeout", "20s", *args, check=check)

    def start_daemon(self):
        """In the background, as systemd would."""
        with open(os.path.join(self.runtime, "daemon.log"), "a") as log:
            return self.start(TUNORCH, "daemon", *self.options(), stdout=log, stderr=log)

    def events(self):
        lines = self.tunorch("events", "--json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def status(self, check=True):
        return json.loads(self.tunorch("status", "--json", check=check).stdout)

    def bundle(self):
        return self.status()["bundles"][0]

    def tunnel(self, name):
        return next(t for t in self.bundle()["tunnels"] if t["name"] == name)

    def worker_pids(self):
        return {t["name"]: t["pid"] for t in self.bundle()["tunnels"]}

    def kill_worker(self, name):
        pid = self.tunnel(name)["pid"]
        assert pid > 0, f"{name} has no worker now"
        os.kill(pid, signal.SIGKILL)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            with open(os.path.join(self.runtime, "daemon.log")) as log:
                return log.read()
        return ""

    def daemon_pid(self, *programs):
        """The process of ours whose command line is this host's daemon."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline") as file:
                    words = file.read().split("\0")
                if (words[0] in (programs or (TUNORCH,)) and words[1:2] == ["daemon"] and
                        self.runtime in words):
                    return int(pid)
        return None

    def routes(self, prefix, family="-4"):
        done = self.run("ip", family, "-j", "route", "show", prefix, "proto", "116")
        return json.loads(done.stdout or "[]")

    def route_devices(self, prefix, family="-4"):
        """Devices of the prefix's unicast route."""
        for route in self.routes(prefix, family):
            if route.get("type", "unicast") == "unicast":
                hops = route.get("nexthops", [route])
                return sorted(hop["dev"] for hop in hops)
        return []

    def live(self):
        return self.bundle()["live"]

    def left_workers(self):
        """Workers of this host (and its page's process) that still run: what *.process names, as long
        as the pid is still the process that was meant."""
        for path in (*glob.glob(os.path.join(self.runtime, "w", "*.process")),
                     os.path.join(self.runtime, "web.process")):
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(path) as file:
                    pid, started = file.read().split()[:2]
                with open(f"/proc/{pid}/stat") as file:
                    if file.read().rpartition(")")[2].split()[19] == started:
                        yield int(pid)

    def close(self):
        if os.path.isdir(self.runtime):
            # A daemon or a down that hangs is not to keep the rest from being cleaned up.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.tunorch("down", check=False)
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        for pid in [self.daemon_pid(), *self.left_workers()]:
            with contextlib.suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.ns])


class Lab:
    """`path`: what lies between gateway and edge instead of a veth, as words for tests/netns/path.cpp
    ("delay=20 loss=1")."""

    def __init__(self, nodes=("gateway", "edge"), spec=None, path=None):
        need_root_and_tun()
        self.dir = tempfile.mkdtemp(prefix="tn-")
        self.collect_sanitizer_reports()
        self.file = os.path.join(self.dir, "cluster.yaml")
        self.hosts = {}
        for sig in INTERRUPTIONS:
            signal.signal(sig, lambda *_: sys.exit(1))
        try:
            for node in nodes:
                self.hosts[node] = Host(self, node)
            for number, node in enumerate(nodes[1:]):
                self.wire(node, number, path if number == 0 else None)
            self.write(spec or CLUSTER)
            subprocess.run([TUNORCH, "pki", "init", self.file], check=True, capture_output=True)
        except BaseException:
            self.close()
            raise

    def wire(self, node, number, path):
        gateway, other = self.hosts["gateway"], self.hosts[node]
        if path:
            self.path = subprocess.Popen(
                [PATH, gateway.ns, f"w{number}", other.ns, "wan", *path.split()], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            gateway.started.append(self.path)
            assert self.path.stdout.readline() == "ready\n", "the path is not there"
        else:
            subprocess.run(["ip", "link", "add", f"w{number}", "netns", gateway.ns, "type", "veth",
                            "peer", "name", "wan", "netns", other.ns], check=True)
        for host, dev, last in ((gateway, f"w{number}", 1), (other, "wan", 2)):
            # No link-local address: it would come up some time later, in the middle of a test.
            host.ip("link", "set", dev, "addrgenmode", "none")
            host.ip("addr", "add", f"10.66.{number}.{last}/24", "dev", dev)
            host.ip("link", "set", dev, "up")
        for host, dev in ((gateway, f"w{number}"), (other, "wan")):
            wait_for(f"{dev} is up", lambda: "LOWER_UP" in host.run("ip", "link", "show", dev).stdout)
        if number > 0:
            other.ip("route", "add", "10.66.0.0/24", "via", f"10.66.{number}.1")

    def write(self, spec):
        with open(self.file, "w") as file:
            json.dump(spec, file, indent=2)  # JSON is YAML

    def __getattr__(self, name):
        try:
            return self.__dict__["hosts"][name]
        except KeyError:
            raise AttributeError(name) from None

    def up(self):
        self.gateway.apply()
        for node, host in self.hosts.items():
            if node != "gateway":
                host.apply()

    def close(self):
        for sig in INTERRUPTIONS:
            signal.signal(sig, signal.SIG_IGN)  # a second Ctrl-C is not to leave half of it
        reports = [line for host in self.hosts.values() for line in host.log().splitlines()
                   if re.search(r"Segmentation fault|Aborted|Bus error|Illegal instr", line)]
        for host in self.hosts.values():
            with contextlib.suppress(Exception):
                host.close()
        for name in os.listdir(self.reports):
            with open(os.path.join(self.reports, name)) as report:
                text = report.read()
            if not re.fullmatch(LEAKS_NOT_LOOKED_FOR, text):
                reports.append(text)
        shutil.rmtree(self.dir, ignore_errors=True)
        if reports:
            raise AssertionError("crashes and sanitizer reports:\n" + "\n".join(reports))

    def collect_sanitizer_reports(self):
        """Daemons and workers of a sanitizer build write here; any word of theirs is a failure."""
        self.reports = os.path.join(self.dir, "reports")
        os.mkdir(self.reports)
        os.chmod(self.dir, 0o711)
        os.chmod(self.reports, 0o1777)  # workers are not root
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            os.environ[name] = f"log_path={self.reports}/report:print_stacktrace=1"


class LabTest(unittest.TestCase):
    """A fresh lab for each test."""

    nodes = ("gateway", "edge")
    spec = None
    path = None

    def setUp(self):
        self.lab = Lab(self.nodes, self.spec, self.path)
        self.addCleanup(self.lab.close)
        self.gateway = self.lab.gateway
        self.edge = self.lab.edge

    def start_iperf(self, seconds, *options):
        """From the edge to the gateway."""
        server = self.gateway.start("iperf3", "-s", "-1", "-p", "5201", stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        client = self.edge.start("iperf3", "-c", GATEWAY, "-p", "5201", "-t", str(seconds), "-J",
                                 *options, stdout=subprocess.PIPE)
        return server, client

    def end_iperf(self, running):
        server, client = running
        report = json.loads(client.communicate(timeout=90)[0])
        server.wait(timeout=10)
        self.assertIsNone(report.get("error"), "iperf3")
        return report

    def assert_reaches(self, host, address):
        done = host.run("ping", "-c", "3", "-i", "0.2", "-W", "1", address, check=False)
        self.assertIn(" 0% packet loss", done.stdout, f"{host.node} to {address}")

    def assert_does_not_reach(self, host, address):
        done = host.run("ping", "-c", "2", "-i", "0.2", "-W", "1", address, check=False)
        self.assertNotIn(" 0% packet loss", done.stdout, f"{host.node} to {address}")

    def fails_with(self, done, *patterns):
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, 1, output)
        for pattern in patterns:
            self.assertRegex(output, pattern)
        return output


class Flows:
    """Numbered packets from one host to another while something happens; through sanitized workers
    no more than they carry beside all else."""

    def __init__(self, source, sink, address, flows, pps, seconds, port=5000, echo=True, wrap=()):
        self.pps = min(pps, 4000) if SANITIZED else pps
        self.sink = sink.start(*wrap, FLOWS, "recv", address, str(port), str(seconds + 15),
                               *(["echo"] if echo else []), stdout=subprocess.PIPE)
        time.sleep(0.3)
        self.source = source.start(*wrap, FLOWS, "send", address, str(port), str(flows), str(self.pps),
                                   str(seconds), stdout=subprocess.PIPE)
        self.flows = flows

    def finish(self):
        """(what the sink counted, what the source counted of echoes)"""
        sent = json.loads(self.source.communicate(timeout=120)[0])
        got = json.loads(self.sink.communicate(timeout=120)[0])
        got["lost"] = sent["sent"] - got["packets"]
        sent["lost_on_return"] = got["packets"] - sent["packets"]
        # Why the run says nothing about what it measures; empty: it does.
        overflowed = got["overflowed"] + sent["overflowed"]
        self.void = (f"the generator's own sockets had no room for {overflowed} packets" if overflowed else
                     f"the generator was {sent['latest_ms']:.0f} ms late" if sent["latest_ms"] > LATE_MS else "")
        return got, sent


def carried_pps(source, sink, address, flows, pps, **options):
    """Half of what this machine carries without a fault, in packets per second, and at most `pps`. It is
    measured once for each kind of load."""
    key = (flows, pps, repr(sorted(options.items())))
    if SANITIZED or key in CARRIED:
        return CARRIED.get(key, pps)
    for halved in range(8):
        rate = int(2 * pps / 2 ** halved)
        control = Flows(source, sink, address, flows, rate, 1, port=5900 + halved, **options)
        got, sent = control.finish()
        lost = got["lost"] + (sent["lost_on_return"] if options.get("echo", True) else 0)
        if not control.void and lost == 0 and sent["not_sent"] == 0:
            CARRIED[key] = min(pps, rate // 2)
            if CARRIED[key] < pps:
                print(f"this machine carries {rate} packets per second without a fault; the test takes "
                      f"{CARRIED[key]}")
            return CARRIED[key]
    raise AssertionError(f"without any fault this machine loses packets at {rate} per second")


def unless_void(measure, tries=3):
    """What `measure` returns, of the first run that is not void, else of the last one."""
    for _ in range(tries):
        result = measure()
        if not result["void"]:
            break
        print(f"void: {result['void']}")
    return result


def netlink_writes(trace):
    """What a strace shows being sent that changes the kernel: rtnetlink and nf_tables NEW, DEL and
    SET messages. (What is received has RTM_NEW types too: answers to dumps.)"""
    sent = [line for line in trace.splitlines() if re.search(r"\bsend(to|msg|mmsg)\(", line)]
    return re.findall(r"RTM_(?:NEW|DEL|SET)\w+|NFT_MSG_(?:NEW|DEL)\w+", "\n".join(sent))
