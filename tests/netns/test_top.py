"""`tunorch top` in a real terminal: tmux, with a server of its own in the host's namespace."""

import os
import re
import signal
import subprocess
import time

import lab
from lab import Flows, LabTest, cluster, wait_for


class Tmux:
    """One window. What runs in it is typed by hand, as it were; the server ends with close()."""

    def __init__(self, host, command, columns=120, lines=40, environment=()):
        self.socket = f"{host.ns}-{time.monotonic_ns()}"
        # Its own folder: nothing of it is left in /tmp.
        self.words = host.command("env", f"TMUX_TMPDIR={host.lab.dir}", "LC_ALL=C.UTF-8",
                                  "tmux", "-L", self.socket, "-f", "/dev/null")
        shell = " ".join(["env", *environment, *command]) + "; echo ended=$?; stty -a; exec cat"
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(lines), shell)

    def tmux(self, *args):
        return subprocess.run([*self.words, *args], check=True, text=True, capture_output=True,
                              timeout=20).stdout

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def type(self, *keys):
        for key in keys:
            self.tmux("send-keys", key)

    def ask(self, format):
        return self.tmux("display-message", "-p", format).strip()

    def wait(self, text, seconds=15):
        def seen():
            screen = self.screen()
            return screen if re.search(text, screen) else None
        try:
            return wait_for(f"{text!r} on the screen", seen, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen()}") from None

    def close(self):
        subprocess.run([*self.words, "kill-server"], capture_output=True)


class TopTest(LabTest):
    spec = cluster(tunnels=[{"weight": 3}, {"weight": 1}, {"weight": 1}])

    def top(self, host=None, environment=(), **size):
        host = host or self.edge
        window = Tmux(host, [lab.TUNORCH, "top", *host.options()], environment=environment, **size)
        self.addCleanup(window.close)
        return window

    def rows(self, screen):
        """Of the tunnels, top to bottom."""
        return re.findall(r"^(backbone-\d+ .*)$", screen, re.M)

    def names(self, screen):
        return [row.split()[0] for row in self.rows(screen)]

    def rate(self, row):
        """Both directions, in bits a second."""
        units = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}
        return sum(float(value) * units[unit]
                   for value, unit in re.findall(r"([\d.]+) ([kMG]?)bit/s", row))

    def ends_clean(self, window, resized=False):
        """The terminal is as it was: the shell's screen, its cursor, and its line discipline."""
        # What stty prints last is there when all is.
        screen = window.wait(r"ended=0[^$]*\sechoke\s")
        self.assertEqual(window.ask("#{alternate_on} #{cursor_flag}"), "0 1")
        self.assertRegex(screen, r"\sicanon\s")
        self.assertRegex(screen, r"\secho\s")
        if not resized:  # tmux itself moves lines between its two screens then
            self.assertNotIn("backbone-0", screen)


