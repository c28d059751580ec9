"""`tunorch logs`: what the daemon, its workers and other engines' programs said."""

import copy
import json
import os
import shutil
import signal
import time

import lab
from lab import CLUSTER, LabTest, cluster, wait_for

TALKER = """#!/usr/bin/python3
import fcntl, os, struct, sys, time
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", sys.argv[1].encode(), 0x1001))
out = sys.stdout.buffer
out.write(b"ready to serve\\n\\x1b[31mred\\xff\\xfe\\0 tail\\n" + b"long" * 1000 + b"\\n")
out.flush()
flood = os.path.join(os.path.dirname(sys.argv[2]), "flood")
stop = os.path.join(os.path.dirname(sys.argv[2]), "stop")
count = 0
while True:
    time.sleep(0.05)
    count += 1
    out.write(b"beat %d\\n" % count)
    if os.path.exists(flood):
        out.write(b"".join(b"flood %d\\n" % i for i in range(20000)))
    out.flush()
    if os.path.exists(stop):
        sys.exit("cannot go on: told to stop")
"""


class LogsTest(LabTest):
    def logs(self, *args, host=None, check=True):
        return (host or self.edge).tunorch("logs", *args, check=check).stdout

    def wait_logged(self, text, *args, seconds=10):
        wait_for(f"{text} is logged", lambda: text in self.logs(*args, check=False),
                 seconds)

    def follow(self, *args):
        """A `logs --follow`, and the file it writes to."""
        path = os.path.join(self.lab.dir, f"follow-{time.monotonic_ns()}")
        with open(path, "w") as out:
            process = self.edge.start(lab.TUNORCH, "logs", "--follow", *args, *self.edge.options(),
                                      stdout=out)
        self.addCleanup(process.kill)

        def text():
            with open(path) as file:
                return file.read()
        return text


class Programs(LogsTest):
    """A program that prints, in a tunnel of the engine `command` beside two of ours."""

    def setUp(self):
        super().setUp()
        self.program = os.path.join(self.lab.dir, "talker")
        with open(self.program, "w") as file:
            file.write(TALKER)
        os.chmod(self.program, 0o755)
        spec = copy.deepcopy(CLUSTER)
        run = [self.program, "{dev}", self.program]
        spec["bundles"]["backbone"].update(
            tunnels=[{}, {}, {"engine": "command"}],
            command={"listen": run, "dial": run, "ready": "ready to serve"})
        self.lab.write(spec)
        # Nobody answers through it: two of three are healthy, and apply says so.
        self.gateway.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        self.edge.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        self.wait_logged("ready to serve", "backbone-2")

    def touch(self, name):
        path = os.path.join(self.lab.dir, name)
        open(path, "w").close()
        return path

    def output(self, text):
        mark = "output tunnel=backbone-2: "
        return [line.split(mark, 1)[1] for line in text.splitlines() if mark in line]

    def test_what_it_prints_is_made_harmless(self):
        lines = self.output(self.logs("backbone-2", "--lines", "0"))
        self.assertIn("ready to serve", lines)
        self.assertIn("\\x1b[31mred\\xff\\xfe\\x00 tail", lines)
        cut = next(line for line in lines if line.startswith("longlong"))
        self.assertLessEqual(len(cut.encode()), 500)
        self.assertTrue(cut.endswith("…"))
        self.assertIn("output tunnel=backbone-2: ready to serve", self.edge.log())
        told = [json.loads(line) for line in self.logs("backbone-2", "--json").splitlines()]
        self.assertEqual(set(told[0]), {"time", "level", "text"})
        self.assertFalse([line for line in told if "backbone-2" not in line["text"]])
        self.assertEqual(len(self.logs("--lines", "3").splitlines()), 3)

    def test_a_flood_is_limited_and_its_file_too(self):
        path = os.path.join(self.edge.runtime, "w", "backbone-2.log")
        flood = self.touch("flood")
        largest, until = 0, time.monotonic() + 4
        while time.monotonic() < until:
            largest = max(largest, os.path.getsize(path))
            time.sleep(0.01)
        os.remove(flood)
        self.assertLess(largest, 4 * 1024 * 1024)
        self.assertEqual(self.edge.live(), 2, "a flood is nobody else's trouble")
        self.wait_logged("left out", "backbone-2")
        lines = self.output(self.edge.log())
        flooded = sum(line.startswith("flood ") for line in lines)
        print(f"file at most {largest} bytes; {flooded} lines of the flood were logged")
        self.assertLess(flooded, 700, "a hundred a second")
        left_out = [line for line in lines if "left out" in line]
        self.assertTrue(left_out)
        print("\n".join(left_out))
        # When it is over everything is told again.
        seen = self.logs("backbone-2", "--lines", "1")
        wait_for("beats are told again", lambda: "beat" in self.logs("backbone-2", "--lines", "1")
                 and self.logs("backbone-2", "--lines", "1") != seen)

    def test_followers_hear_more_and_only_theirs(self):
        text = self.follow("backbone-2", "--lines", "1")
        wait_for("some beats", lambda: text().count("beat") > 10)
        self.edge.kill_worker("backbone-0")
        self.wait_logged("killed by signal 9", "backbone-0")
        stop = self.touch("stop")
        wait_for("its last words", lambda: "output tunnel=backbone-2: cannot go on" in text())
        os.remove(stop)
        wait_for("its reason", lambda: "exited with status 1: cannot go on: told to stop" in text())
        self.assertNotIn("backbone-0", text())
        beats = [int(line.split()[1]) for line in self.output(text()) if line.startswith("beat ")]
        first = beats[:beats.index(1)] if 1 in beats else beats  # its successor counts anew
        self.assertEqual(first, list(range(first[0], first[0] + len(first))), "each line once")

    def test_an_adopted_one_goes_on_where_it_was(self):
        pid = self.edge.tunnel("backbone-2")["pid"]
        os.kill(self.edge.daemon_pid(), signal.SIGKILL)
        time.sleep(1)
        failed = self.edge.tunorch("logs", check=False)
        self.fails_with(failed, "no daemon is running", "daemon.log", r"w/\*\.log", "journalctl")
        before = len(self.edge.log())
        self.edge.start_daemon()
        self.wait_logged("beat", "backbone-2")
        self.assertEqual(self.edge.tunnel("backbone-2")["pid"], pid, "it lives on")
        told = self.output(self.edge.log()[before:])
        self.assertNotIn("ready to serve", told, "what was told before")
        beats = [int(line.split()[1]) for line in told if line.startswith("beat ")]
        self.assertEqual(beats, list(range(beats[0], beats[0] + len(beats))), "none twice")

    def test_down_leaves_nothing(self):
        self.edge.tunorch("down")
        self.assertFalse(os.path.exists(self.edge.runtime), "the runtime folder")


