"""A support bundle of hosts that are full of secrets: none of them is in it, and all that helps is."""

import base64
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time

from lab import TUNORCH, LabTest, cluster, wait_for

PASSWORD = "pA55-w0rd-of-the-database"
TOKEN = "t0k3n-of-the-program"
WORD = "w0rd-without-a-name"
BODY = "0f1e2d3c4b5a69788796a5b4"
# Prints what it was told and given, as some programs do in their logs.
PROGRAM = """#!/bin/sh
echo "started as $0 $*"
echo "with $(cat "$3/prog.conf") and"
cat "$3/key"
echo "logs in with $(sed -n 's/.*vpn:\\(.*\\)@.*/\\1/p' "$3/prog.conf") at the database"
echo "token: $1"
exec sleep 600
"""


class SupportTest(LabTest):
    def setUp(self):
        super().setUp()
        self.scratch = os.path.join(self.lab.dir, "scratch")
        os.mkdir(self.scratch)
        os.chmod(self.scratch, 0o777)
        self.output = os.path.join(self.scratch, "bundle.tar.gz")
        self.temporary = os.path.join(self.scratch, "tmp")
        os.mkdir(self.temporary)
        os.chmod(self.temporary, 0o777)

    def words(self, host, program=TUNORCH):
        return ["env", f"TMPDIR={self.temporary}", program, "support-bundle", "--output", self.output,
                *host.options()]

    def make(self, host, wrap=(), **program):
        done = host.run(*wrap, *self.words(host, **program), timeout=130)
        self.assertIn(f"made {self.output}", done.stdout)
        self.assertEqual(os.listdir(self.temporary), [], "nothing is left where it was gathered")
        return done

    def unpack(self):
        """Texts by name; also what is not in a file of its own: names in the archive."""
        with tarfile.open(self.output) as archive:
            members = archive.getmembers()
            files = {one.name.partition("/")[2]: archive.extractfile(one).read().decode()
                     for one in members if one.isfile()}
        for one in members:
            self.assertTrue(one.isfile() or one.isdir(), one.name)
            self.assertRegex(one.name, r"^tunorch-support-\w+-\d{8}T\d{6}Z(/|$)")
            self.assertEqual(one.mode, 0o600 if one.isfile() else 0o700, one.name)
        self.manifest = files["MANIFEST"]
        listed = set(re.findall(r"(?m)^(\S+) +\d+ bytes  ", self.manifest))
        self.assertEqual(listed, set(files) - {"MANIFEST"})
        return files

    def why_missing(self, name):
        found = re.search(rf"(?m)^{re.escape(name)} +missing  .*\n +(.*)$", self.manifest)
        self.assertTrue(found, f"{name} is not told to be missing: {self.manifest}")
        return found[1]


