"""Other people's VPNs in a bundle: real openvpn, wireguard-go, fastd and tinc between the hosts, each as
the examples in configs/ have it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import lab
from lab import EDGE, GATEWAY, Flows, Lab, LabTest, carried_pps, cluster, wait_for

CONFIGS = os.path.join(lab.HERE, "../../configs")


def make_tinc_keys(folder):
    for node in ("gateway", "edge"):
        key = os.path.join(folder, node)
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", f"{key}.priv", "2048"],
                       check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", f"{key}.priv", "-RSAPublicKey_out", "-out",
                        f"{key}.pub"], check=True, capture_output=True)


def make_fastd_keys(folder):
    for node in ("gateway", "edge"):
        made = subprocess.run(["fastd", "--generate-key"], check=True, capture_output=True, text=True)
        secret, public = re.findall(r"[0-9a-f]{64}", made.stdout)
        with open(os.path.join(folder, f"{node}.key"), "w") as file:
            file.write(f'secret "{secret}";\n')
        with open(os.path.join(folder, f"{node}.peer"), "w") as file:
            file.write(f'key "{public}";\n')


class EngineTest(LabTest):
    def use_example(self, name):
        """An example as it is, but for the gateway's address."""
        with open(os.path.join(CONFIGS, f"{name}.yaml")) as file:
            text = file.read().replace("203.0.113.10", "10.66.0.1")
        with open(self.lab.file, "w") as file:
            file.write(text)
        for engine, make in (("tinc", make_tinc_keys), ("fastd", make_fastd_keys)):
            if name == engine:
                os.mkdir(os.path.join(self.lab.dir, name), 0o700)
                make(os.path.join(self.lab.dir, name))
        self.init_pki()

    def init_pki(self):
        shutil.rmtree(os.path.join(self.lab.dir, "pki"), ignore_errors=True)
        subprocess.run([lab.TUNORCH, "pki", "init", self.lab.file], check=True, capture_output=True)

    def up_with(self, spec):
        self.lab.write(spec)
        self.init_pki()
        self.lab.up()

    def apply_both(self):
        """At once: a tunnel whose engine changed is healthy only when both ends have it."""
        applies = [host.start(lab.TUNORCH, "apply", self.lab.file, "--timeout", "30s",
                              *host.options(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                   for host in (self.gateway, self.edge)]
        for apply in applies:
            self.assertEqual((apply.communicate(timeout=60)[0], apply.returncode)[1], 0)

    def tunnels(self, host):
        return {tunnel["name"]: tunnel for tunnel in host.bundle()["tunnels"]}

    def tunnels_of_kind(self, host, engine):
        return [name for name, one in self.tunnels(host).items() if one["engine"] == engine]

    def wait_live(self, count, seconds=20):
        for host in (self.edge, self.gateway):
            wait_for(f"{count} tunnels live on {host.node}", lambda: host.live() == count, seconds)


class Examples(EngineTest):
    """Every example of another engine, run as it is shipped."""

    def run_example(self, name, count):
        self.use_example(name)
        self.lab.up()
        self.wait_live(count)
        self.assert_reaches(self.edge, GATEWAY)
        self.assert_reaches(self.gateway, EDGE)
        for host in (self.gateway, self.edge):
            for tunnel in self.tunnels(host).values():
                self.assertGreater(tunnel["pid"], 0, tunnel)
                self.assertEqual(tunnel["reason"], "", tunnel)
                self.assertGreater(tunnel["rtt_us"], 0, tunnel)

    def test_openvpn(self):
        self.run_example("openvpn", 4)
        # What the process says of itself is told: addresses, and bytes by its own count.
        session = next(iter(self.tunnels(self.gateway).values()))["sessions"]["edge"]
        wait_for("its client's address", lambda: next(iter(
            self.tunnels(self.gateway).values()))["sessions"]["edge"]["address"].startswith(
                "10.66.0.2:"))
        self.assertEqual(session["mtu"], 1500)

    def test_wireguard(self):
        self.run_example("wireguard", 2)
        done = self.edge.run("ping", "-6", "-c", "3", "-i", "0.2", "fd77::1")
        self.assertIn(" 0% packet loss", done.stdout)

    def test_wireguard_without_its_peer(self):
        """The dialer says that nobody answers, and since when."""
        self.use_example("wireguard")
        done = self.edge.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        self.assertEqual(done.returncode, 1)
        wait_for("it says so", lambda: re.search(
            "no handshake was answered", self.edge.tunnel("wg-0")["reason"]))
        self.gateway.apply()
        self.wait_live(2)
        self.assertEqual(self.edge.tunnel("wg-0")["reason"], "")

    def test_fastd(self):
        self.run_example("fastd", 2)

    def test_tinc(self):
        self.run_example("tinc", 2)

    def test_mixed(self):
        self.run_example("mixed", 4)
        self.assertEqual(sorted(one["engine"] for one in self.tunnels(self.edge).values()),
                         ["native", "native", "openvpn", "wireguard"])
        # Any flow may be moved to the narrowest.
        shown = self.edge.run("ip", "route", "get", GATEWAY).stdout + \
            self.edge.run("ip", "route", "show", f"{GATEWAY}").stdout
        self.assertIn("mtu 1420", shown)


class Failover(EngineTest):
    """kill -9 of one of four processes under 20,000 packets a second."""

    def check_kill(self, spec, victim_engine, pps=20000):
        self.up_with(spec)
        self.wait_live(4)
        victim = self.tunnels_of_kind(self.edge, victim_engine)[0]
        pps = carried_pps(self.edge, self.gateway, GATEWAY, 100, pps)
        flows = Flows(self.edge, self.gateway, GATEWAY, flows=100, pps=pps, seconds=4)
        time.sleep(1.5)
        self.edge.kill_worker(victim)
        got, sent = flows.finish()
        out = [event for event in self.edge.events() if event["event"] == "tunnel_out"]
        print(f"{victim_engine}: {got['lost']} of {sent['sent']} packets lost, longest gap "
              f"{got['longest_gap_ms']:.1f} ms; {sent['lost_on_return']} echoes lost; {out}")
        self.assertEqual([event["tunnel"] for event in out], [victim])
        # What its process held is lost: 50 ms of its share at most, ten times the target.
        if flows.void:
            print(f"losses are not judged: {flows.void}")
        else:
            self.assertLess(got["lost"], flows.pps * .05)
        self.wait_live(4)
        return got, sent

    def test_openvpn_udp(self):
        self.check_kill(cluster(engine="openvpn", tunnels=4), "openvpn")

    def test_wireguard(self):
        # Eight processes of Debian's wireguard-go lose packets on two cores at 20,000 a second.
        self.check_kill(cluster(engine="wireguard", tunnels=4), "wireguard", pps=5000)

    def test_nobody_tells_the_sender(self):
        """One-way traffic goes into a dead tunnel until echoes alone have found out."""
        self.up_with(cluster(engine="openvpn", tunnels=2, restart={"backoff": "10s"}))
        self.wait_live(2)
        time.sleep(3)  # the MTU is known, and both have their share
        flows = Flows(self.gateway, self.edge, EDGE, flows=20, pps=1000, seconds=8, echo=False)
        time.sleep(1)
        self.edge.kill_worker("backbone-0")
        got, _ = flows.finish()
        print(f"{got['lost']} of 8000 packets lost")
        # Its half of the packets for a second, and three times as long on a busy machine.
        self.assertGreater(got["lost"], 0)
        self.assertLess(got["lost"], 500 * 3)

    def test_mixed_tells_the_peer(self):
        spec = cluster(tunnels=[{}, {}, {"engine": "openvpn"}, {"engine": "wireguard"}])
        _, sent = self.check_kill(spec, "openvpn", pps=10000)
        # A native tunnel told the gateway at once: its way back moved too.
        self.assertLess(sent["lost_on_return"], sent["sent"] / 4 * .25)

    def test_listener_dies(self):
        """The dialer's process lives on and finds its way back."""
        self.up_with(cluster(tunnels=[{}, {"engine": "openvpn"}, {"engine": "wireguard"}]))
        self.wait_live(3)
        for victim in ("backbone-1", "backbone-2"):
            self.gateway.kill_worker(victim)
            wait_for(f"{victim} is out", lambda: self.edge.tunnel(victim)["health"] != "up", 5)
            self.wait_live(3, 25)


class Changes(EngineTest):
    """The file changes; what is not touched by it goes on."""

    def test_engine_of_a_tunnel(self):
        self.up_with(cluster(tunnels=2))
        kept = self.edge.tunnel("backbone-0")["pid"]
        spec = cluster(tunnels=[{}, {"engine": "openvpn"}])
        self.lab.write(spec)
        self.apply_both()
        self.wait_live(2)
        self.assertEqual(self.edge.tunnel("backbone-1")["engine"], "openvpn")
        self.assertEqual(self.edge.tunnel("backbone-0")["pid"], kept)
        self.assertEqual(self.edge.tunorch("plan", self.lab.file).returncode, 0)
        self.lab.write(cluster(tunnels=2))
        self.apply_both()
        self.wait_live(2)
        self.assertEqual(self.edge.tunnel("backbone-1")["engine"], "native")

    def test_the_daemon_dies(self):
        """Its processes carry on, and the next daemon takes them over."""
        self.up_with(cluster(tunnels=[{"engine": "openvpn"}, {"engine": "wireguard"}]))
        self.wait_live(2)
        pids = self.edge.worker_pids()
        os.kill(self.edge.daemon_pid(), signal.SIGKILL)
        self.assert_reaches(self.edge, GATEWAY)
        self.edge.start_daemon()
        wait_for("the daemon answers",
                 lambda: self.edge.tunorch("status", check=False).returncode == 0)
        self.wait_live(2)
        self.assertEqual(self.edge.worker_pids(), pids)
        self.assert_reaches(self.edge, GATEWAY)
        # Without its name: the daemon knows which node it is.
        down = self.edge.run(lab.TUNORCH, "down", *self.edge.options()[2:])
        self.assertIn("node edge is down", down.stdout)
        self.gateway.tunorch("down")
        for host in (self.edge, self.gateway):
            left = host.run("ip", "-o", "link").stdout
            self.assertNotIn("backbone", left)
            self.assertEqual(list(host.left_workers()), [])
            self.assertFalse(os.path.exists(os.path.join(host.runtime, "w")))


class Mtu(EngineTest):
    """The network in between drops what is larger than 1,296 bytes and says nothing."""

    NARROW = """table inet narrow {
  chain in { type filter hook prerouting priority -300; iifname "w0" meta length > 1296 drop; }
  chain in2 { type filter hook prerouting priority -300; iifname "wan" meta length > 1296 drop; }
}"""

    def narrow(self, on):
        for host in (self.gateway, self.edge):
            if on:
                subprocess.run(host.command("nft", "-f", "-"), input=self.NARROW, text=True, check=True)
            else:
                host.run("nft", "delete", "table", "inet", "narrow")

    def v4_only(self, engine):
        spec = cluster(engine=engine, tunnels=2)
        spec["nodes"]["gateway"]["inner"] = ["10.77.0.1/32"]
        spec["nodes"]["edge"]["inner"] = ["10.77.0.2/32"]
        return spec

    def check_engine(self, engine):
        self.up_with(self.v4_only(engine))
        self.wait_live(2)
        server = self.gateway.start("python3", "-c", """
import socket
listening = socket.create_server(("10.77.0.1", 5010))
one, _ = listening.accept()
print("open", flush=True)
while chunk := one.recv(65536):
    print(len(chunk), flush=True)
""", stdout=subprocess.PIPE)
        time.sleep(.5)
        client = self.edge.start("python3", "-c", """
import socket, sys
one = socket.create_connection(("10.77.0.1", 5010))
for line in sys.stdin:
    one.sendall(bytes(int(line)))
""", stdin=subprocess.PIPE)
        self.assertEqual(server.stdout.readline().strip(), "open")
        self.narrow(True)
        began, wall = time.monotonic(), time.time()
        client.stdin.write("1900\n")
        client.stdin.flush()
        got = 0
        while got < 1900:
            got += int(server.stdout.readline())
        took = time.monotonic() - began
        lowered = [event for event in self.edge.events() if event["event"] == "mtu_lowered"]
        print(f"{engine}: 1,900 bytes crossed after {took:.2f} s; " + "; ".join(
            f"{event['tunnel']} {event['time']}: {event['cause']}" for event in lowered), wall)
        self.assertLess(took, 2)
        wait_for("both tunnels' MTU is found", lambda: all(
            one["sessions"]["gateway"]["mtu"] <= 1296 for one in self.tunnels(self.edge).values()))
        self.assertEqual(self.edge.live(), 2)
        self.narrow(False)
        wait_for("the MTU is back", lambda: all(
            one["sessions"]["gateway"]["mtu"] == 1420 for one in self.tunnels(self.edge).values()),
            30)
        wait_for("the route says so", lambda: "mtu" not in self.edge.run(
            "ip", "route", "show", GATEWAY).stdout, 2)

    def test_openvpn(self):
        self.check_engine("openvpn")

    def test_wireguard(self):
        self.check_engine("wireguard")

    def test_ipv6_is_held_out(self):
        """With IPv6 in the bundle a tunnel that carries less than 1,280 bytes is no use."""
        self.up_with(cluster(tunnels=[{}, {"engine": "wireguard"}]))
        self.wait_live(2)
        self.narrow(True)
        wait_for("the narrow tunnel is out",
                 lambda: "IPv6 needs 1280" in self.edge.tunnel("backbone-1")["reason"], 30)
        self.assertEqual(self.edge.route_devices(GATEWAY) or ["backbone-0"], ["backbone-0"])
        self.assertEqual(self.edge.live(), 1)
        self.narrow(False)
        self.wait_live(2, 30)


class BadEngines(EngineTest):
    """A program that does not do as it should: the reason is told, the others go on."""

    def write_program(self, name, text):
        path = os.path.join(self.lab.dir, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    def up_with_bad(self, tunnel, **bundle):
        spec = cluster(tunnels=[{}, tunnel], restart={"quarantine_after": 3, "max_backoff": "500ms"},
                       **bundle)
        self.lab.write(spec)
        self.init_pki()
        for host in (self.gateway, self.edge):
            host.tunorch("apply", self.lab.file, "--timeout", "2s", check=False)
        wait_for("the native tunnel is up", lambda: self.edge.tunnel("backbone-0")["health"] == "up")
        self.assert_reaches(self.edge, GATEWAY)

    def reason_is(self, *patterns, seconds=15):
        for pattern in patterns:
            wait_for(f"a reason like {pattern!r}, not {self.edge.tunnel('backbone-1')['reason']!r}",
                     lambda: re.search(pattern, self.edge.tunnel("backbone-1")["reason"]), seconds)
        told = [event["cause"] for event in self.edge.events()
                if event.get("tunnel") == "backbone-1"]
        self.assertTrue(any(re.search(patterns[0], cause) for cause in told), told)
        self.assert_reaches(self.edge, GATEWAY)

    def test_no_such_program(self):
        self.up_with_bad({"engine": "openvpn"}, openvpn={"binary": "opnvpn"})
        self.reason_is("there is no such program .*install it")
        wait_for("it is given up",
                 lambda: self.edge.tunnel("backbone-1")["worker"] == "quarantined")

    def test_no_such_path(self):
        self.up_with_bad({"engine": "wireguard"}, wireguard={"binary": "/opt/none"})
        self.reason_is("cannot start /opt/none: No such file or directory; install it, or give")

    def test_an_option_it_does_not_know(self):
        """As an older version would say of ours."""
        self.up_with_bad({"engine": "openvpn"}, openvpn={"extra_args": ["--from-the-future"]})
        self.reason_is("exited with status 1: .*Unrecognized option.*from-the-future")

    def test_it_ends_at_once(self):
        program = self.write_program("ends", "#!/bin/sh\necho no licence\nexit 3\n")
        self.up_with_bad({"engine": "command"}, command={"listen": [program], "dial": [program]})
        self.reason_is("exited with status 3: no licence")
        wait_for("it is given up",
                 lambda: self.edge.tunnel("backbone-1")["worker"] == "quarantined")

    def test_it_never_comes_up(self):
        program = self.write_program("idles", "#!/bin/sh\necho thinking\nexec sleep 1000\n")
        self.up_with_bad({"engine": "command"}, command={"listen": [program], "dial": [program]})
        self.reason_is("not ready after 10 seconds: thinking", seconds=30)

    def test_it_goes_into_the_background(self):
        program = self.write_program("daemonises", """#!/usr/bin/python3
import fcntl, os, struct, sys, time
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", sys.argv[1].encode(), 0x1001))
time.sleep(1)
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)
os._exit(0)
""")
        self.up_with_bad({"engine": "command"},
                         command={"listen": [program, "{dev}"], "dial": [program, "{dev}"]})
        self.reason_is("exited with status 0: it went into the background")
        wait_for("it is given up",
                 lambda: self.edge.tunnel("backbone-1")["worker"] == "quarantined")
        wait_for("what it left behind on both hosts is ended",
                 lambda: self.processes_with(program) == [])

    def processes_with(self, word):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    if word in file.read():
                        found.append(pid)
            except OSError:
                pass
        return found

    def test_its_management_socket_hangs(self):
        """It listens and never answers: the tunnel is judged by echoes, and stops by a signal."""
        program = self.write_program("hangs", """#!/usr/bin/python3
import os, re, socket, subprocess, sys
config = sys.argv[2]
with open(config) as file:
    text = file.read()
path = re.search(r"management (\\S+) unix", text).group(1)
with open(config + ".mine", "w") as file:
    file.write(re.sub(r"management .*\\n", "", text))
mute = socket.socket(socket.AF_UNIX)
mute.bind(path)
mute.listen(8)
process = subprocess.Popen(["openvpn", "--config", config + ".mine"])
sys.exit(process.wait())
""")
        self.up_with_bad({"engine": "openvpn"}, openvpn={"binary": program})
        wait_for("the tunnel works all the same", lambda: self.edge.live() == 2, 20)
        wait_for("the silence is told", lambda: any(
            event["event"] == "control_silent" for event in self.edge.events()), 20)
        self.edge.tunorch("down")
        self.assertEqual(self.processes_with(program + "\0--config\0" + self.edge.runtime), [])

    def test_a_health_command_fails(self):
        flag = os.path.join(self.lab.dir, "healthy")
        with open(flag, "w"):
            pass
        make_fastd = os.path.join(self.lab.dir, "fastd")
        self.use_example("fastd")
        with open(self.lab.file) as file:
            text = file.read()
        with open(self.lab.file, "w") as file:
            file.write(text.replace("    command:\n",
                                    f"    command:\n      health: [test, -e, {flag}]\n"))
        self.assertTrue(os.path.isdir(make_fastd))
        self.lab.up()
        self.wait_live(2)
        os.remove(flag)
        wait_for("the tunnels are sick",
                 lambda: self.edge.live() == 0 or self.gateway.live() == 0, 15)
        wait_for("the reason is told", lambda: "its health command fails" in {
            tunnel["reason"] for host in (self.edge, self.gateway)
            for tunnel in self.tunnels(host).values()})
        with open(flag, "w"):
            pass
        self.wait_live(2, 30)