class Workers(LogsTest):
    spec = cluster(tunnels=2)

    def test_a_fatal_message_of_our_own_worker(self):
        """Without descriptors our worker cannot even begin, and its stderr alone can tell."""
        folder = os.path.join(self.lab.dir, "bin")
        os.mkdir(folder)
        shutil.copy(lab.TUNORCH, folder)
        worker = os.path.join(folder, "tunorch-worker")
        with open(worker, "w") as file:
            file.write(f'#!/bin/sh\nulimit -n 5\nexec {lab.BIN}/tunorch-worker "$@"\n')
        os.chmod(worker, 0o755)
        self.edge.run(os.path.join(folder, "tunorch"), "apply", self.lab.file, "--timeout", "1s",
                      *self.edge.options(), check=False)
        mark = "output tunnel=backbone-0: tunorch-worker: "
        self.wait_logged(mark, "backbone-0")
        line = next(line for line in self.logs("backbone-0").splitlines() if mark in line)
        print(line)
        words = line.split(mark, 1)[1]
        wait_for("it is the reason", lambda: words in self.edge.tunnel("backbone-0")["reason"])
        self.assertNotIn("tunnel=backbone-0", self.logs("backbone-1"))

    def test_it_prints_into_its_own_file(self):
        self.lab.up()
        pid = self.edge.tunnel("backbone-0")["pid"]
        path = os.path.join(self.edge.runtime, "w", "backbone-0.log")
        self.assertEqual(os.readlink(f"/proc/{pid}/fd/2"), path)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.edge.kill_worker("backbone-0")
        wait_for("a new one", lambda: self.edge.tunnel("backbone-0")["pid"] not in (0, pid))
        self.assertTrue(os.path.exists(path))

    def test_an_unknown_tunnel_and_no_daemon(self):
        self.fails_with(self.edge.tunorch("logs", check=False), "no daemon is running", "journalctl")
        self.lab.up()
        self.fails_with(self.edge.tunorch("logs", "nope", check=False), "no tunnel 'nope'",
                        "backbone-0, backbone-1")
        self.assertIn("session_up", self.logs("backbone-1"))
        self.assertIn("daemon serves node=edge", self.logs("-n", "0"))

    def test_members_of_the_group_may_read(self):
        self.lab.up()
        os.chmod(self.edge.runtime, 0o755)
        os.chmod(os.path.join(self.edge.runtime, "control.sock"), 0o666)
        as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups", lab.TUNORCH]
        done = self.edge.run(*as_nobody, "logs", *self.edge.options(), check=False)
        self.assertIn("worker_started", done.stdout, done.stderr)
        refused = self.edge.run(*as_nobody, "restart", "backbone-0", *self.edge.options(), check=False)
        self.fails_with(refused, "not permitted")

    def test_its_own_log_stays_small(self):
        self.lab.up()
        path = os.path.join(self.edge.runtime, "daemon.log")
        with open(path, "ab") as log:
            log.write(b"old\n" * (2 * 1024 * 1024 + 1))
        printed = os.path.join(self.edge.runtime, "w", "backbone-0.log")
        for _ in range(3):  # a look at its size costs 64 KiB of lines
            with open(printed, "a") as file:
                file.write(("x" * 480 + "\n") * 60)
            time.sleep(1)
        wait_for("it was put aside", lambda: os.path.exists(path + ".1"))
        self.assertLess(os.path.getsize(path), 1024 * 1024)
        self.edge.kill_worker("backbone-1")
        wait_for("it goes on", lambda: "killed by signal 9" in self.edge.log())
        self.edge.tunorch("down")
        self.assertFalse(os.path.exists(self.edge.runtime))
