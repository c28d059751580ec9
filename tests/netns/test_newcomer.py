"""The README's way from a clean clone to a killed worker on the page and in Prometheus, typed as it stands."""

import os
import re
import shutil
import subprocess
import unittest

import test_page
from lab import need_root_and_tun, wait_for

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
TRY = os.path.join(ROOT, "try")


def commands():
    with open(os.path.join(ROOT, "README.md")) as file:
        block = re.search(r"<!-- newcomer -->\n```sh\n(.*?)```", file.read(), re.S)[1]
    return block.splitlines()


def typed(command):
    return subprocess.run(["bash", "-c", command], cwd=ROOT, text=True, capture_output=True, timeout=280)


class Readme(unittest.TestCase):
    def setUp(self):
        need_root_and_tun()
        test_page.need_browser()
        self.assertFalse(os.path.exists(TRY), f"{TRY} is somebody's: move it away")
        self.addCleanup(shutil.rmtree, TRY, ignore_errors=True)

    def succeeds(self, command):
        done = typed(command)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def test_in_ten_commands(self):
        lines = commands()
        self.assertLessEqual(len(lines), 10)
        self.assertEqual(lines[0], "./dev hosts")
        self.succeeds(lines[0])
        self.addCleanup(typed, "./dev hosts down")
        printed = ""
        for command in lines[1:]:
            if command.endswith("&"):
                subprocess.Popen(["bash", "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL).wait()
            elif "promtool query" in command:  # it looks every 2 s
                printed += wait_for("Prometheus has the restart",
                                    lambda: re.search(".*backbone-1.*=> 1 .*", typed(command).stdout), 30)[0]
            else:
                printed += self.succeeds(command)
        self.assertIn("node gateway is up", printed)
        self.assertIn("node edge is up\npage and metrics: http://127.0.0.1:9810/", printed)
        self.assertRegex(printed, r"failover on it: .* tunnel_out backbone-1 ", "the page does not show it")
        with open(os.path.join(TRY, "page.png"), "rb") as picture:
            self.assertEqual(picture.read(4), b"\x89PNG")
        left = subprocess.run(["ip", "netns", "list"], text=True, capture_output=True).stdout
        self.assertNotIn("tunorch-", left)
        self.assertFalse(os.path.exists("/run/tunorch-hosts"))