class Secrets(SupportTest):
    def setUp(self):
        super().setUp()
        program = os.path.join(self.lab.dir, "prog")
        with open(program, "w") as file:
            file.write(PROGRAM)
        os.chmod(program, 0o755)
        passwords = os.path.join(self.lab.dir, "pgpass")  # the file itself may not have one
        with open(passwords, "w") as file:
            file.write(f"10.66.0.1:5432:vpn:vpn:{PASSWORD}\n")
        os.chmod(passwords, 0o600)
        os.environ["PGPASSFILE"] = passwords
        self.addCleanup(os.environ.pop, "PGPASSFILE")
        words = [program, f"--api-token={TOKEN}", WORD, "{dir}"]
        self.lab.write(cluster(
            tunnels=[{}, {"transport": "postgres"}, {"engine": "command"}],
            postgres={"url": "postgresql://vpn@10.66.0.1:5432/vpn"},
            command={"listen": words, "dial": words, "copy": {"key": "pki/{node}.key"},
                     "files": {"prog.conf": f'secret "{BODY}";\n'
                                            f"log postgresql://vpn:{PASSWORD}@10.66.0.1/log;\n"}}))
        for host in (self.gateway, self.edge):
            done = host.tunorch("apply", self.lab.file, "--timeout", "1s", check=False)
            self.assertIn("not healthy within", done.stderr)  # and nothing else
        wait_for("the native tunnel is up", lambda: self.edge.tunnel("backbone-0")["health"] == "up")
        wait_for("the program has told all", lambda: "token:" in self.workers_log())

    def workers_log(self):
        path = os.path.join(self.edge.runtime, "w", "backbone-2.log")
        if not os.path.exists(path):
            return ""
        with open(path) as file:
            return file.read()

    def secrets(self):
        """By where they are from."""
        found = {"password": PASSWORD, "token": TOKEN, "word": WORD, "body": BODY}
        for path in glob.glob(os.path.join(self.lab.dir, "pki", "*.key")):
            with open(path) as file:
                for number, line in enumerate(file):
                    if "-----" not in line:
                        found[f"{os.path.basename(path)}:{number}"] = line.strip()
        return found

    def assert_clean(self, text, name):
        for source, secret in self.secrets().items():
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
            for form in (secret, encoded):
                self.assertFalse(form in text, f"{name} has the {source}")
        self.assertNotIn("PRIVATE KEY", text, name)

    def test_none_is_in_it(self):
        # They are really where they could come from.
        log = self.workers_log()
        own_key = [secret for source, secret in self.secrets().items() if source.startswith("edge.key")]
        self.assertGreater(len(own_key), 1)
        for secret in (TOKEN, WORD, BODY, f"in with {PASSWORD} at", "PRIVATE KEY", *own_key):
            self.assertIn(secret, log)
        with open(os.path.join(self.edge.state, "edge", "applied.json")) as file:
            self.assertIn(PASSWORD, file.read(), "in the text of the program's file")

        self.make(self.edge)
        self.assertEqual(os.stat(self.output).st_mode & 0o777, 0o600)
        files = self.unpack()
        for name, text in files.items():
            self.assert_clean(text, name)
        self.assertIn("workers/backbone-2.log", files)
        self.assertIn("[redacted]", files["workers/backbone-2.log"])
        self.check_parts(files)

    def check_parts(self, files):
        status = json.loads(files["status.json"])
        self.assertEqual((status["cluster"], status["node"]), ("demo", "edge"))
        self.assertEqual(len(status["bundles"][0]["tunnels"]), 3)
        events = [json.loads(line) for line in files["events.json"].splitlines()]
        self.assertEqual(events, self.edge.events()[:len(events)])
        self.assertGreater(len(events), 3)
        self.assertTrue(json.loads(files["doctor.json"])["findings"])
        self.assertIsInstance(json.loads(files["journal.json"]), dict)
        # The file is still one: YAML, and of the same cluster.
        clean = os.path.join(self.scratch, "clean.yaml")
        with open(clean, "w") as file:
            file.write(files["cluster.yaml"])
        outline = json.loads(self.edge.run(TUNORCH, "validate", clean, "--json").stdout)
        same = json.loads(self.edge.run(TUNORCH, "validate", self.lab.file, "--json").stdout)
        self.assertEqual(outline, same)
        self.assertIn("postgresql://vpn@10.66.0.1:5432/vpn", files["cluster.yaml"])
        self.assertIn("postgresql://vpn:[redacted]@10.66.0.1/log", files["workers/backbone-2.log"])
        self.assertIn("--api-token=[redacted]", files["cluster.yaml"])
        for part, words in {
                "plan.txt": "nothing to do|steps:|change", "links.txt": "backbone-0",
                "addresses.txt": r"10\.77\.0\.2", "routes4.txt": r"10\.77\.0\.1 .*proto",
                "rules4.txt": "lookup main", "nexthops.txt": "dev backbone-0",
                "sockets.txt": "10.66.0.1:4430", "neighbours.txt": r"10\.66\.0\.1",
                "sysctl.txt": r"(?m)^net.ipv4.fib_multipath_hash_policy = 1$",
                "snmp.txt": "(?m)^Tcp: ", "netstat.txt": "TcpExt", "softnet_stat.txt": "^[0-9a-f]{8} ",
                "uname.txt": "Linux", "os-release.txt": "(?m)^ID=", "daemon.log": "backbone-0",
                "limits.txt": r"(?s)tunorch\n.*tunorch-worker\n",
                "pki.txt": r"(?m)^edge.crt mode 0644 .*from 20\d\d-.* SHA-256"}.items():
            self.assertRegex(files[part], words, part)
        self.assertIn("/proc/sys/net/ipv4/conf/backbone-0/rp_filter = ", files["sysctl.txt"])
        self.assertRegex(files["pki.txt"], r"(?m)^edge.key mode 0600 owner 0 \d+ bytes$")

    def test_who_is_not_root_gets_less_and_is_told_so(self):
        program = os.path.join(self.lab.dir, "tunorch")
        shutil.copy(TUNORCH, program)
        done = self.make(self.edge, wrap=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                         program=program)
        self.assertIn("as root there is more in it", done.stdout)
        files = self.unpack()
        self.assertIn("not as root", self.manifest)
        self.assertRegex(files["links.txt"], "backbone-0")
        self.assertIn("Permission denied", self.why_missing("cluster.yaml"))
        self.assertIn("no daemon answers", self.why_missing("status.json"))
        self.assertIn("not permitted", self.why_missing("nft.txt"))
        for name, text in files.items():
            self.assert_clean(text, name)


