"""What each process may do, where keys can be seen, who gets in, and what is told of a certificate's end."""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time

from lab import GATEWAY, SANITIZED, LabTest, cluster, wait_for


def proc(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def setns(file):
    """Of this thread (setns(2))."""
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def fields(pid):
    text = proc(pid, "status").decode()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


CLONE_NEWNET = 0x40000000
CAPABILITIES = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13}
NETWORK = sum(1 << bit for bit in CAPABILITIES.values())


class Privileges(LabTest):
    spec = cluster(tunnels=[{}, {"engine": "openvpn"}, {"engine": "wireguard"}])

    def test_of_each_process(self):
        self.lab.up()
        status = self.gateway.status()
        pids = self.gateway.worker_pids()
        uids = set()
        for tunnel in status["bundles"][0]["tunnels"]:
            with self.subTest(tunnel["name"]):
                now = fields(tunnel["pid"])
                uid = int(now["Uid"].split()[0])
                uids.add(uid)
                self.assertEqual({int(one) for one in now["Uid"].split()}, {uid})
                self.assertGreaterEqual(uid, 1_880_000_000)
                self.assertEqual(now["NoNewPrivs"].strip(), "1")
                native = tunnel["engine"] == "native"
                self.assertEqual(int(now["CapEff"], 16), 0 if native else NETWORK)
                self.assertEqual(int(now["CapPrm"], 16), 0 if native else NETWORK)
                told = tunnel["confinement"]
                self.assertEqual(set(told["capabilities"]), set() if native else set(CAPABILITIES))
                self.assertEqual((told["uid"], told["no_new_privileges"]), (uid, True))
                if native:
                    self.assertEqual(now["Seccomp"].strip(), "0" if SANITIZED else "2")
                    self.assertEqual(told["seccomp"], not SANITIZED)
                limits = proc(tunnel["pid"], "limits").decode()
                self.assertRegex(limits, r"Max core file size +1 +1 ")
        self.assertEqual(len(uids), len(pids), "each has an own user")
        daemon = self.gateway.daemon_pid()
        kept = int(fields(daemon)["CapEff"], 16)
        for number, name in ((16, "sys_module"), (17, "sys_rawio"), (22, "sys_boot"), (25, "sys_time")):
            self.assertFalse(kept >> number & 1, name)
        self.assertEqual(int(fields(daemon)["CapBnd"], 16) & ~kept, 0)
        self.assertRegex(proc(daemon, "limits").decode(), r"Max core file size +1 +1 ")
        text = self.gateway.tunorch("status").stdout
        self.assertRegex(text, r"daemon: root, 11 capabilities \(--json names them\)")
        sandboxed = "" if SANITIZED else ", seccomp"
        self.assertRegex(text, f"backbone-0: own user, no capabilities, no_new_privs{sandboxed}\n")

    def test_keys_are_seen_nowhere(self):
        self.lab.up()
        with open(os.path.join(self.lab.dir, "pki", "gateway.key")) as file:
            key = "".join(file.read().splitlines()[1:3])[:40].encode()
        with open(os.path.join(self.lab.dir, "pki", "gateway.wg.key")) as file:
            wireguard = file.read().strip()[:40].encode()
        for pid in (self.gateway.daemon_pid(), *self.gateway.worker_pids().values()):
            for name in ("cmdline", "environ"):
                for secret in (key, wireguard):
                    self.assertNotIn(secret, proc(pid, name))
        for folder, _, names in os.walk(self.gateway.runtime):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    with open(path, "rb") as file:
                        held = file.read().replace(b"\n", b"")
                    if name == "key":  # OpenVPN's, which reads a file
                        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                        self.assertGreater(os.stat(path).st_uid, 1_880_000_000 - 1)
                    else:
                        self.assertNotIn(key, held, path)
                        self.assertNotIn(wireguard, held, path)
        for words in (("status", "--json"), ("events",), ("plan", self.lab.file)):
            self.assertNotIn(key.decode(), self.gateway.tunorch(*words).stdout)
        if SANITIZED:
            return  # its runtime needs what the sandbox takes
        # Nobody but root looks into a worker: not its own user either.
        worker = self.gateway.worker_pids()["backbone-0"]
        uid = fields(worker)["Uid"].split()[0]
        for what in (["cat", f"/proc/{worker}/environ"], ["cat", f"/proc/{worker}/maps"],
                     ["ls", f"/proc/{worker}/fd"]):
            done = subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *what],
                                  capture_output=True, text=True)
            self.assertRegex(done.stderr, "Permission denied", what)


