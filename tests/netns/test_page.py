"""The web page of a node, in Debian's chromium within the edge's network namespace, where nothing but
the node itself can be reached. What is looked at is in tests/web/page_test.mjs."""

import json
import os
import shutil
import subprocess
import unittest

from lab import TUNORCH, LabTest, cluster

WEB = os.path.abspath(os.path.join(os.path.dirname(__file__), "../web"))
ADDRESS = "127.0.0.1:9810"


def need_browser():
    missing = [what for what, there in (
        ("chromium", os.path.exists("/usr/bin/chromium")),
        ("node", shutil.which("node")),
        ("tests/web/node_modules (npm ci --ignore-scripts, in tests/web)",
         os.path.isdir(os.path.join(WEB, "node_modules")))) if not there]
    if not missing:
        return
    reason = "the page's test lacks " + ", ".join(missing)
    if os.environ.get("CI") == "true":
        raise RuntimeError(reason)
    raise unittest.SkipTest(reason)


class PageTest(LabTest):
    # A killed worker stays away long enough to be looked at.
    spec = {**cluster(tunnels=[{"weight": 3}, {"weight": 1}, {"weight": 1}, {"weight": 1}],
                      restart={"backoff": "5s"}), "metrics": ADDRESS}

    def setUp(self):
        need_browser()
        super().setUp()
        self.lab.up()

    def browse(self, case, limit=90, **more):
        lab = {"url": f"http://{ADDRESS}/", "tunorch": TUNORCH, "options": self.edge.options(), **more}
        try:
            done = self.edge.run("node", os.path.join(WEB, "page_test.mjs"), case, json.dumps(lab),
                                 check=False, timeout=limit)
        except subprocess.TimeoutExpired as late:
            self.fail(f"{case} took longer than {limit} s: {late.stdout} {late.stderr}")
        print(done.stdout, end="")
        self.assertEqual(done.returncode, 0, f"{case}: {done.stdout}{done.stderr}")


class ShowsTheNode(PageTest):
    """Without faults, so one lab is enough for all."""

    def test_all_that_it_shows(self):
        for case in ("values", "traffic", "keyboard", "narrow", "contrast", "strangers", "lost"):
            with self.subTest(case):
                self.browse(case)


class ShowsFaults(PageTest):
    def test_a_killed_worker(self):
        self.browse("failover")

    def test_a_killed_daemon_and_the_next(self):
        self.browse("daemon")

