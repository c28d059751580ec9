"""What docs/runbook.md says is typed, on hosts that are brought into what it says is seen, and has to exit
and print as it says. A symptom that has no maker here is typed on healthy hosts."""

import os
import signal
import subprocess
import unittest
from dataclasses import dataclass
from typing import Callable

import runbook
import test_trust
from lab import SANITIZED, Lab, cluster, wait_for

PATIENCE = 60 if SANITIZED else 15  # seconds until what is promised has to be there


@dataclass
class Symptom:
    make: Callable = lambda lab: None
    spec: dict = None
    nodes: tuple = ("gateway", "edge")
    path: str = None
    applied: bool = True  # before it is made


def kill_daemon(lab):
    os.kill(lab.edge.daemon_pid(), signal.SIGKILL)
    wait_for("it is dead", lambda: not lab.edge.daemon_pid())


def make_unloadable(lab):
    os.chmod(os.path.join(lab.dir, "pki/edge.key"), 0o644)
    kill_daemon(lab)
    lab.edge.start_daemon()
    wait_for("it says so", lambda: "problem" in lab.edge.tunorch("status", check=False).stdout or
             "cannot load" in lab.edge.tunorch("status", check=False).stdout)


def take_port(lab):
    program = lab.gateway.start("python3", "-c", "import socket, time; s = socket.create_server(('', 4431)); "
                                "print('ready', flush=True); time.sleep(600)", stdout=subprocess.PIPE)
    assert program.stdout.readline() == "ready\n"
    program.stdout.close()


def take_name(lab):
    lab.edge.ip("link", "add", "backbone-2", "type", "veth", "peer", "name", "other")


def take_route(lab):
    lab.edge.ip("route", "replace", "10.77.0.1/32", "via", "10.66.0.1")
    wait_for("it is noticed", lambda: lab.edge.status().get("conflicts"))


def down(node):
    return lambda lab: lab.hosts[node].tunorch("down")


def make_dark(what, tunnels):
    """The edge's firewall drops it, until as many tunnels are down."""
    def make(lab):
        lab.edge.run("nft", "add table inet dark; "
                     "add chain inet dark out { type filter hook output priority 0; }; "
                     f"add rule inet dark out {what} drop")
        wait_for("tunnels are down", lambda: sum(
            tunnel["health"] == "down" for tunnel in lab.edge.bundle()["tunnels"]) == tunnels)
    return make


def kill_worker(times=1, then=None):
    def make(lab):
        for _ in range(times):
            wait_for("it is up", lambda: lab.edge.tunnel("backbone-1")["health"] == "up")
            before = ended(lab)
            lab.edge.kill_worker("backbone-1")
            wait_for("it is noticed", lambda: ended(lab) > before)
        if then:
            wait_for(then, lambda: lab.edge.tunnel("backbone-1")["worker"] == then)
    return make


def ended(lab):
    return sum(event["event"] == "worker_ended" for event in lab.edge.events())


def stop_worker(lab):
    os.kill(lab.edge.tunnel("backbone-1")["pid"], signal.SIGSTOP)


def send_from_elsewhere(lab):
    lab.edge.ip("address", "add", "10.99.9.9/32", "dev", "lo")
    lab.edge.run("ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.99.9.9", "10.77.0.1", check=False)


def jumbo(lab):
    lab.edge.ip("link", "set", "wan", "mtu", "9000")


def jumbo_behind_a_router(lab):
    lab.gateway.ip("address", "add", "10.99.0.1/32", "dev", "lo")
    lab.edge.ip("route", "add", "10.99.0.0/24", "via", "10.66.0.1")
    lab.up()
    jumbo(lab)


def certificate_of(days, applied):
    def make(lab):
        expiry = test_trust.Expiry()
        expiry.lab = lab
        expiry.sign(days)
        if applied:
            lab.edge.apply()
    return make


def revoke(lab):
    lab.gateway.tunorch("pki", "revoke", lab.file, "edge")
    lab.gateway.tunorch("apply", lab.file, "--timeout", "1s", check=False)
    wait_for("it is refused", lambda: any(event["event"] == "refused" for event in lab.gateway.events()))


def open_key(lab):
    os.chmod(os.path.join(lab.dir, "pki/edge.key"), 0o644)


def other_file_on_the_gateway(lab):
    old = cluster()
    old["nodes"]["edge"]["inner"] = ["10.77.0.9/32"]
    lab.write(old)
    lab.gateway.apply()
    lab.write(cluster())
    lab.edge.tunorch("apply", lab.file, "--timeout", "1s", check=False)


def write_wrong_file(lab):
    with open(lab.file) as file:
        text = file.read()
    with open(os.path.join(lab.dir, "new.yaml"), "w") as file:
        file.write(text.replace('"tunnels": 4', '"tunnels": 400, "cypher": "aes"'))


def flush(lab):
    lab.edge.run("ip", "nexthop", "flush", "proto", "116", check=False)  # it races with who heals
    wait_for("it is noticed", lambda: any(event["event"] == "healed" for event in lab.edge.events()))


def fail_over_to_the_backup(lab):
    make_dark("tcp dport {4430, 4431}", 2)(lab)
    lab.edge.run("nft", "delete", "table", "inet", "dark")
    wait_for("they are back", lambda: lab.edge.live() == 3, 30)


def with_endpoint(address):
    spec = cluster()
    spec["nodes"]["gateway"]["endpoint"] = address
    return spec


def with_branch():
    spec = cluster(dial=["edge", "branch"])
    spec["nodes"]["branch"] = {"inner": ["10.77.0.3/32"]}
    return spec