class Expiry(LabTest):
    def sign(self, days):
        """Another certificate of the edge's key, by the same CA."""
        pki = os.path.join(self.lab.dir, "pki")
        extensions = os.path.join(self.lab.dir, "extensions")
        with open(extensions, "w") as file:
            file.write("subjectAltName=DNS:edge\nextendedKeyUsage=serverAuth,clientAuth\n"
                       "keyUsage=critical,digitalSignature\n")
        request = subprocess.run(["openssl", "req", "-new", "-key", f"{pki}/edge.key", "-subj", "/CN=edge"],
                                 check=True, capture_output=True).stdout
        subprocess.run(["openssl", "x509", "-req", "-CA", f"{pki}/ca.crt", "-CAkey", f"{pki}/ca.key", "-days",
                        str(days), "-extfile", extensions, "-out", f"{pki}/edge.crt"],
                       input=request, check=True, capture_output=True)

    def test_is_told_a_month_before(self):
        self.lab.up()
        self.assertEqual(self.edge.status()["certificate"]["warning"], "")
        self.assertNotIn("expires", self.edge.tunorch("status").stdout)
        self.sign(12)
        self.edge.apply()
        self.assertIn("edge expires in 11 days", self.edge.status()["certificate"]["warning"])
        self.assertIn("tunorch pki renew", self.edge.tunorch("status").stdout)
        wait_for("an event tells", lambda: any(
            event["event"] == "certificate_expires" for event in self.edge.events()))


