"""The demo works, is plain when piped, and leaves nothing behind, also when it is interrupted."""

import os
import signal
import subprocess
import sys
import time
import unittest

from lab import BIN, need_root_and_tun

DEMO = [sys.executable, os.path.join(os.path.dirname(__file__), "demo.py")]


class Demo(unittest.TestCase):
    def setUp(self):
        need_root_and_tun()
        self.before = self.namespaces()

    def namespaces(self):
        listed = subprocess.run(["ip", "netns"], text=True, capture_output=True).stdout
        return {line.split()[0] for line in listed.splitlines()}

    def traces(self):
        return self.namespaces() - self.before

    def start(self):
        return subprocess.Popen(DEMO, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**os.environ, "TUNORCH_BIN": BIN})

    def test_it_runs_to_its_end(self):
        demo = self.start()
        output = demo.communicate(timeout=120)[0]
        self.assertEqual(demo.returncode, 0, output)
        self.assertNotIn("\033", output)
        self.assertEqual(output.count(": as before"), 2, output)
        self.assertEqual(self.traces(), set())

    def test_interrupted_it_leaves_nothing(self):
        demo = self.start()
        time.sleep(3)
        self.assertNotEqual(self.traces(), set())
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
        self.assertEqual(self.traces(), set())