class WithoutDaemon(SupportTest):
    def test_none_runs(self):
        self.make(self.gateway)
        files = self.unpack()
        self.assertIn("no daemon answers", self.why_missing("status.json"))
        self.assertEqual(self.why_missing("cluster.yaml"), "nothing is applied by this node")
        self.assertRegex(files["links.txt"], "w0")
        self.assertTrue(json.loads(files["doctor.json"])["findings"])

    def test_it_was_killed(self):
        """What it had is still there: the file, the journal, the devices."""
        self.lab.up()
        os.kill(self.edge.daemon_pid(), signal.SIGKILL)
        self.make(self.edge)
        files = self.unpack()
        self.assertIn("no daemon answers", self.why_missing("status.json"))
        self.assertIn("backbone", files["cluster.yaml"])
        self.assertRegex(files["plan.txt"], "steps:|nothing to do")
        self.assertIsInstance(json.loads(files["journal.json"]), dict)
        self.assertIn("backbone-0", files["links.txt"])

    def hang(self):
        """Somebody has the daemon's socket and says nothing. (A daemon of ours that is stopped is ended
        by its watchdog after a while.)"""
        os.mkdir(self.edge.runtime)
        listener = self.edge.start("python3", "-c", f"""
import socket, time
one = socket.socket(socket.AF_UNIX)
one.bind("{self.edge.runtime}/control.sock")
one.listen(16)
print("ready", flush=True)
time.sleep(600)
""", stdout=subprocess.PIPE)
        self.addCleanup(listener.stdout.close)
        self.addCleanup(listener.kill)
        self.assertEqual(listener.stdout.readline(), "ready\n")

    def test_what_hangs_holds_nothing_up(self):
        self.hang()
        begin = time.monotonic()
        self.make(self.edge)
        took = time.monotonic() - begin
        self.assertLess(took, 60)
        files = self.unpack()
        for name in ("status.json", "events.json"):
            self.assertEqual(self.why_missing(name), "not done within 10000 ms")
        self.assertIn("wan", files["links.txt"])

    def test_an_interrupted_one_leaves_nothing(self):
        self.hang()
        running = self.edge.start(*self.words(self.edge), stderr=subprocess.PIPE)
        wait_for("it gathers", lambda: os.listdir(self.temporary))
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=30)
        self.assertNotEqual(running.returncode, 0)
        self.assertEqual(os.listdir(self.temporary), [])
        self.assertFalse(os.path.exists(self.output))

    def test_overwrites_nothing(self):
        with open(self.output, "w") as file:
            file.write("mine")
        done = self.edge.run(*self.words(self.edge), check=False)
        self.fails_with(done, f"cannot make {self.output}: File exists")
        with open(self.output) as file:
            self.assertEqual(file.read(), "mine")
