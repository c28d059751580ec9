"""Wrong files, things in the way, wrong peers, crashing workers: refused in words, nothing lost."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time

from lab import CLUSTER, LabTest, TUNORCH, cluster, wait_for


class WrongFiles(LabTest):
    def test_a_wrong_file_touches_nothing(self):
        with open(self.lab.file, "w") as file:
            file.write("cluster: demo\nnodes:\n  edge: {inner: [10.0.0.1/24]}\nbundels: {}\n")
        for verb in ("validate", "plan", "apply"):
            done = self.edge.tunorch(verb, self.lab.file, check=False)
            self.fails_with(done, r"cluster.yaml:3:\d+: .*10\.0\.0\.1/24",
                            r"cluster.yaml:4:1: .*bundels.*bundles")
        self.assertIsNone(self.edge.daemon_pid())
        self.assertFalse(os.path.exists(self.edge.runtime))

    def test_validate_needs_no_root(self):
        os.chmod(self.lab.dir, 0o755)
        os.chmod(self.lab.file, 0o644)
        program = shutil.copy(TUNORCH, self.lab.dir)  # the build folder may be root's alone
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                               program, "validate", self.lab.file], text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("valid: cluster demo", done.stdout)

    def test_a_wrong_file_leaves_what_runs(self):
        self.lab.up()
        pids = self.edge.worker_pids()
        spec = cluster(link={"mtu": 1000})
        self.lab.write(spec)
        self.fails_with(self.edge.apply(check=False), "1280")
        self.assertEqual(self.edge.worker_pids(), pids)
        self.assert_reaches(self.edge, "10.77.0.1")

    def test_an_unknown_node_is_told_the_nodes_there_are(self):
        done = self.edge.run(TUNORCH, "apply", self.lab.file, "--node", "egde", check=False)
        self.fails_with(done, "no node 'egde'.*gateway, edge")

    def test_a_key_that_others_can_read_is_refused(self):
        key = os.path.join(self.lab.dir, "pki", "edge.key")
        os.chmod(key, 0o644)
        self.fails_with(self.edge.apply(check=False), "edge.key", "chmod 600")
        wait_for("a failed first apply leaves no daemon",
                 lambda: self.edge.daemon_pid() is None, 2)


class ForeignObjects(LabTest):
    def refused(self, *patterns):
        output = self.fails_with(self.edge.apply(check=False), *patterns)
        self.assertEqual(self.edge.routes("10.77.0.1"), [])
        links = self.edge.run("ip", "-j", "link", "show").stdout
        self.assertNotIn("backbone-1", links)
        self.assertFalse(os.path.exists(self.edge.runtime))
        return output

    def test_a_device_of_our_name(self):
        self.edge.ip("link", "add", "backbone-2", "type", "veth", "peer", "name", "other")
        self.refused("device backbone-2 exists and is not ours", "nothing was changed")
        self.assertIn("veth", self.edge.run("ip", "-d", "link", "show", "backbone-2").stdout)

    def test_a_tun_of_our_name(self):
        # Unlike a veth it could be attached to, which would take it from its owner.
        self.edge.ip("tuntap", "add", "backbone-2", "mode", "tun", "user", "65534")
        before = self.edge.run("ip", "-d", "link", "show", "backbone-2").stdout
        self.refused("device backbone-2 exists and is not ours", "nothing was changed")
        self.assertEqual(self.edge.run("ip", "-d", "link", "show", "backbone-2").stdout, before)

    def test_an_ipv6_route_of_our_prefix(self):
        # The kernel would add ours as a second nexthop of it.
        self.edge.ip("-6", "route", "add", "fd77::1/128", "dev", "wan")
        before = self.edge.run("ip", "-6", "route").stdout
        self.refused(r"not ours holds fd77::1/128.*wan")
        self.assertEqual(self.edge.run("ip", "-6", "route").stdout, before)

    def test_a_route_of_our_prefix(self):
        self.edge.ip("route", "add", "10.77.0.1/32", "via", "10.66.0.1")
        done = self.edge.tunorch("plan", self.lab.file, check=False)
        self.assertEqual(done.returncode, 1)
        self.refused(r"not ours holds 10\.77\.0\.1/32.*10\.66\.0\.1.*wan")
        self.assertIn("10.66.0.1", self.edge.run("ip", "route", "show", "10.77.0.1").stdout)

    def test_an_nftables_table_of_our_name(self):
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["gateway"].update(subnets=["10.20.0.0/16"], masquerade="w0")
        self.lab.write(spec)
        self.gateway.run("nft", "add table inet tunorch { chain theirs { } ; }")
        before = self.gateway.run("nft", "list", "ruleset").stdout
        done = self.gateway.apply(check=False)
        self.assertEqual(self.gateway.run("nft", "list", "ruleset").stdout, before)
        self.fails_with(done, "tunorch.*not ours")
        self.gateway.tunorch("down")
        self.assertEqual(self.gateway.run("nft", "list", "ruleset").stdout, before)

    def test_an_address_of_ours(self):
        self.edge.ip("addr", "add", "10.77.0.2/24", "dev", "wan")
        self.refused(r"10\.77\.0\.2/24 is already on wan")

    def test_lo_down(self):
        self.edge.ip("link", "set", "lo", "down")
        self.refused("ip link set lo up")

    def test_a_step_that_fails_half_way_is_undone_and_says_so(self):
        links = self.gateway.run("ip", "-o", "link").stdout
        sysctls = self.gateway.run("sysctl", "net.ipv4.fib_multipath_hash_policy").stdout
        taken = self.gateway.start(
            sys.executable, "-c",
            "import socket,time; s=socket.socket(); s.bind(('0.0.0.0',4432)); s.listen(); "
            "print('ready', flush=True); time.sleep(60)", stdout=subprocess.PIPE)
        self.assertEqual(taken.stdout.readline(), "ready\n")
        output = self.fails_with(
            self.gateway.apply(check=False), r"failed: \+ worker backbone-2",
            "cannot listen on TCP port 4432: Address already in use",
            r"undone: \+ worker backbone-1", r"undone: \+ tun backbone-0")
        self.assertNotIn("cannot undo", output)
        self.assertEqual(self.gateway.run("ip", "-o", "link").stdout, links)
        self.assertEqual(self.gateway.run("sysctl", "net.ipv4.fib_multipath_hash_policy").stdout,
                         sysctls)
        self.assertFalse(os.path.exists(self.gateway.runtime))


class WrongPeers(LabTest):
    def pki(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True,
                       cwd=os.path.join(self.lab.dir, "pki"))

    def sign_edge(self, *validity, ca="ca"):
        """A new certificate for edge's key, the way openssl makes it."""
        folder = os.path.join(self.lab.dir, "pki")
        with open(os.path.join(folder, "ext"), "w") as file:
            file.write("subjectAltName=DNS:edge\n"
                       "basicConstraints=critical,CA:FALSE\n"
                       "keyUsage=critical,digitalSignature\n"
                       "extendedKeyUsage=serverAuth,clientAuth\n")
        self.pki("req", "-new", "-key", "edge.key", "-subj", "/CN=edge", "-out", "edge.csr")
        with open(os.path.join(folder, "index"), "w"):
            pass
        with open(os.path.join(folder, "ca.cnf"), "w") as file:
            file.write("[ca]\ndefault_ca=c\n[c]\ndatabase=index\nrand_serial=yes\nnew_certs_dir=.\n"
                       "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
                       "[e]\n")
        self.pki("ca", "-batch", "-config", "ca.cnf", "-cert", f"{ca}.crt", "-keyfile",
                 f"{ca}.key", "-in", "edge.csr", "-extfile", "ext", "-notext", "-out", "edge.crt",
                 *validity)

    def dial(self, certificate, key, hello=None):
        """Connects to backbone-0's port as a dialer would; returns what the listener said."""
        script = f"""
import socket, ssl, struct, json
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations({os.path.join(self.lab.dir, 'pki', 'ca.crt')!r})
context.load_cert_chain({certificate!r}, {key!r})
context.minimum_version = ssl.TLSVersion.TLSv1_3
try:
    tls = context.wrap_socket(socket.create_connection(("10.66.0.1", 4430), timeout=5),
                              server_hostname="gateway")
    hello = {json.dumps(hello)!r}
    tls.sendall(struct.pack(">I", 1 << 24 | len(hello)) + hello.encode())
    print(tls.recv(4096)[4:].decode())
except (ssl.SSLError, OSError) as error:
    print(error)
"""
        return self.edge.run(sys.executable, "-c", script).stdout

    def hello(self, **changes):
        hello = {"version": 3, "min_version": 2, "cluster": "demo", "node": "edge",
                 "bundle": "backbone", "tunnel": 0, "stream": 0, "streams": 1, "digest": ""}
        return {**hello, **changes}

    def keys(self, node="edge"):
        folder = os.path.join(self.lab.dir, "pki")
        return os.path.join(folder, f"{node}.crt"), os.path.join(folder, f"{node}.key")

    def assert_listener_says(self, *patterns):
        for pattern in patterns:
            wait_for(f"{pattern} in the listener's log",
                     lambda: any(pattern in line for line in self.gateway.log().splitlines()))

    def test_certificates_and_greetings(self):
        self.lab.up()
        folder = os.path.join(self.lab.dir, "pki")
        # An expired certificate of the right CA.
        self.sign_edge("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
        self.assertIn("expired", self.dial(*self.keys()).lower())
        self.assert_listener_says("certificate has expired")
        self.fails_with(self.edge.apply(check=False), "expired")
        # The right name from another CA.
        self.pki("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-keyout", "other.key", "-out", "other.crt", "-subj", "/CN=other",
                 "-days", "10")
        self.sign_edge("-days", "10", ca="other")
        self.assertRegex(self.dial(*self.keys()).lower(), "unknown ca|alert")
        self.assert_listener_says("is refused: unable to get local issuer certificate")
        # Good certificates, wrong words.
        self.sign_edge("-days", "10")
        for changes, words in (
                ({"version": 9, "min_version": 9}, "speaks wire version 9"),
                ({"cluster": "demo2"}, "is of cluster 'demo2'"),
                ({"node": "gateway"}, "its certificate says"),
                ({"tunnel": 3}, "the ends run different files"),
                ({"stream": 5}, "opens stream 5"),
                ({"digest": "0"}, "the peer runs another cluster file")):
            answer = self.dial(*self.keys(), hello=self.hello(**changes))
            self.assertIn(words, answer, changes)
            self.assert_listener_says(words)
        self.assertEqual(self.gateway.live(), 4, "others are unharmed")
        self.assert_reaches(self.edge, "10.77.0.1")

    def assert_edge_says(self, tunnel, pattern):
        wait_for(f"{pattern} in edge's status",
                 lambda: pattern in self.edge.tunnel(tunnel)["reason"])

    def test_two_clusters_that_do_not_know_each_others_ca(self):
        self.gateway.apply()
        folder = os.path.join(self.lab.dir, "elsewhere")
        os.mkdir(folder)
        self.lab.file = shutil.copy(self.lab.file, folder)
        subprocess.run([TUNORCH, "pki", "init", self.lab.file], check=True, capture_output=True)
        done = self.edge.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        # Whichever end looks first refuses; the other end is told.
        words = "the peer's certificate is refused|the peer refused our certificate"
        self.fails_with(done, f"backbone-0: not healthy towards gateway: .*({words})")
        self.assertRegex(self.edge.tunnel("backbone-0")["reason"], words)
        wait_for("the listener's words", lambda: any(
            "backbone-0" in line and re.search(words, line)
            for line in self.gateway.log().splitlines()))
        self.assert_does_not_reach(self.edge, "10.77.0.1")

    def test_a_certificate_that_expires_while_the_cluster_runs(self):
        end = time.time() + 6
        self.sign_edge("-startdate", "20200101000000Z", "-enddate",
                       time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
        self.lab.up()
        time.sleep(max(0, end + 1.5 - time.time()))
        self.assertEqual(self.gateway.live(), 4, "what is connected stays connected")
        self.edge.kill_worker("backbone-1")
        self.assert_edge_says("backbone-1", "the peer refused our certificate: it has expired")
        self.assert_listener_says("certificate has expired")
        self.assertEqual(self.gateway.live(), 3, "the other tunnels are unharmed")
        self.assert_reaches(self.edge, "10.77.0.1")

    def test_a_node_that_is_not_in_the_bundle(self):
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["other"] = {"inner": ["10.77.0.9/32"]}
        spec["bundles"]["backbone"]["dial"] = ["other"]
        self.lab.write(spec)
        subprocess.run([TUNORCH, "pki", "init", self.lab.file], check=True, capture_output=True)
        self.gateway.apply()
        self.lab.write(CLUSTER)
        done = self.edge.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        self.fails_with(done, "node 'edge' is not in bundle backbone")
        self.assert_listener_says("node 'edge' is not in bundle backbone")

    def test_another_file_on_the_other_end(self):
        self.gateway.apply()
        spec = copy.deepcopy(CLUSTER)
        spec["nodes"]["edge"]["subnets"] = ["192.168.50.0/24"]
        self.lab.write(spec)
        done = self.edge.tunorch("apply", self.lab.file, "--timeout", "3s", check=False)
        self.fails_with(done, "the peer runs another cluster file")
        self.gateway.apply()
        wait_for("healthy once both have it", lambda: self.edge.live() == 4)

    def test_garbage_costs_only_its_connection(self):
        self.lab.up()
        script = ("import os,socket\n"
                  "for i in range(40):\n"
                  "    s = socket.create_connection(('10.66.0.1', 4430), timeout=5)\n"
                  "    try:\n"
                  "        s.sendall(os.urandom(20000) if i % 2 else b'GET / HTTP/1.1\\r\\n\\r\\n')\n"
                  "        while s.recv(4096): pass\n"
                  "    except OSError: pass\n")
        self.edge.run(sys.executable, "-c", script)
        self.assert_listener_says("not a TLS 1.3 peer of ours")
        self.assertEqual(self.gateway.live(), 4)
        self.assertEqual(sum(t["restarts"] for t in self.gateway.bundle()["tunnels"]), 0)
        self.assert_reaches(self.edge, "10.77.0.1")

    def test_half_open_connections_are_limited_and_end(self):
        self.lab.up()
        script = ("import socket,time\n"
                  "held = []\n"
                  "for i in range(100):\n"
                  "    held.append(socket.create_connection(('10.66.0.1', 4430), timeout=5))\n"
                  "time.sleep(7)\n"
                  "ended = 0\n"
                  "for s in held:\n"
                  "    s.settimeout(0.1)\n"
                  "    try: ended += s.recv(1) == b''\n"
                  "    except ConnectionError: ended += 1\n"
                  "    except OSError: pass\n"
                  "print(ended)\n")
        self.assertEqual(self.edge.run(sys.executable, "-c", script).stdout, "100\n")
        self.assert_listener_says("too many handshakes under way: the oldest has to go",
                                  "no greeting within 5 seconds")
        self.assertEqual(self.gateway.live(), 4)


class Crashes(LabTest):
    spec = cluster(restart={"backoff": "50ms", "max_backoff": "200ms", "quarantine_after": 3})

    def test_a_worker_that_keeps_dying_is_quarantined_until_the_next_apply(self):
        self.lab.up()
        for _ in range(3):
            wait_for("the worker runs", lambda: self.edge.tunnel("backbone-1")["pid"] > 0)
            self.edge.kill_worker("backbone-1")
            time.sleep(0.1)
        tunnel = wait_for("quarantine", lambda: [
            t for t in self.edge.bundle()["tunnels"] if t["worker"] == "quarantined"])[0]
        self.assertEqual((tunnel["name"], tunnel["restarts"]), ("backbone-1", 3))
        self.assertIn("killed by signal 9", tunnel["reason"])
        time.sleep(1)
        self.assertEqual(self.edge.tunnel("backbone-1")["worker"], "quarantined")
        self.assertEqual(self.edge.bundle()["state"], "degraded")
        self.assert_reaches(self.edge, "10.77.0.1")
        self.edge.apply()
        self.assertEqual(self.edge.live(), 4)

    def test_a_device_deleted_under_a_worker_is_made_again(self):
        self.lab.up()
        self.edge.ip("link", "del", "backbone-0")
        wait_for("it is noticed", lambda: self.edge.tunnel("backbone-0")["restarts"] > 0)
        wait_for("it is back", lambda: self.edge.live() == 4)
        self.assertEqual(len(self.edge.route_devices("10.77.0.1")), 4)

    def test_all_tunnels_down_fails_closed(self):
        self.lab.up()
        self.gateway.tunorch("down")
        wait_for("no live tunnel", lambda: self.edge.live() == 0)
        self.assertEqual(self.edge.bundle()["state"], "down")
        self.assertEqual([r["type"] for r in self.edge.routes("10.77.0.1")], ["unreachable"])
        done = self.edge.run("ping", "-c", "1", "-W", "1", "10.77.0.1", check=False)
        self.assertNotEqual(done.returncode, 0)
