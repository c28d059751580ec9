"""`tunorch doctor` on hosts where something is really wrong: it finds it, and the command that it
prints mends it."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import time

from lab import BIN, TUNORCH, LabTest, cluster, netlink_writes, wait_for

LISTENER = ("import socket, time; s = socket.create_server(('', 4431)); print('ready', flush=True); "
            "time.sleep(600)")


class Doctor(LabTest):
    def report(self, host, file=True, wrap=()):
        words = [TUNORCH, "doctor", *([self.lab.file] if file else []), "--json", *host.options()]
        done = host.run(*wrap, *words, check=False)
        self.assertIn(done.returncode, (0, 2, 3), done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["exit_code"], done.returncode)
        return report

    def findings(self, host, name, **options):
        return [finding for finding in self.report(host, **options)["findings"]
                if finding["id"] == name and finding["severity"] != "ok"]

    def assert_mends(self, host, name, severity, file=True, wrap=()):
        """It is found once, and not any more after its command was run."""
        found = self.findings(host, name, file=file, wrap=wrap)
        self.assertEqual([finding["severity"] for finding in found], [severity], found)
        self.assertTrue(found[0]["meaning"])
        host.run(*wrap, "sh", "-c", f"PATH={BIN}:$PATH; {found[0]['mend']}")
        self.assertEqual(self.findings(host, name, file=file, wrap=wrap), [])
        return found[0]


class Findings(Doctor):
    def setUp(self):
        self.spec = cluster()
        super().setUp()

    def full_tunnel(self):
        self.spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0"]
        self.lab.write(self.spec)

    def test_jumbo_mtu_of_the_wan_link(self):
        self.assertEqual(self.findings(self.edge, "links.mtu"), [])
        self.spec["nodes"]["gateway"]["endpoint"] = "10.99.0.1"
        self.lab.write(self.spec)
        self.edge.ip("link", "set", "wan", "mtu", "9000")
        self.assertEqual(self.findings(self.edge, "links.mtu"), [], "not the way to anybody")
        self.edge.ip("route", "add", "10.99.0.0/24", "via", "10.66.0.1")
        found = self.assert_mends(self.edge, "links.mtu", "warning")
        self.assertIn("9000", found["found"])
        self.assertIn("mtu 1500", self.edge.run("ip", "link", "show", "wan").stdout)

    def test_jumbo_mtu_of_the_default_routes_link(self):
        self.edge.ip("link", "set", "wan", "mtu", "9000")
        self.edge.ip("route", "add", "default", "via", "10.66.0.1")
        self.assert_mends(self.edge, "links.mtu", "warning", file=False)

    def test_strict_filter_where_replies_leave_by_another_link(self):
        self.gateway.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0",
                         "net.ipv4.conf.w0.rp_filter=1")
        self.assertEqual(self.findings(self.gateway, "settings.rp-filter"), [])
        self.gateway.ip("link", "add", "w9", "type", "veth", "peer", "name", "w9p")
        for dev in ("w9", "w9p"):
            self.gateway.ip("link", "set", dev, "up")
        self.gateway.ip("addr", "add", "10.99.0.2/24", "dev", "w9")
        self.gateway.ip("route", "add", "default", "via", "10.99.0.1", "dev", "w9")
        self.assert_mends(self.gateway, "settings.rp-filter", "warning")

    def test_no_way_to_the_listener(self):
        self.edge.ip("link", "set", "wan", "down")
        found = self.findings(self.edge, "links.way")
        self.assertEqual([finding["severity"] for finding in found], ["error"])
        self.assertIn("Network is unreachable", found[0]["found"])
        self.edge.ip("link", "set", "wan", "up")
        wait_for("a way", lambda: not self.findings(self.edge, "links.way"))

    def test_foreign_rule_among_ours(self):
        self.full_tunnel()
        self.edge.ip("rule", "add", "pref", "11620", "lookup", "99")
        self.edge.ip("rule", "add", "pref", "32000", "lookup", "99")
        self.assert_mends(self.edge, "conflicts.rule", "warning")
        left = self.edge.run("ip", "rule").stdout
        self.assertNotIn("11620:", left)
        self.assertIn("32000:", left)

    def test_foreign_routes(self):
        self.full_tunnel()
        self.edge.ip("route", "add", "10.9.0.0/16", "dev", "wan", "table", "116")
        self.assert_mends(self.edge, "conflicts.table", "warning")
        self.edge.ip("route", "add", "10.77.0.1/32", "via", "10.66.0.1")
        self.assert_mends(self.edge, "conflicts.route", "error")
        self.edge.ip("route", "add", "198.18.0.0/15", "dev", "wan")
        self.assert_mends(self.edge, "conflicts.link-net", "warning")

    def test_key_that_others_can_read(self):
        key = os.path.join(self.lab.dir, "pki/edge.key")
        os.chmod(key, 0o644)
        found = self.assert_mends(self.edge, "keys.mode", "error")
        self.assertIn("0644", found["found"])
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
        wireguard = os.path.join(self.lab.dir, "pki/edge.wg.key")
        shutil.copy(key, wireguard)
        os.chmod(wireguard, 0o640)
        self.assert_mends(self.edge, "keys.mode", "error")
        os.chown(key, 12345, 0)
        self.assert_mends(self.edge, "keys.owner", "warning")

    def test_weak_key(self):
        key = os.path.join(self.lab.dir, "pki/edge.key")
        self.edge.run("openssl", "genrsa", "-out", key, "2048")
        found = self.assert_mends(self.edge, "keys.algorithm", "warning")
        self.assertIn("RSA of 2048 bits", found["found"])

    def test_key_of_two_nodes(self):
        pki = os.path.join(self.lab.dir, "pki")
        for kind in ("key", "crt"):
            shutil.copy(f"{pki}/gateway.{kind}", f"{pki}/edge.{kind}")
        found = self.findings(self.edge, "keys.shared")
        self.assertIn("edge, gateway", found[0]["found"])
        os.remove(f"{pki}/edge.crt")
        os.remove(f"{pki}/edge.key")
        self.assert_mends(self.edge, "keys.usable", "error")

    def test_port_that_is_taken(self):
        program = self.gateway.start("python3", "-c", LISTENER, stdout=subprocess.PIPE)
        self.assertEqual(program.stdout.readline(), "ready\n")
        self.assertEqual(self.findings(self.edge, "conflicts.port"), [])
        found = self.findings(self.gateway, "conflicts.port")[0]
        self.assertEqual(found["severity"], "error")
        self.assertIn(f"4431/tcp is taken by python3 (pid {program.pid})", found["found"])
        if found["mend"].startswith("kill"):  # else of the unit that the tests run in
            self.assertEqual(found["mend"], f"kill {program.pid}")
        os.kill(program.pid, signal.SIGTERM)
        program.wait(timeout=10)
        program.stdout.close()
        self.assertEqual(self.findings(self.gateway, "conflicts.port"), [])

    def test_ipv6_switched_off(self):
        self.assertEqual(self.findings(self.edge, "kernel.ipv6"), [])
        self.edge.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        self.assert_mends(self.edge, "kernel.ipv6", "error")

    def test_networkd_that_deletes_what_is_others(self):
        """Of systemd-networkd there is only a process of that name, and of /etc/systemd and
        systemctl what this test puts there for itself."""
        etc, programs = (os.path.join(self.lab.dir, name) for name in ("etc", "programs"))
        os.mkdir(etc)
        os.mkdir(programs)
        shutil.copy("/bin/sleep", f"{programs}/systemd-networkd")
        with open(f"{programs}/systemctl", "w") as file:
            file.write(f"#!/bin/sh\necho \"$@\" > {etc}/called\n")
        os.chmod(f"{programs}/systemctl", 0o755)
        wrap = ("sh", "-c", f"mount --bind {etc} /etc/systemd && PATH={programs}:$PATH && exec \"$@\"",
                "sh")
        self.assertEqual(self.findings(self.edge, "conflicts.networkd", wrap=wrap), [])
        self.edge.start(f"{programs}/systemd-networkd", "600")
        time.sleep(0.3)
        self.assert_mends_networkd(wrap, etc)
        self.assertEqual(self.findings(self.gateway, "conflicts.networkd"), [], "another namespace")

    def assert_mends_networkd(self, wrap, etc):
        found = self.findings(self.edge, "conflicts.networkd", wrap=wrap)
        self.assertEqual([finding["severity"] for finding in found], ["warning"])
        self.edge.run(*wrap, "sh", "-c", found[0]["mend"])
        with open(f"{etc}/called") as file:
            self.assertEqual(file.read(), "restart systemd-networkd\n")
        self.assertEqual(self.findings(self.edge, "conflicts.networkd", wrap=wrap), [])

    def test_clock_as_the_kernel_says(self):
        time_error = 5
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
        found = self.findings(self.edge, "clock.synchronised")
        self.assertEqual([f["severity"] for f in found], ["warning"] if state == time_error else [])


class Healthy(Doctor):
    spec = cluster(streams=2)

    def of_the_machine(self, finding):
        """What tests cannot change: the clock, the kernel, the keys that lie together in a lab."""
        return finding["id"].split(".")[0] in ("clock", "kernel", "limits", "cpu", "doctor") or \
            finding["id"] in ("keys.others", "settings.tuning")

    def wrongs(self, host):
        return [finding for finding in self.report(host)["findings"]
                if finding["severity"] != "ok" and not self.of_the_machine(finding)]

    def test_what_is_ours_is_no_conflict(self):
        for host in (self.gateway, self.edge):
            self.assertEqual(self.wrongs(host), [])
        self.lab.up()
        for host in (self.gateway, self.edge):
            self.assertEqual(self.wrongs(host), [])

    def test_own_full_tunnel_is_no_conflict(self):
        spec = cluster()
        spec["nodes"]["gateway"]["subnets"] = ["0.0.0.0/0", "::/0"]
        self.lab.write(spec)
        self.lab.up()
        self.assertTrue(self.edge.route_devices("default") or "116" in self.edge.run(
            "ip", "rule").stdout)
        self.assertEqual(self.wrongs(self.edge), [])

    def dump(self, host):
        commands = (("ip", "-o", "-d", "link"), ("ip", "-o", "addr"), ("ip", "nexthop"),
                    ("ip", "-4", "route", "show", "table", "all"), ("ip", "-4", "rule"),
                    ("ip", "-6", "route", "show", "table", "all"), ("ip", "-6", "rule"),
                    ("nft", "list", "ruleset"), ("sysctl", "-a", "-r", r"^net\.ipv[46]\.conf"))
        dump = [host.run(*words).stdout for words in commands]
        return dump + [sorted(os.listdir(self.lab.dir)), sorted(os.listdir("/run/netns"))]

    def test_nothing_is_left_behind(self):
        before = self.dump(self.gateway)
        for file in (True, False):
            self.report(self.gateway, file=file)
        names = [name for name in self.dump(self.gateway)[-1] if name not in before[-1]]
        self.assertFalse([name for name in names if name.startswith(os.path.basename(self.lab.dir))])
        self.assertEqual(self.dump(self.gateway)[:-1], before[:-1])

    def test_tries_the_kernel_elsewhere(self):
        """The process itself writes nothing; its child, in another namespace, does."""
        path = os.path.join(self.lab.dir, "trace")
        words = (TUNORCH, "doctor", self.lab.file, *self.gateway.options())

        def trace(*options):
            self.gateway.run("strace", *options, "-o", path, "-e", "trace=network,unshare,ioctl",
                             *words, check=False)
            with open(path) as file:
                return file.read()

        own = trace()
        self.assertIn("RTM_GETLINK", own)
        self.assertEqual(netlink_writes(own), [])
        self.assertNotIn("TUNSETIFF", own)
        before, _, after = trace("-f").partition("unshare(CLONE_NEWNET)")
        self.assertNotIn("TUNSETIFF", before)
        self.assertIn("TUNSETIFF", after)

    def test_every_feature_was_tried(self):
        ids = {finding["id"] for finding in self.report(self.gateway)["findings"]}
        for name in ("tun", "multipath", "nexthops", "ipv6", "nftables", "steering", "bbr"):
            self.assertIn(f"kernel.{name}", ids)

    def test_says_what_who_is_not_root_cannot_see(self):
        os.chmod(self.lab.file, 0o644)
        shutil.copy(TUNORCH, os.path.join(self.lab.dir, "tunorch"))
        done = self.gateway.run(
            "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
            os.path.join(self.lab.dir, "tunorch"), "doctor", self.lab.file, "--json",
            "--node", "gateway", check=False)
        found = [finding for finding in json.loads(done.stdout)["findings"]
                 if finding["id"] == "doctor.sight"]
        self.assertEqual(found[0]["severity"], "warning")
        self.assertIn("what the kernel can do", found[0]["found"])
        self.assertIn("keys", found[0]["found"])
        self.assertTrue(found[0]["mend"].startswith("sudo tunorch doctor "))

    def test_one_is_for_a_doctor_that_could_not_look(self):
        wrong = os.path.join(self.lab.dir, "wrong.yaml")
        with open(wrong, "w") as file:
            file.write("nonsense: true\n")
        for words in ([wrong], ["/nowhere.yaml"], ["--nonsense"]):
            self.assertEqual(self.gateway.tunorch("doctor", *words, check=False).returncode, 1)
        text = self.gateway.tunorch("doctor", check=False).stdout
        self.assertRegex(text, r"(?m)^\d+ errors, \d+ warnings, \d+ notes, \d+ ok$")
