"""What the tests of hosts with other programs on them share."""

import json
import os
import signal

from lab import LabTest, wait_for


class NeighbourTest(LabTest):
    def links(self, host):
        return {link["ifname"] for link in json.loads(host.run("ip", "-j", "link").stdout)}

    def assert_nothing_of_ours(self, host):
        self.assertEqual([name for name in self.links(host) if name.startswith("backbone")], [])
        for family in ("-4", "-6"):
            for words in (("route", "show", "table", "all", "proto", "116"), ("rule",)):
                lines = host.run("ip", family, *words).stdout.splitlines()
                self.assertEqual([line for line in lines if words[0] == "route" or
                                  "proto 116" in line], [])
        self.assertEqual(host.run("ip", "nexthop").stdout, "")
        self.assertIsNone(host.daemon_pid())

    def end_all(self, host):
        """The daemon and its workers, as when the machine lost power."""
        pids = [host.daemon_pid(), *host.left_workers()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_for("it is gone", lambda: not os.path.exists(f"/proc/{pid}"))

    def start_daemon(self, host):
        host.start_daemon()
        wait_for("the daemon answers", lambda: host.tunorch("status", check=False).stdout)