class View(TopTest):
    def test_rows_with_traffic(self):
        self.lab.up()
        running = self.start_iperf(20, "-P", "16")
        window = self.top()
        screen = window.wait(r"sent [\d.]+ [MG]bit/s")
        self.assertIn("cluster demo  node edge  backbone up 3/3", screen)
        self.assertEqual(self.names(screen), ["backbone-0", "backbone-1", "backbone-2"])
        time.sleep(6)
        screen = window.screen()
        for row, part in zip(self.rows(screen), ("60", "20", "20")):
            self.assertRegex(row, r"^backbone-\d +up +[\d.]+ [kMG]bit/s +[▁-█]+ +[\d.]+ [kMG]bit/s "
                                  rf"+[▁-█]+ +[\d.]+ ms +(-|\d+ %) +\d+ % of {part} % +0")
        shares = [int(re.search(r"(\d+) % of", row)[1]) for row in self.rows(screen)]
        self.assertAlmostEqual(sum(shares), 100, delta=2)
        self.assertIn("session_up", screen.split("EVENTS")[1])
        self.assertIn("\x1b[32m", window.screen("-e"), "colours")
        # The order of the rows is that of what is sorted by.
        window.type("t")
        rates = [self.rate(row) for row in self.rows(window.wait("traffic▼"))]
        self.assertEqual(rates, sorted(rates, reverse=True))
        window.type("t")
        rates = [self.rate(row) for row in self.rows(window.wait("traffic▲"))]
        self.assertEqual(rates, sorted(rates))
        window.type("n")
        self.assertEqual(self.names(window.wait("name▼")), ["backbone-0", "backbone-1", "backbone-2"])
        window.type("n")
        self.assertEqual(self.names(window.wait("name▲")), ["backbone-2", "backbone-1", "backbone-0"])
        # A pause stands still; what went on is there after it.
        window.type("p")
        paused = self.rows(window.wait("top  paused"))
        time.sleep(2.5)
        self.assertEqual(self.rows(window.screen()), paused)
        window.type("p")
        wait_for("it goes on", lambda: self.rows(window.screen()) != paused)
        window.type("q")
        self.ends_clean(window)
        self.end_iperf(running)

    def test_a_killed_worker_and_its_return(self):
        self.lab.up()
        window = self.top()
        window.wait("backbone up 3/3")
        self.edge.kill_worker("backbone-1")
        window.wait(r"backbone-1 +(?!up)\w+ ")
        screen = window.wait(r"backbone-1 +up .* 1\n")
        self.assertIn("worker_ended", screen)
        window.type("R")
        self.assertEqual(self.names(window.wait("restarts▼"))[0], "backbone-1")

    def test_drain_undrain_and_restart_by_key(self):
        self.lab.up()
        window = self.top()
        window.wait("backbone up 3/3")
        window.type("Down", "d")
        window.wait(r"drain backbone-1\? .* y/n")
        window.type("n")
        window.wait("not done: drain backbone-1")
        self.assertEqual(self.edge.tunnel("backbone-1")["drain"], "no")
        window.type("d", "y")
        wait_for("it is drained", lambda: self.edge.tunnel("backbone-1")["drain"] == "drained")
        window.wait("drain backbone-1: done")
        window.wait(r"backbone-1 +drained")
        window.type("u")
        window.wait("undrain backbone-1: done")
        self.assertEqual(self.edge.tunnel("backbone-1")["drain"], "no")
        window.type("u")
        window.wait("undrain backbone-1: tunnel 'backbone-1' is not drained")
        pid = self.edge.tunnel("backbone-1")["pid"]
        window.type("x")
        window.wait(r"restart backbone-1\? ")
        window.type("y")
        window.wait("restart backbone-1: done", 40)
        self.assertNotEqual(self.edge.tunnel("backbone-1")["pid"], pid)

    def test_a_drain_that_takes_long_does_not_freeze_it(self):
        self.lab.up()
        time.sleep(1.2)
        flows = Flows(self.edge, self.gateway, lab.GATEWAY, 200, 10000, 12)
        time.sleep(2)
        window = self.top()
        window.wait(r"sent [\d.]+ [MG]bit/s")
        window.type("d", "y")
        window.wait("backbone-0 +draining")
        before = self.rows(window.screen())
        wait_for("it goes on", lambda: self.rows(window.screen()) != before)
        window.type("?")
        window.wait("undrain it")
        window.type("?")
        window.wait("backbone-0 +draining")
        flows.finish()
        window.wait("drain backbone-0: done", 60)

    def test_a_daemon_that_goes_and_comes(self):
        window = self.top()
        screen = window.wait("no daemon answers at")
        self.assertIn("Waiting for it", screen)
        self.lab.up()
        window.wait("backbone up 3/3")
        os.kill(self.edge.daemon_pid(), 9)
        window.wait("no daemon answers at")
        self.edge.start_daemon()
        window.wait("backbone up 3/3")
        window.wait("worker_adopted")


class Terminals(TopTest):
    def test_small_ones(self):
        self.lab.up()
        window = self.top(columns=50, lines=14)
        screen = window.wait(r"backbone-2 +up")
        print(screen)
        self.assertLessEqual(max(map(len, screen.splitlines())), 50)
        self.assertIn("q quit", screen)
        window.tmux("resize-window", "-x", "30", "-y", "10")
        window.wait("too small for")
        window.tmux("resize-window", "-x", "140", "-y", "30")
        screen = window.wait("SHARE")
        self.assertEqual(self.names(screen), ["backbone-0", "backbone-1", "backbone-2"])
        self.assertIn("R restarts", screen)
        window.type("q")
        self.ends_clean(window, resized=True)

    def test_every_end_restores_it(self):
        self.lab.up()
        for sig in ("TERM", "INT", "HUP"):
            window = self.top()
            window.wait("backbone up 3/3")
            self.assertEqual(window.ask("#{alternate_on}"), "1")
            parent = window.ask("#{pane_pid}")
            pid = subprocess.run(["pgrep", "-P", parent], check=True, text=True,
                                 capture_output=True).stdout.split()[0]
            os.kill(int(pid), getattr(signal, f"SIG{sig}"))
            self.ends_clean(window)

    def test_without_colours(self):
        self.lab.up()
        for environment in (["NO_COLOR=1"], ["TERM=vt100"]):
            window = self.top(environment=environment)
            window.wait("backbone up 3/3")
            self.assertNotRegex(window.screen("-e"), r"\x1b\[3[0-7]m")
            window.close()

    def test_without_utf8(self):
        self.lab.up()
        window = self.top(environment=["LC_ALL=C"])
        window.wait("backbone up 3/3")
        time.sleep(2.5)
        self.assertTrue(window.screen().isascii())

    def test_without_a_terminal(self):
        self.fails_with(self.edge.tunorch("top", check=False), "cannot show a live view",
                        "tunorch status --watch")
        for term in ("dumb", "nobody-knows-it"):
            window = self.top(environment=[f"TERM={term}"])
            window.wait("ended=1")
            window.wait("cannot show a live view")