class Strangers(LabTest):
    """At the door of the gateway: port 4430 of its first tunnel."""
    spec = cluster(tunnels=1)
    door = ("10.66.0.1", 4430)

    def connect(self):
        one = self.in_edge(lambda: socket.create_connection(self.door, timeout=5))
        self.addCleanup(one.close)
        return one

    def in_edge(self, act):
        """In the network namespace of the edge, where a socket stays that is made there."""
        with open("/proc/self/ns/net") as home, open(f"/run/netns/{self.edge.ns}") as there:
            setns(there)
            try:
                return act()
            finally:
                setns(home)

    def rss(self):
        return int(fields(self.gateway.worker_pids()["backbone-0"])["VmRSS"].split()[0])

    def fds(self):
        return len(os.listdir(f"/proc/{self.gateway.worker_pids()['backbone-0']}/fd"))

    def s_client(self, *options):
        return self.edge.run("openssl", "s_client", "-connect", "10.66.0.1:4430", *options, check=False)

    def test_tls_is_13_alone_without_tickets(self):
        self.lab.up()
        old = self.s_client("-tls1_2")
        self.assertNotEqual(old.returncode, 0)
        self.assertRegex(old.stdout + old.stderr, "protocol version")
        new = self.s_client("-tls1_3", "-msg")
        self.assertIn("TLSv1.3", new.stdout)
        self.assertNotIn("NewSessionTicket", new.stdout)
        self.assertNotIn("Max Early Data", new.stdout)
        pki = os.path.join(self.lab.dir, "pki")
        stranger = os.path.join(self.lab.dir, "stranger")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=edge", "-addext",
                        "subjectAltName=DNS:edge", "-keyout", f"{stranger}.key", "-out",
                        f"{stranger}.crt"], check=True, capture_output=True)
        for words, reason in (((), "the peer has no certificate"),
                              (("-cert", f"{stranger}.crt", "-key", f"{stranger}.key"),
                               "the peer's certificate is refused")):
            self.s_client("-tls1_3", *words)
            wait_for(reason, lambda: any(reason in event.get("cause", "") for event in self.gateway.events()))
        # The gateway's own keys, as a dialer that is not in the bundle's list of dialers.
        self.s_client("-tls1_3", "-cert", f"{pki}/gateway.crt", "-key", f"{pki}/gateway.key")
        self.assertEqual(list(self.gateway.tunnel("backbone-0")["sessions"]), ["edge"])
        self.assertEqual(self.edge.live(), 1)

    def test_who_holds_connections_open_keeps_nobody_out(self):
        self.gateway.apply()
        held = [self.connect() for _ in range(200)]
        time.sleep(0.5)
        self.assertLess(self.fds(), 200)
        for one in held[100:]:  # slow loris: a byte now and then
            with contextlib.suppress(OSError):
                one.send(b"\x16")
        begun = time.monotonic()
        self.edge.apply()
        self.assertLess(time.monotonic() - begun, 5, "a node of ours gets in")
        wait_for("all of them were ended", lambda: self.fds() < 40, 15)
        self.assertEqual(self.edge.live(), 1)

    def test_a_flood_leaves_nothing(self):
        """A hundred at once, the next hundred when these are gone: its memory is as it was."""
        self.lab.up()

        def flood(count):
            for _ in range(count // 100):
                batch = self.in_edge(lambda: [self.hasty() for _ in range(100)])
                for one in batch:
                    with contextlib.suppress(OSError):
                        one.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                    one.close()

        begun = time.monotonic()
        sizes = []
        for _ in range(5):
            flood(20_000)
            sizes.append(self.rss())
        wait_for("no descriptor is left", lambda: self.fds() < 40)
        print(f"100,000 connections in {time.monotonic() - begun:.0f} s; RSS every 20,000: {sizes} KiB")
        self.assertLess(sizes[-1] - sizes[0], 1024, "KiB in 80,000 connections")
        self.assertEqual(self.edge.live(), 1)
        self.assert_reaches(self.edge, GATEWAY)

    def hasty(self):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.settimeout(5)
        one.connect(self.door)
        return one


class Between:
    """Stands between a daemon and one of its workers, on the worker's control socket, hands on what
    both say, and says more to the daemon in the worker's name."""

    def __init__(self, path):
        self.path, self.away = path, path + ".away"
        os.rename(path, self.away)
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.door.bind(path)
        self.door.listen()
        self.to_daemon = None
        self.connected = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            self.to_daemon, _ = self.door.accept()
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as to_worker:
                to_worker.connect(self.away)
                self.connected.set()
                other = {self.to_daemon: to_worker, to_worker: self.to_daemon}
                while True:
                    for one in select.select(list(other), [], [])[0]:
                        data, fds, _, _ = socket.recv_fds(one, 1 << 20, 64)
                        if not data:
                            return
                        socket.send_fds(other[one], [data], fds)
                        for fd in fds:
                            os.close(fd)

    def say(self, report, fds=()):
        socket.send_fds(self.to_daemon, [json.dumps(report).encode()], list(fds))

    def leave(self):
        """The daemon finds the worker itself in this place."""
        os.rename(self.away, self.path)
        self.door.close()
        if self.to_daemon:
            self.to_daemon.shutdown(socket.SHUT_RDWR)
        self.thread.join()


class TakenOverWorker(LabTest):
    def test_speaks_for_nobody_else_and_leaves_nothing_in_the_daemon(self):
        self.lab.up()
        os.kill(self.edge.daemon_pid(), signal.SIGKILL)
        wait_for("the daemon is gone", lambda: self.edge.daemon_pid() is None)
        between = Between(os.path.join(self.edge.runtime, "w", "backbone-0.sock"))
        self.addCleanup(between.leave)
        self.edge.start_daemon()
        self.assertTrue(between.connected.wait(10))
        wait_for("all tunnels", lambda: self.edge.live() == 4)
        daemon = self.edge.daemon_pid()

        def held():
            names = []
            for fd in os.listdir(f"/proc/{daemon}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    names.append(os.readlink(f"/proc/{daemon}/fd/{fd}").split(":")[0])
            return sorted(names)

        wait_for("it has nothing under way", lambda: held() == held())
        before = held()
        self.assertIn("/dev/net/tun", before)
        between.say({"event": "session_up", "peer": "stranger", "address": "192.0.2.1:1"})
        between.say({"event": "told", "peer": "stranger", "word": {"states": []}})
        between.say({"event": "stream_up", "peer": "stranger", "address": "192.0.2.1:1"})
        between.say({"event": "queues", "queues": 0})  # nobody asked for them
        with socket.socket() as one:
            between.say({"event": "queues", "queues": 60}, [one.fileno()] * 60)
            between.say({"event": "heartbeat"}, [one.fileno()] * 60)
        between.say({"event": "refused", "address": "192.0.2.1:1", "reason": "the last of them"})
        wait_for("the daemon has heard all", lambda: any(
            "the last of them" in event.get("cause", "") for event in self.edge.events()))
        self.assertEqual(list(self.edge.tunnel("backbone-0")["sessions"]), ["gateway"])
        self.assertFalse(any(event.get("peer") == "stranger" for event in self.edge.events()))
        self.assertEqual(held(), before)
        self.assertEqual(self.edge.daemon_pid(), daemon)
        self.assertEqual(self.edge.live(), 4)


class Control(LabTest):
    def ask(self, data, timeout=10):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(timeout)
            client.connect(os.path.join(self.gateway.runtime, "control.sock"))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(65536):
                    answer += part
            return answer

    def test_garbage_is_refused_and_the_daemon_goes_on(self):
        self.lab.up()
        pid = self.gateway.daemon_pid()
        for data in (b"\n", b"{}\n", b"[]\n", b"\0\xff\n", b'{"op": 1}\n', b'{"op": "\xff"}\n',
                     b"[" * 100_000 + b"\n", b'{"op":"apply"}\n',
                     b'{"op":"apply","text":[],"name":{}}\n', b'{"op":"drain","tunnel":5}\n',
                     b'{"op":"plan","text":7}\n', b'{"op":"explain"}\n'):
            answer = self.ask(data)
            self.assertIn("error", json.loads(answer.splitlines()[0]), data[:40])
        self.assertIn(b"more than 4194304 bytes", self.ask(b"x" * (5 << 20)))
        self.assertEqual(self.gateway.daemon_pid(), pid)
        self.assertEqual(self.gateway.live(), 4)

    def test_a_user_cannot_keep_the_daemon_out(self):
        """Anybody may take an abstract socket's name."""
        holder = self.gateway.start(
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c",
            "import socket, time; one = socket.socket(socket.AF_UNIX); one.bind('\\0tunorch-daemon'); "
            "one.listen(); print('held', flush=True); time.sleep(120)", stdout=subprocess.PIPE)
        self.assertEqual(holder.stdout.readline(), "held\n")
        self.lab.up()
        self.assertEqual(self.gateway.live(), 4)
        self.gateway.tunorch("down")

    def test_who_says_nothing_is_let_go(self):
        self.lab.up()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(os.path.join(self.gateway.runtime, "control.sock"))
            begun = time.monotonic()
            self.assertEqual(client.recv(1), b"")
            self.assertGreater(time.monotonic() - begun, 3)
