"""Hosts with more than one tunorch, and with names that are taken: refused or made up for in words, and
what another program owns is never touched."""

import contextlib
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile

from lab import CLUSTER, TUNORCH, wait_for
from neighbours import NeighbourTest


class SeveralDaemons(NeighbourTest):
    def test_ten_applies_at_once_make_one_daemon(self):
        self.gateway.apply()
        running = [self.edge.start(TUNORCH, "apply", self.lab.file, *self.edge.options(),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                   for _ in range(10)]
        for one in running:
            output = one.communicate(timeout=60)[0]
            self.assertEqual(one.returncode, 0, output)
            self.assertIn("node edge is up", output)
        self.assertEqual(self.edge.live(), 4)
        wait_for("the other daemons are gone", lambda: len(self.daemons()) == 1, 5)
        self.assertEqual(len(list(self.edge.left_workers())), 4)
        self.edge.tunorch("down")
        self.assert_nothing_of_ours(self.edge)
        self.assertFalse(os.path.exists(self.edge.runtime))

    def daemons(self):
        """The processes that are, or would be, the edge's daemon."""
        pids = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline") as file:
                    words = file.read().split("\0")
                if words[:2] == [TUNORCH, "daemon"] and self.edge.runtime in words:
                    pids.append(int(pid))
        return pids

    def test_ten_daemons_at_once_are_one(self):
        running = [self.edge.start(TUNORCH, "daemon", *self.edge.options(),
                                   stderr=subprocess.PIPE) for _ in range(10)]
        wait_for("nine have ended", lambda: sum(one.poll() is not None for one in running) == 9)
        for one in running:
            if one.poll() is not None:
                self.assertEqual(one.returncode, 1)
                self.assertRegex(one.stderr.read(), "another tunorch daemon runs in this network "
                                 "namespace.*tunorch status")
        self.assertIn("nothing is applied", self.edge.tunorch("status").stdout)

    def test_one_that_fails_does_not_end_the_others(self):
        """An apply that began where no daemon ran, and was overtaken by another one."""
        self.gateway.apply()
        os.rename(self.lab.file, self.lab.file + ".good")
        spec = copy.deepcopy(CLUSTER)
        spec["pki"] = {"dir": "elsewhere"}  # found out by the daemon
        self.lab.write(spec)
        # It stands still between the start of its daemon and its request.
        bad = self.edge.start("strace", "-o", "/dev/null", "-e", "trace=socket", "-e",
                              "inject=socket:delay_enter=1500000:when=2+", TUNORCH, "apply",
                              self.lab.file, *self.edge.options(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        wait_for("its daemon is there",
                 lambda: os.path.exists(os.path.join(self.edge.runtime, "control.sock")))
        self.lab.file += ".good"
        self.edge.apply()
        output = bad.communicate(timeout=60)[0]
        self.assertEqual(bad.returncode, 1, output)
        self.assertIn("elsewhere", output)
        self.assertEqual(self.edge.live(), 4)

    def test_a_runtime_folder_of_a_daemon_in_another_namespace(self):
        self.lab.up()
        before = os.stat(os.path.join(self.gateway.runtime, "control.sock"))
        with open(os.path.join(self.gateway.runtime, "journal.json")) as file:
            journal = file.read()
        with tempfile.TemporaryDirectory(prefix="tn-") as state:
            done = subprocess.run(
                ["unshare", "-n", TUNORCH, "daemon", "--node", "gateway", "--runtime-dir",
                 self.gateway.runtime, "--state-dir", state], text=True, capture_output=True,
                timeout=30)
        self.fails_with(done, f"another tunorch daemon uses the runtime folder "
                        f"{self.gateway.runtime}.*--runtime-dir")
        after = os.stat(os.path.join(self.gateway.runtime, "control.sock"))
        self.assertEqual(before.st_ino, after.st_ino)
        with open(os.path.join(self.gateway.runtime, "journal.json")) as file:
            self.assertEqual(file.read(), journal)
        self.assertEqual(self.gateway.live(), 4)

    def test_a_second_apply_while_one_waits(self):
        first = self.edge.start(TUNORCH, "apply", self.lab.file, "--timeout", "30s",
                                *self.edge.options(), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        wait_for("the first one waits",
                 lambda: self.edge.tunorch("status", check=False).stdout.count("running") == 4)
        done = self.edge.tunorch("apply", self.lab.file, "--timeout", "300ms", check=False)
        self.fails_with(done, "backbone-0: not healthy towards gateway")
        self.assertIsNone(first.poll())
        self.gateway.apply()
        output = first.communicate(timeout=30)[0]
        self.assertEqual(first.returncode, 0, output)

    def test_what_a_dead_one_left(self):
        """Its sockets, and the ids of processes that are somebody else's by now."""
        self.lab.up()
        self.end_all(self.edge)
        stranger = subprocess.Popen(["sleep", "60"])
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        self.assertTrue(os.path.exists(os.path.join(self.edge.runtime, "control.sock")))
        for k in range(4):
            path = os.path.join(self.edge.runtime, "w", f"backbone-{k}.process")
            with open(path) as file:
                words = file.read().split()
            with open(path, "w") as file:
                file.write(" ".join([str(stranger.pid), *words[1:]]))
        self.edge.apply()
        self.assertEqual(self.edge.live(), 4)
        self.edge.tunorch("down")
        self.assertIsNone(stranger.poll(), "somebody else's process was ended")
        self.assert_nothing_of_ours(self.edge)


class RuntimeFolders(NeighbourTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.clear)  # the lab itself could not close with it

    def clear(self):
        if os.path.islink(self.edge.runtime) or os.path.isfile(self.edge.runtime):
            os.unlink(self.edge.runtime)

    def refused(self, *patterns, verb="apply"):
        words = [self.lab.file] if verb == "apply" else []
        done = self.edge.tunorch(verb, *words, check=False)
        self.fails_with(done, re.escape(f"cannot use the runtime folder {self.edge.runtime}: "),
                        *patterns, "--runtime-dir")
        self.assert_nothing_of_ours(self.edge)

    def test_a_file_in_its_place(self):
        with open(self.edge.runtime, "w") as file:
            file.write("theirs")
        self.refused("it is not a folder: remove it")
        self.refused("it is not a folder", verb="down")
        with open(self.edge.runtime) as file:
            self.assertEqual(file.read(), "theirs")
        os.unlink(self.edge.runtime)

    def test_links(self):
        theirs = os.path.join(self.lab.dir, "theirs")
        os.symlink(theirs, self.edge.runtime)
        self.refused("it is a link to nowhere: remove it")
        self.assertFalse(os.path.exists(theirs))
        os.mkdir(theirs)
        os.chown(theirs, 65534, 65534)
        self.refused("it belongs to user 65534")
        os.chown(theirs, 0, 0)
        os.chown(self.edge.runtime, 65534, 65534, follow_symlinks=False)
        self.refused("it belongs to user 65534")
        self.assertEqual(os.listdir(theirs), [])
        os.chown(self.edge.runtime, 0, 0, follow_symlinks=False)
        self.gateway.apply()
        self.edge.apply()  # root's own link to root's own folder is nobody's trick
        self.edge.tunorch("down")
        self.assertEqual(os.listdir(theirs), [])
        self.assertTrue(os.path.islink(self.edge.runtime))
        os.unlink(self.edge.runtime)

    def test_somebody_elses(self):
        os.mkdir(self.edge.runtime)
        os.chown(self.edge.runtime, 65534, 65534)
        # What down would believe: it would write settings of the owner's choice.
        with open(os.path.join(self.edge.runtime, "journal.json"), "w") as file:
            file.write("{}")
        self.refused("it belongs to user 65534, who could put files in place of ours", "chown")
        self.refused("it belongs to user 65534", verb="down")
        os.chown(self.edge.runtime, 0, 0)
        os.chmod(self.edge.runtime, 0o777)
        self.refused("others may write there", "chmod go-w")
        self.assertEqual(os.listdir(self.edge.runtime), ["journal.json"])
        shutil.rmtree(self.edge.runtime)

    def read_only(self, folder):
        """An apply that finds this folder on a read-only file system."""
        os.makedirs(folder, exist_ok=True)
        done = self.edge.run("unshare", "-m", "sh", "-c",
                             'mount -t tmpfs -o ro,mode=755 none "$0" && exec "$@"', folder, TUNORCH,
                             "apply", self.lab.file, *self.edge.options(), check=False)
        self.assertEqual(os.listdir(folder), [])
        return done

    def test_a_read_only_file_system(self):
        done = self.read_only(self.edge.runtime)
        self.fails_with(done, "cannot use the runtime folder.*Read-only file system.*--runtime-dir")
        os.rmdir(self.edge.runtime)
        self.assert_nothing_of_ours(self.edge)
        folder = os.path.join(self.lab.dir, "state")
        done = self.read_only(folder)
        self.fails_with(done, f"cannot .* {folder}.*Read-only file system.*--state-dir")
        self.assert_nothing_of_ours(self.edge)
        self.assertFalse(os.path.exists(self.edge.runtime))


class TakenNames(NeighbourTest):
    def hold_tun(self, name):
        """A process with a TUN of its own, which goes away with it."""
        script = ("import fcntl,struct,sys,time\n"
                  "tun = open('/dev/net/tun', 'r+b', buffering=0)\n"
                  "fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), "
                  "0x1001))\n"
                  "print('ready', flush=True)\n"
                  "time.sleep(60)\n")
        process = self.edge.start(sys.executable, "-c", script, name, stdout=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def look(self, name):
        """All of a device that another's hand on it would change."""
        return [self.edge.run(*words).stdout for words in (
            ("ip", "-d", "link", "show", name), ("ip", "addr", "show", name),
            ("sysctl", "-a", "-r", f"net.ipv[46].conf.{name}."))]

    def steal(self, *commands):
        """The daemon may make ours again between two commands: then once more."""
        def stolen():
            return subprocess.run(["ip", "-n", self.edge.ns, "-batch", "-"], text=True,
                                  input="\n".join(commands), capture_output=True).returncode == 0
        wait_for(f"{commands[-1]} is done first", stolen)

    def conflicts(self):
        return self.edge.status().get("conflicts", [])

    def test_another_name_of_a_device(self):
        self.edge.ip("link", "property", "add", "dev", "wan", "altname", "backbone-2")
        before = self.edge.run("ip", "link", "show", "wan").stdout
        self.fails_with(self.edge.apply(check=False), "nothing was changed",
                        "device backbone-2 cannot be made: wan has it as another name.*ip link "
                        "property del dev wan altname backbone-2")
        self.assert_nothing_of_ours(self.edge)
        self.assertEqual(self.edge.run("ip", "link", "show", "wan").stdout, before)

    def test_taken_while_it_runs(self):
        self.lab.up()
        for take, theirs in (
                ("tuntap add backbone-2 mode tun user 65534", "tun"),
                ("link add backbone-2 type veth peer name other", "veth"),
                ("link property add dev wan altname backbone-2", "wan")):
            self.steal("link del backbone-2", take)
            name = "wan" if theirs == "wan" else "backbone-2"
            before = self.look(name)
            wait_for("it is said", lambda: any("backbone-2" in c for c in self.conflicts()))
            self.assertIn("in the way: device backbone-2", self.edge.tunorch("status").stdout)
            wait_for("three tunnels carry", lambda: self.edge.live() == 3)
            if theirs == "tun":  # the others are looked after as before
                self.edge.kill_worker("backbone-0")
                wait_for("it is out", lambda: self.edge.live() < 3)
                wait_for("it is back", lambda: self.edge.live() == 3)
            self.assert_reaches(self.edge, "10.77.0.1")
            self.assertEqual(self.look(name), before, "theirs was touched")
            said = [e for e in self.edge.events() if e["event"] == "conflict"]
            self.assertEqual(len(said), 1 if theirs == "tun" else 2 if theirs == "veth" else 3)
            if theirs == "wan":
                self.edge.ip("link", "property", "del", "dev", "wan", "altname", "backbone-2")
            else:
                self.edge.ip("link", "del", "backbone-2")
            wait_for("ours comes", lambda: self.edge.live() == 4)
            self.assertEqual(self.conflicts(), [])
        self.steal("link del backbone-2", "link add backbone-2 type veth peer name other")
        before = self.look("backbone-2")
        self.edge.tunorch("down")
        self.assertEqual(self.look("backbone-2"), before)
        self.edge.ip("link", "del", "backbone-2")
        self.assert_nothing_of_ours(self.edge)

    def test_taken_before_the_daemon_starts(self):
        """As at a boot: somebody else was first."""
        self.lab.up()
        self.end_all(self.edge)
        for k in range(4):
            self.edge.ip("link", "del", f"backbone-{k}")
        holder = self.hold_tun("backbone-1")
        before = self.look("backbone-1")
        self.start_daemon(self.edge)
        wait_for("three tunnels carry", lambda: self.edge.live() == 3)
        self.assertRegex(self.conflicts()[0], "device backbone-1 exists and is not ours: remove it")
        self.assert_reaches(self.edge, "10.77.0.1")
        self.assertEqual(self.look("backbone-1"), before)
        holder.kill()
        wait_for("ours comes", lambda: self.edge.live() == 4)

    def test_a_route_taken_while_it_runs(self):
        self.lab.up()
        theirs = "10.77.0.1 via 10.66.0.1 dev wan"
        self.steal("route del 10.77.0.1/32 proto 116", "route add " + theirs)
        wait_for("it is said", lambda: any("10.77.0.1/32" in c for c in self.conflicts()))
        self.edge.kill_worker("backbone-3")
        wait_for("it is out", lambda: self.edge.live() == 3)
        wait_for("it is back", lambda: self.edge.live() == 4)
        self.assertIn(theirs, self.edge.run("ip", "route").stdout)
        self.assertLess(self.edge.log().count("cannot follow the plan"), 3)
        self.edge.ip("route", "del", "10.77.0.1/32", "dev", "wan")
        wait_for("ours comes", lambda: len(self.edge.route_devices("10.77.0.1")) >= 1
                 or self.edge.routes("10.77.0.1"))
        wait_for("nothing is in the way", lambda: self.conflicts() == [])
        self.assert_reaches(self.edge, "10.77.0.1")
