"""Bad neighbours: what others have on the host, and kernels that lack something. Refused or made up
for in words, and what is theirs is never touched."""

import contextlib
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lab import BIN, CLUSTER, Flows, LabTest, TUNORCH, cluster, wait_for

LACKING = os.path.join(BIN, "lacking.so")
NETWORKD = "/lib/systemd/systemd-networkd"


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


class RulesAndTables(NeighbourTest):
    def setUp(self):
        self.spec = cluster()
        self.spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0"]
        super().setUp()

    def theirs(self):
        """Rules and routes that are not ours, in the kernel's order."""
        return [line for family in ("-4", "-6")
                for words in (("rule",), ("route", "show", "table", "all"))
                for line in self.edge.run("ip", family, *words).stdout.splitlines()
                if "proto 116" not in line and "backbone" not in line and
                "10.77.0.2" not in line and "fd77" not in line]

    def test_they_stay_and_are_named(self):
        self.lab.gateway.apply()
        for words in (("rule", "add", "pref", "11640", "from", "192.0.2.0/24", "lookup", "100"),
                      ("rule", "add", "pref", "100", "to", "10.77.0.1", "lookup", "100"),
                      ("rule", "add", "pref", "90", "fwmark", "7", "lookup", "101"),
                      ("rule", "add", "pref", "80", "lookup", "102"),
                      ("route", "add", "10.77.0.1/32", "via", "10.66.0.1", "table", "100"),
                      ("route", "add", "203.0.113.0/24", "via", "10.66.0.1", "table", "116"),
                      ("route", "add", "10.77.0.1/32", "via", "10.66.0.1", "table", "101")):
            self.edge.ip(*words)
        before = self.theirs()
        output = self.edge.apply().stdout
        self.assertRegex(output, r"note: rule -4 pref 11640 from 192\.0\.2\.0/24 lookup 100 .*is not "
                         "ours and has the preference of one of ours.*another preference")
        self.assertRegex(output, r"note: rule -4 pref 100 from all to 10\.77\.0\.1/32 lookup 100 .*is "
                         r"asked before our route to 10\.77\.0\.1/32.*wan.*remove it")
        self.assertRegex(output, r"note: table 116 has routes that are not ours, as 203\.0\.113\.0/24"
                         ".*wan.*left alone.*a table of its own")
        self.assertNotIn("rule -4 pref 90", output, "a rule for some packets is their business")
        self.assertNotIn("lookup 102", output, "an empty table hides nothing")
        self.assertEqual(self.theirs(), before)
        # One that comes later is told in the log.
        self.edge.ip("route", "add", "10.77.0.1/32", "via", "10.66.0.1", "table", "102")
        wait_for("it is said", lambda: "pref 80 from all lookup 102" in self.edge.log(), 10)
        self.edge.ip("route", "del", "10.77.0.1/32", "table", "102")
        self.edge.tunorch("down")
        self.assertEqual(self.theirs(), before)
        self.assert_nothing_of_ours(self.edge)

    def test_the_very_same_rule(self):
        """Ours is told from it by its protocol alone."""
        self.gateway.apply()
        self.edge.ip("rule", "add", "pref", "11640", "lookup", "116")
        before = self.theirs()
        self.assertRegex(self.edge.apply().stdout,
                         "note: rule -4 pref 11640 from all lookup 116 .*not ours")
        self.assertEqual(self.theirs(), before)
        self.edge.tunorch("down")
        self.assertEqual(self.theirs(), before)
        self.assert_nothing_of_ours(self.edge)


