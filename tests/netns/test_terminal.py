"""What status, plan and apply print to a terminal, and to what is none."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time

from lab import TUNORCH, LabTest, cluster

COLOUR = re.compile(r"\033\[[0-9;]*m")


class Words(LabTest):
    spec = cluster(tunnels=[{"weight": 3}, {}], restart={"backoff": "5s"})

    def terminal(self, *words, columns=120, seconds=0, **environment):
        """(exit code, what a terminal of that width was sent); ended after `seconds`, where given."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        command = self.edge.command(TUNORCH, *words, *self.edge.options())
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                                   env={**os.environ, "TERM": "xterm-256color", **environment})
        os.close(theirs)
        if seconds:
            time.sleep(seconds)
            process.terminate()
        sent = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while part := os.read(ours, 65536):
                sent += part
        os.close(ours)
        return process.wait(20), sent.decode()

    def test_plan_and_apply(self):
        self.gateway.apply()
        code, plan = self.terminal("plan", self.lab.file)
        self.assertEqual(code, 2)
        self.assertIn("\033[32m+ tun backbone-0", plan, "what is added is green")
        self.assertRegex(plan, r"\033\[33m~ sysctl", "what is changed is yellow")
        self.assertNotRegex(self.terminal("plan", self.lab.file, NO_COLOR="1")[1], COLOUR)
        self.assertNotRegex(self.edge.tunorch("plan", self.lab.file, check=False).stdout, COLOUR)

        code, applied = self.terminal("apply", self.lab.file, columns=50)
        self.assertEqual(code, 0)
        self.assertRegex(applied, r"  waiting for \d: backbone-\d[^\r\n]*…?\r\033\[K", "written over")
        longest = max(len(COLOUR.sub("", line)) for line in re.findall(r"  waiting for [^\r]*", applied))
        self.assertLessEqual(longest, 50)
        self.edge.tunorch("down")
        piped = self.edge.apply().stdout
        self.assertNotIn("\033", piped)
        self.assertRegex(piped, r"\n  waiting for \d: backbone-\d.*\n")

    def test_status(self):
        self.lab.up()
        code, wide = self.terminal("status")
        self.assertEqual(code, 0)
        self.assertRegex(wide, r"backbone-0 .*\033\[32mrunning\033\[0m .*\033\[32mup\033\[0m")
        self.assertNotRegex(self.terminal("status", NO_COLOR="1")[1], COLOUR)
        self.assertNotRegex(self.terminal("status", TERM="dumb")[1], COLOUR)
        self.assertNotIn("\033", self.edge.tunorch("status").stdout)
        narrow = [COLOUR.sub("", line) for line in self.terminal("status", columns=60)[1].split("\r\n")]
        rows = [line for line in narrow if re.match(r"TUNNEL|backbone-\d +up", line)]
        self.assertLessEqual(max(map(len, rows)), 60, "what matters least is left out")
        self.assertRegex(rows[0], "TUNNEL .*HEALTH")

    def test_watch(self):
        self.lab.up()
        _, watched = self.terminal("status", "--watch", seconds=2.5)
        screens = watched.split("\033[H")[1:]
        self.assertGreaterEqual(len(screens), 2, "anew every second, from the top")
        for screen in screens[:2]:
            self.assertIn("bundle backbone", screen)
        self.edge.tunorch("down")
        _, watched = self.terminal("status", "--watch", seconds=1.5)
        self.assertIn("no daemon answers", watched.split("\033[H")[-1])
