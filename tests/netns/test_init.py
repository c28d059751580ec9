"""`tunorch init` as a newcomer uses it: answers on a terminal, or flags; and what it made is applied."""

import os
import pty
import select
import subprocess
import time

from lab import EDGE, GATEWAY, TUNORCH, LabTest


class Terminal:
    """A program on a terminal of its own, in a folder of a host."""

    def __init__(self, host, folder, *words):
        master, slave = pty.openpty()
        self.master = master
        self.process = subprocess.Popen(host.command(TUNORCH, *words), cwd=folder, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True)
        host.started.append(self.process)
        os.close(slave)
        self.said = ""

    def read_until(self, words, seconds=20):
        """What it says up to these words; to its end where they are None."""
        end = time.monotonic() + seconds
        begin = len(self.said)
        while words is None or words not in self.said[begin:]:
            assert time.monotonic() < end, f"not within {seconds} s: {words}; but {self.said[begin:]}"
            if not select.select([self.master], [], [], .1)[0]:
                continue
            try:
                self.said += os.read(self.master, 4096).decode()
            except OSError:  # its end
                assert words is None, f"it ended before {words}: {self.said[begin:]}"
                break
        return self.said[begin:]

    def answer(self, question, text):
        said = self.read_until(question)
        os.write(self.master, (text + "\n").encode())
        return said

    def finish(self):
        said = self.read_until(None)
        code = self.process.wait(timeout=20)
        os.close(self.master)
        return code, said


class Init(LabTest):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.lab.dir, "made")
        os.mkdir(self.folder)
        self.file = os.path.join(self.folder, "cluster.yaml")

    def init(self, *words):
        """Without a terminal."""
        return subprocess.run(self.gateway.command(TUNORCH, "init", *words), cwd=self.folder, text=True,
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL)

    def text(self):
        with open(self.file) as file:
            return file.read()

    def assert_made(self, *nodes):
        pki = os.path.join(self.folder, "pki")
        self.assertEqual(sorted(os.listdir(self.folder)), ["cluster.yaml", "pki"])
        self.assertEqual(sorted(os.listdir(pki)), sorted(
            f"{name}.{kind}" for name in ("ca", *nodes) for kind in ("crt", "key")))
        for name in os.listdir(pki):
            mode = os.stat(os.path.join(pki, name)).st_mode & 0o777
            self.assertEqual(mode, 0o600 if name.endswith(".key") else 0o644, name)
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o644)
        valid = self.gateway.run(TUNORCH, "validate", self.file).stdout
        self.assertIn(f"nodes {len(nodes)}, bundles 1", valid)

    def test_answers_on_a_terminal_and_apply(self):
        """No way out of this namespace, so the address has no default; wrong answers are asked again."""
        terminal = Terminal(self.gateway, self.folder, "init")
        terminal.answer("Name of the cluster [demo]: ", "My Cluster")
        said = terminal.answer("Name of the cluster [demo]: ", "")
        self.assertIn("'My Cluster' is not", said)
        terminal.answer("Name of the host that is dialed [", "gateway")
        terminal.answer("Its address, which the others dial: ", "")
        self.assertIn("there is no default", terminal.answer("dial: ", "gateway.example.net"))
        self.assertIn("is not an IP address", terminal.answer("dial: ", " 10.66.0.1 "))
        terminal.answer("Names of the hosts that dial it [edge]: ", "gateway")
        terminal.answer("Names of the hosts that dial it [edge]: ", "")
        terminal.answer("Number of tunnels [4]: ", "65")
        terminal.answer("Number of tunnels [4]: ", "2")
        terminal.answer("or off [127.0.0.1:9810]: ", "off")
        code, said = terminal.finish()
        self.assertEqual(code, 0, said)
        self.assertIn("tunorch doctor /etc/tunorch/cluster.yaml", said)
        self.assert_made("gateway", "edge")

        for host in (self.gateway, self.edge):
            host.tunorch("apply", self.file, "--timeout", "20s")
        self.assertEqual(self.edge.live(), 2)
        self.assert_reaches(self.edge, GATEWAY)
        self.assert_reaches(self.gateway, EDGE)

    def test_an_address_that_leads_out_is_the_default(self):
        self.edge.ip("route", "add", "default", "via", "10.66.0.1")
        terminal = Terminal(self.edge, self.folder, "init", "--cluster", "office", "--metrics", "off")
        terminal.answer("Name of the host that is dialed", "hub")
        for question in ("Its address, which the others dial [10.66.0.2]: ", "that dial it [edge]: ",
                         "Number of tunnels [4]: "):
            terminal.answer(question, "")
        code, said = terminal.finish()
        self.assertEqual(code, 0, said)
        self.assert_made("hub", "edge")
        self.assertIn("endpoint: 10.66.0.2 ", self.text())
        self.assertIn("tunnels: 4 ", self.text())

    def test_nothing_is_made_where_nobody_answers(self):
        terminal = Terminal(self.gateway, self.folder, "init")
        terminal.answer("Name of the cluster [demo]: ", "\x04")  # the end of the input
        code, said = terminal.finish()
        self.assertEqual(code, 1)
        self.assertIn("nothing was made", said)
        self.assertEqual(os.listdir(self.folder), [])

    def test_flags(self):
        done = self.init("--cluster", "office", "--listen", "hub=2001:db8::", "--dial", "a,b", "--dial", "c",
                         "--tunnels", "1", "--metrics", "off")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_made("hub", "a", "b", "c")
        self.assertIn('endpoint: "2001:db8::"', self.text())
        self.assertIn("scp pki/ca.crt pki/c.crt pki/c.key", done.stdout)

    def test_flags_that_are_missing_or_wrong_are_named(self):
        for words, said in (
                ((), "no terminal: missing --cluster, --listen, --dial, --tunnels, --metrics "),
                (("--cluster", "a", "--tunnels", "2", "--metrics", "off"), "missing --listen, --dial "),
                (("--yes", "--metrics", "off"), "--listen missing"),  # no way out: no address
                (("--listen", "gateway"), "--listen gateway: allowed: NAME=ADDRESS"),
                (("--listen", "gateway=nowhere"), "--listen: 'nowhere' is not an IP address"),
                (("--dial", "Edge"), "--dial: .*'Edge' is not"),
                (("--tunnels", "65"), "--tunnels: .*65"),
                (("--cluster", "a: b"), "--cluster: .*'a: b' is not")):
            self.fails_with(self.init(*words), f"^tunorch: .*{said}")
        self.assertEqual(os.listdir(self.folder), [])

    def test_overwrites_nothing(self):
        words = ("--yes", "--listen", "gateway=10.66.0.1", "--metrics", "off")
        self.assertEqual(self.init(*words).returncode, 0)
        before = self.text()
        self.fails_with(self.init(*words), "cannot make cluster.yaml: it is there already")
        self.fails_with(self.init(*words, "other.yaml"), "cannot make pki: it is there already")
        self.assertEqual(self.text(), before)
        self.assert_made("gateway", "edge")

    def test_all_or_nothing(self):
        """A disk with room for one file: the certificates cannot all be made."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", self.folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.folder])
        done = self.init("--yes", "--listen", "gateway=10.66.0.1", "--metrics", "off")
        self.fails_with(done, "cannot write .*No space left on device")
        self.assertEqual(os.listdir(self.folder), [])