def with_metrics():
    spec = cluster()
    spec["metrics"] = "127.0.0.1:9810"
    return spec


def take_web_port(lab):
    lab.edge.start("python3", "-m", "http.server", "--bind", "127.0.0.1", "9810", stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    wait_for("it is taken", lambda: lab.edge.run("ss", "-Hltn", "sport = :9810").stdout)
    lab.up()


SYMPTOMS = {
    "No metrics arrive": Symptom(lambda lab: None, with_metrics()),
    "Metrics and page cannot listen": Symptom(take_web_port, with_metrics(), applied=False),
    "The daemon is gone": Symptom(kill_daemon),
    "What was applied last cannot be loaded": Symptom(make_unloadable),
    "Apply fails": Symptom(take_port, applied=False),
    "Apply says `nothing was changed`": Symptom(
        lambda lab: (lab.gateway.apply(), take_name(lab)), applied=False),
    "Status says `in the way`": Symptom(take_route),
    "Nothing gets through": Symptom(down("gateway")),
    "Every tunnel says `PINGs unanswered`": Symptom(make_dark("oifname wan", 4)),
    "The bundle is degraded": Symptom(kill_worker(1, "backoff"), cluster(restart={"backoff": "3s"})),
    "One tunnel is down and stays down": Symptom(make_dark("tcp dport 4432", 1)),
    "One peer cannot be reached": Symptom(down("branch"), with_branch(), ("gateway", "edge", "branch")),
    "A worker is quarantined": Symptom(
        kill_worker(1, "quarantined"), cluster(restart={"quarantine_after": 1})),
    "A worker restarts again and again": Symptom(kill_worker(2)),
    "A worker hangs": Symptom(stop_worker),
    "Tunnels go out and come back all the time": Symptom(kill_worker(2), path="delay=5 loss=2"),
    "A failover took long": Symptom(kill_worker()),
    "Latency is higher than it was": Symptom(path="delay=40"),
    "Packets are lost": Symptom(path="delay=5 loss=3"),
    "Drops rise": Symptom(send_from_elsewhere),
    "Pings work, and pages hang": Symptom(
        jumbo_behind_a_router, with_endpoint("10.99.0.1"), applied=False),
    "A certificate ends soon": Symptom(certificate_of(12, True)),
    "A certificate has expired": Symptom(certificate_of(-1, False)),
    "The peer refused our certificate": Symptom(revoke),
    "A key can be read by others": Symptom(open_key),
    "The peer runs another cluster file": Symptom(other_file_on_the_gateway, applied=False),
    "The file is refused": Symptom(write_wrong_file),
    "A drained tunnel carries nothing": Symptom(
        lambda lab: lab.edge.tunorch("drain", "backbone-1", "--deadline", "1s")),
    "Routes or settings were changed behind its back": Symptom(flush),
    "Backup tunnels still carry after the repair": Symptom(
        fail_over_to_the_backup,
        cluster(tunnels=[{}, {}, {"priority": 50}], failback="manual", health={"damping": "0s"})),
    "IPv6 is switched off on this host": Symptom(
        lambda lab: (lab.gateway.apply(), lab.edge.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")),
        applied=False),
}


class Page(unittest.TestCase):
    def test_every_entry_is_whole(self):
        entries = runbook.read()[1:]
        self.assertGreaterEqual(len(entries), 24)
        for entry in entries:
            for part in ("**You see**", "**It means**"):
                self.assertIn(part, entry.text, entry.heading)
        self.assertGreaterEqual(sum(bool(entry.blocks) for entry in entries), 24)

    def test_every_symptom_is_an_entry(self):
        headings = {entry.heading for entry in runbook.read()}
        self.assertEqual(set(SYMPTOMS) - headings, set())
        self.assertGreaterEqual(len(SYMPTOMS), 24)

    def test_a_promise_can_be_broken(self):
        printed = "cluster demo\n\nbundle b: up, 4 of 4\nb-1  native   up\nend\n"
        for prints in ("bundle b: up, …", "b-1 native … up", "cluster demo\n…\nend", "…4 of 4",
                       "b-1 …up\nend"):
            self.assertTrue(runbook.pattern(prints).search(printed), prints)
        for prints in ("bundle b: down, …", "cluster demo\nend", "b-1 native", "end\n…\nb-1 native up",
                       "nd"):
            self.assertFalse(runbook.pattern(prints).search(printed), prints)

    def test_commands_are_read(self):
        text = "```sh\n# on gateway\nfalse   # exits 1 or 2\ntrue\n```\n\n```text\nx\n```\n"
        block = runbook.parse("# A\n\n" + text)[0].blocks[0]
        self.assertEqual((block.node, block.prints), ("gateway", "x"))
        self.assertEqual([(one.text, one.exits) for one in block.commands],
                         [("false", (1, 2)), ("true", (0,))])


class Entries(unittest.TestCase):
    """A test for each entry of the page that has something to type."""

    def follow(self, entry):
        symptom = SYMPTOMS.get(entry.heading, Symptom())
        lab = Lab(symptom.nodes, symptom.spec, symptom.path)
        self.addCleanup(lab.close)
        if symptom.applied:
            lab.up()
        symptom.make(lab)
        for block in entry.blocks:
            wrong = runbook.follow(lab, block, PATIENCE)
            if wrong:
                self.fail(wrong)


for one in runbook.read():
    if one.blocks:
        setattr(Entries, f"test_{one.name}", lambda self, entry=one: self.follow(entry))