class Networkd(NeighbourTest):
    """systemd-networkd in the edge's namespace. Whenever it configures a link it removes rules and
    routes without a device that are not its own (ManageForeignRoutes= and
    ManageForeignRoutingPolicyRules= of networkd.conf(5), on by default)."""

    # No udev and no D-Bus: with a read-only /sys it takes links as they come.
    SCRIPT = """
mount -t tmpfs none /run && mount -o remount,ro,bind /sys
for folder in links leases lldp; do mkdir -p /run/systemd/netif/$folder; done
chown -R systemd-network: /run/systemd/netif
mkdir -p /run/systemd/network /run/empty && mount --bind /run/empty /etc/systemd/network
printf '%s\n' "[Match]" "Name=$1" "[Network]" LinkLocalAddressing=no ConfigureWithoutCarrier=yes \
  Address=192.0.2.1/32 "[RoutingPolicyRule]" From=192.0.2.1 Table=77 Priority=500 \
  > /run/systemd/network/10-theirs.network
export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console
exec /lib/systemd/systemd-networkd
"""

    def setUp(self):
        self.spec = cluster()
        self.spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0"]
        super().setUp()
        self.gateway.ip("addr", "add", "198.51.100.9/32", "dev", "lo")
        self.said = os.path.join(self.lab.dir, "networkd.log")

    def start_networkd(self, names):
        self.assertTrue(os.path.exists(NETWORKD), "Debian's package systemd has it")
        with open(self.said, "w") as log:
            self.edge.start("unshare", "-m", "sh", "-c", self.SCRIPT, "sh", names, stdout=log,
                            stderr=log)
        wait_for("networkd knows the links", lambda: "wan: State changed" in self.networkd_said())
        time.sleep(0.3)

    def networkd_said(self):
        with open(self.said) as log:
            return log.read()

    def our_rules(self):
        return [line for line in self.edge.run("ip", "rule").stdout.splitlines()
                if "proto 116" in line]

    def test_it_removes_rules_and_routes_of_ours(self):
        self.lab.up()
        rules = self.our_rules()
        self.start_networkd("theirs0")
        pids = self.edge.worker_pids()
        flows = Flows(self.edge, self.gateway, "10.77.0.1", 50, 2000, 3)
        ping = self.edge.start("ping", "-i", "0.02", "-c", "150", "-W", "1", "198.51.100.9",
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(0.5)
        self.edge.ip("link", "add", "theirs0", "type", "veth", "peer", "name", "theirs1")
        self.edge.ip("link", "set", "theirs0", "up")
        output = ping.communicate(timeout=30)[0]
        got, echoed = flows.finish()
        answered = int(re.search(r"(\d+) received", output)[1])
        print(f"\nnetworkd removes rules and routes: lost {150 - answered} of 150 pings 20 ms apart, "
              f"{got['lost']} and {echoed['lost_on_return']} packets of flows")
        for what in ("foreign routing policy rule.*priority: 11640", "foreign route.*unreachable"):
            self.assertRegex(self.networkd_said(), "Removing " + what)
        self.assertGreaterEqual(answered, 150 - 25)
        self.assertLessEqual(got["lost"] + echoed["lost_on_return"], 100)  # of 12,000
        self.assertEqual(self.our_rules(), rules)
        self.assertIn("healed", [event["event"] for event in self.edge.events()])
        self.assertEqual(self.edge.worker_pids(), pids)
        self.assertRegex(self.edge.run("ip", "route").stdout, r"unreachable 10\.77\.0\.1 proto 116")
        theirs = "500:\tfrom 192.0.2.1 lookup 77 proto static"
        self.assertIn(theirs, self.edge.run("ip", "rule").stdout)
        self.edge.tunorch("down")
        self.assertIn(theirs, self.edge.run("ip", "rule").stdout)
        self.assert_nothing_of_ours(self.edge)

    def test_it_takes_our_devices_for_its_own(self):
        """By a [Match] that is too wide: Name=* would do the same."""
        self.start_networkd("backbone-*")
        self.lab.up()
        self.assertRegex(self.networkd_said(), "backbone-0: State changed: initialized -> config")
        wait_for("all four carry", lambda: self.edge.live() == 4)
        self.edge.kill_worker("backbone-1")
        wait_for("it is out", lambda: self.edge.live() == 3)
        wait_for("all four carry", lambda: self.edge.live() == 4)
        self.assert_reaches(self.edge, "10.77.0.1")
        self.assert_reaches(self.edge, "198.51.100.9")
        time.sleep(0.5)
        before = len(self.edge.events())
        time.sleep(1)
        healed = [e for e in self.edge.events()[before:] if e["event"] == "healed"]
        self.assertEqual(healed, [], "they would undo each other's work for ever")


class LackingKernel(NeighbourTest):
    def lacking(self, what, verb="apply", *words, check=True, host=None):
        host = host or self.edge
        words = (self.lab.file, *words) if verb == "apply" else words
        return host.run("env", f"LD_PRELOAD={LACKING}", f"LACKING={what}",
                        f"ASAN_OPTIONS={os.environ['ASAN_OPTIONS']}:verify_asan_link_order=0",
                        TUNORCH, verb, *words, *host.options(), check=check)

    def refused(self, what, *patterns, host=None):
        output = self.fails_with(self.lacking(what, check=False, host=host), *patterns)
        self.assertNotIn("cannot undo", output)
        self.assert_nothing_of_ours(host or self.edge)
        return output

    def check_multipath(self, what, *reasons):
        self.gateway.apply()
        self.lacking(what)
        mechanism = self.edge.bundle()["peers"][0]["mechanism"]
        for reason in ("multipath route: this kernel has no resilient nexthop groups", *reasons):
            self.assertIn(reason, mechanism)
        self.assertEqual(len(self.edge.route_devices("10.77.0.1")), 4)
        self.assertEqual(self.edge.run("ip", "nexthop").stdout, "")
        self.assert_reaches(self.edge, "10.77.0.1")
        if what == "nexthops":
            self.edge.kill_worker("backbone-1")
            wait_for("the route leaves it",
                     lambda: "backbone-1" not in self.edge.route_devices("10.77.0.1"))
            wait_for("it is back", lambda: len(self.edge.route_devices("10.77.0.1")) == 4)
        self.edge.tunorch("down")
        self.assert_nothing_of_ours(self.edge)

    def test_nexthop_objects(self):
        self.check_multipath("nexthops", "Operation not supported", "Linux 5.13")

    def test_resilient_groups(self):
        self.check_multipath("resilient", "Linux 5.13")

    def test_multipath_routes(self):
        self.refused("ecmp", "nothing was changed", "fib_multipath_hash_policy does not exist here",
                     "CONFIG_IP_ROUTE_MULTIPATH.*Linux 4.12")

    def test_ipv6(self):
        self.refused("ipv6", "nothing was changed", "this kernel has no IPv6.*ipv6.disable=1.*"
                     "CONFIG_IPV6.*take them out")
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["gateway"]["inner"] = ["10.77.0.1/32"]
        spec["nodes"]["edge"]["inner"] = ["10.77.0.2/32"]
        self.lab.write(spec)
        self.check_multipath("ipv6")

    def test_ipv6_turned_off(self):
        self.gateway.apply()
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                      "net.ipv6.conf.default.disable_ipv6=1")
        self.fails_with(self.edge.apply(check=False), "nothing was changed",
                        r"IPv6 is turned off on lo \(net.ipv6.conf.lo.disable_ipv6 = 1\).*sysctl -w "
                        "net.ipv6.conf.lo.disable_ipv6=0")
        self.assert_nothing_of_ours(self.edge)
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
        self.edge.apply()  # devices of ours have it turned on
        self.assertEqual(self.edge.live(), 4)
        # Turned off while it runs: IPv4 is not to suffer, and IPv6 comes back with it.
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        wait_for("it is said", lambda: self.edge.status().get("conflicts"), 10)
        self.edge.kill_worker("backbone-2")
        wait_for("it is out", lambda: self.edge.live() == 3)
        wait_for("it is back", lambda: self.edge.live() == 4)
        self.assert_reaches(self.edge, "10.77.0.1")
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
        wait_for("IPv6 is back", lambda: " 0% packet loss" in self.edge.run(
            "ping", "-c", "2", "-i", "0.2", "-W", "1", "fd77::1", check=False).stdout)

    def masqueraded(self):
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["gateway"].update(subnets=["10.20.0.0/16"], masquerade="w0")
        self.lab.write(spec)

    def test_nftables(self):
        for what in ("nftables", "netfilter"):
            self.lab.write(CLUSTER)
            self.lacking(what, host=self.gateway)  # nothing of it is needed
            self.gateway.tunorch("down")
            self.masqueraded()
            self.refused(what, r"failed: .*nft", "CONFIG_NF_TABLES", r"undone: \+ tun backbone-0",
                         host=self.gateway)

    def without_tun(self, *make):
        """As in a container: /dev/net is empty, or has a node that no driver serves."""
        script = "mount -t tmpfs none /dev/net && " + "".join(make) + 'exec "$@"'
        done = self.edge.run("unshare", "-m", "sh", "-c", script, "sh", TUNORCH, "apply",
                             self.lab.file, *self.edge.options(), check=False)
        self.fails_with(done, r"failed: \+ tun backbone-0", r"cannot open /dev/net/tun \(.*modprobe "
                        "tun.*CONFIG_TUN.*container.*No such (file|device)")
        self.assertNotIn("cannot undo", done.stderr)
        self.assert_nothing_of_ours(self.edge)

    def test_tun(self):
        self.without_tun()
        self.without_tun("mknod /dev/net/tun c 10 199 && ")
