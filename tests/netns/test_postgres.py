"""The postgres transport: every packet a row, through a real PostgreSQL of the test's own."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import time

import lab
from database import PORT, Server
from lab import EDGE, GATEWAY, Flows, LabTest, cluster, wait_for

class PostgresTest(LabTest):
    settings = ()
    init = True

    def setUp(self):
        super().setUp()
        self.server = Server(self.gateway, os.path.join(self.lab.dir, "pg"), self.settings)
        if self.init:
            self.assertEqual(self.server.init().returncode, 0)

    def by_database(self, tunnels=1, **bundle):
        postgres = {"url": f"postgresql://vpn@10.66.0.1:{PORT}/vpn", **bundle.pop("postgres", {})}
        return cluster(tunnels=tunnels, transport="postgres", postgres=postgres, **bundle)

    def wait_live(self, count, seconds=20):
        for host in (self.edge, self.gateway):
            wait_for(f"{count} tunnels live on {host.node}", lambda: host.live() == count, seconds)

    def gaps(self):
        """Logs whose numbers are not 1, 2, 3 and so on."""
        return self.server.sql("SELECT stream, direction, count(*), max(seq) FROM tunorch.packet "
                               "GROUP BY 1, 2 HAVING count(*) <> max(seq)")


class Rows(PostgresTest):
    def test_every_packet_is_a_row(self):
        self.lab.write(self.by_database(streams=2))
        self.lab.up()
        self.wait_live(1)
        self.assert_reaches(self.edge, GATEWAY)
        self.assert_reaches(self.gateway, EDGE)
        self.assertIn(" 0% packet loss",
                      self.edge.run("ping", "-6", "-c", "3", "-i", "0.2", "fd77::1").stdout)
        asked = self.server.sql(
            "SELECT protocol_name, host(src), host(dst), count(*) FROM tunorch.packets "
            "WHERE direction = 'up' AND protocol IN (1, 58) AND length > 60 "
            "AND host(dst) IN ('10.77.0.1', 'fd77::1') GROUP BY 1, 2, 3 ORDER BY 1")
        self.assertEqual(asked, [["icmp", EDGE, GATEWAY, "6"], ["icmp6", "fd77::2", "fd77::1", "3"]])
        # Numbered packets both ways: in order, none lost, and a row for each that arrived.
        got, echoed = Flows(self.edge, self.gateway, GATEWAY, 10, 2000, 5).finish()
        self.assertEqual((got["reordered"], echoed["reordered"]), (0, 0))
        self.assertEqual((got["lost"], echoed["lost_on_return"]), (0, 0))
        rows = {direction: int(count) for direction, count in self.server.sql(
            "SELECT direction, sum(greatest(1, ceil((length - 28) / coalesce(segment_bytes, 1e9))))"
            " FROM tunorch.packets WHERE protocol = 17 AND 5000 IN (sport, dport) GROUP BY 1")}
        self.assertGreaterEqual(rows["up"], got["packets"])
        self.assertGreaterEqual(rows["down"], echoed["packets"])
        self.assertEqual(self.gaps(), [])
        self.assertEqual(self.server.sql("SELECT count(*) FROM tunorch.stream WHERE closed IS NULL"),
                         [["2"]])
        self.edge.kill_worker("backbone-0")
        wait_for("streams of a killed worker are closed too", lambda: self.server.sql(
            "SELECT count(*) FILTER (WHERE closed IS NULL), count(*) FROM tunorch.stream")
            == [["2", "4"]], 20)
        self.edge.tunorch("down")
        wait_for("the streams are closed", lambda: self.server.sql(
            "SELECT count(*) FROM tunorch.stream WHERE closed IS NULL") == [["0"]], 5)

    def test_bulk(self):
        """GSO packets are rows too, and the talkers can be asked for."""
        self.lab.write(self.by_database())
        self.lab.up()
        self.wait_live(1)
        report = self.end_iperf(self.start_iperf(5))
        rate = report["end"]["sum_received"]["bits_per_second"] / 1e6
        top = self.server.sql("SELECT host(src), host(dst), sum(length) FROM tunorch.packets "
                              "GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1")[0]
        print(f"{rate:.0f} Mbit/s; {top}")
        self.assertEqual(top[:2], [EDGE, GATEWAY])
        self.assertGreater(int(top[2]), report["end"]["sum_received"]["bytes"])
        self.assertGreater(rate, 30)
        self.assertEqual(self.gaps(), [])
        self.assertEqual(self.edge.live(), 1)

    def test_directions_apart(self):
        self.assertEqual(self.server.init("back").returncode, 0)
        self.assertIn("nothing to do", self.server.init("back").stdout)
        self.lab.write(self.by_database(postgres={"down": {"schema": "back"}}))
        self.lab.up()
        self.wait_live(1)
        self.assert_reaches(self.edge, GATEWAY)
        for schema, direction in (("tunorch", "0"), ("back", "1")):
            self.assertEqual(self.server.sql(f"SELECT DISTINCT direction FROM {schema}.packet"),
                             [[direction]])

    def test_old_packets_go(self):
        self.lab.write(self.by_database(postgres={"keep": "1m"}))
        self.lab.up()
        self.wait_live(1)
        parts = int(self.server.sql("SELECT count(*) FROM tunorch.part")[0][0])
        self.assertGreater(parts, 1)
        before = int(self.server.sql("SELECT count(*) FROM tunorch.packet")[0][0])
        self.assertGreater(before, 0)
        time.sleep(12)
        self.server.sql("SELECT tunorch.keep('1 second')")
        left = self.server.sql("SELECT now() - min(at) < interval '12 seconds' FROM tunorch.packet")
        self.assertEqual(left, [["t"]])
        self.assert_reaches(self.edge, GATEWAY)
        self.assertEqual(self.edge.live(), 1)


class Loss(PostgresTest):
    def test_a_restart_loses_nothing(self):
        """What was committed is read, and what was not is written again, when the server is back."""
        self.lab.write(self.by_database())
        self.lab.up()
        self.wait_live(1)
        flows = Flows(self.edge, self.gateway, GATEWAY, 4, 400, 8, echo=False)
        time.sleep(2)
        self.server.stop(signal.SIGINT)  # fast shutdown: connections end, transactions are undone
        self.server.start()
        got, _ = flows.finish()
        print(f"longest gap {got['longest_gap_ms']:.0f} ms")
        self.assertEqual((got["lost"], got["reordered"]), (0, 0))
        self.assertEqual(self.gaps(), [])
        self.assertEqual(len(self.server.sql("SELECT id FROM tunorch.stream")), 1, "the same stream")
        self.wait_live(1)
        # What the routes refused while the tunnel was down was never in it; the rest arrived.
        rows = int(self.server.sql(
            "SELECT sum(greatest(1, ceil((length - 28) / coalesce(segment_bytes, 1e9)))) FROM "
            "tunorch.packets WHERE protocol = 17 AND dport = 5000 AND direction = 'up'")[0][0])
        self.assertGreaterEqual(got["packets"], rows * .999)

    def test_killed_beside_a_native_tunnel(self):
        self.lab.write(self.by_database(tunnels=[{}, {"transport": "tls"}]))
        self.lab.up()
        self.wait_live(2)
        flows = Flows(self.edge, self.gateway, GATEWAY, 20, 2000, 10, echo=False)
        time.sleep(2)
        self.server.stop(signal.SIGKILL)
        for host in (self.edge, self.gateway):
            wait_for("its tunnel is out", lambda: host.tunnel("backbone-0")["health"] != "up")
            wait_for("the reason is told",
                     lambda: "database" in host.tunnel("backbone-0")["reason"])
            self.assertTrue(any(event["event"] == "database_lost" for event in host.events()))
        self.assertEqual(self.edge.live(), 1)
        self.assert_reaches(self.edge, GATEWAY)
        got, _ = flows.finish()
        print(f"{got['lost']} of 20000 packets lost, longest gap {got['longest_gap_ms']:.0f} ms")
        self.assertLess(got["lost"], 2000 * .5)
        self.server.start()
        self.wait_live(2, 40)
        self.assertEqual(self.edge.tunnel("backbone-0")["reason"], "")


class Logins(PostgresTest):
    def ask_for(self, line):
        with open(os.path.join(self.server.data, "pg_hba.conf"), "w") as file:
            file.write(f"local all postgres trust\n{line}\n")

    def refused(self, spec, why):
        self.lab.write(spec)
        done = self.gateway.tunorch("apply", self.lab.file, "--timeout", "2s", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, why)
        self.assertRegex(self.gateway.tunnel("backbone-0")["reason"], why)
        self.gateway.tunorch("down")

    def test_password(self):
        """It is in root's password file, which the worker itself could not read."""
        self.ask_for("host all all 10.66.0.0/24 scram-sha-256")
        self.server.sql("SELECT pg_reload_conf()")
        secrets = os.path.join(self.lab.dir, "pgpass")
        with open(secrets, "w") as file:
            file.write(f"10.66.0.1:{PORT}:vpn:vpn:secret\n")
        os.chmod(secrets, 0o600)
        self.refused(self.by_database(), "no password supplied.*~/.pgpass of root")
        os.environ["PGPASSFILE"] = secrets
        self.addCleanup(os.environ.pop, "PGPASSFILE")
        os.chmod(secrets, 0o644)
        done = self.gateway.tunorch("apply", self.lab.file, "--timeout", "2s", check=False)
        self.assertIn(f"run chmod 600 {secrets}", done.stderr)
        os.chmod(secrets, 0o600)
        self.lab.up()
        self.wait_live(1)

    def make_certificate(self, name, *options):
        path = os.path.join(self.server.data, name)
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                               "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                               "-keyout", f"{path}.key", "-out", f"{path}.crt", *options],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def test_certificate(self):
        """Both sides show one; its key is root's, as the password file is."""
        authority = self.make_certificate("ca")
        signed = ("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key")
        server = self.make_certificate("server", *signed, "-addext", "subjectAltName=IP:10.66.0.1")
        client = self.make_certificate("vpn", *signed)
        shutil.chown(f"{server}.key", "postgres", "postgres")
        self.ask_for("hostssl all all 10.66.0.0/24 cert")
        self.server.stop(signal.SIGINT)
        self.server.settings = ("-c", "ssl=on", "-c", "ssl_ca_file=ca.crt")
        self.server.start()
        spec = self.by_database()
        self.refused(spec, "certificate|no pg_hba.conf entry")
        spec["bundles"]["backbone"]["postgres"]["url"] += (
            f"?sslmode=verify-full&sslrootcert={authority}.crt"
            f"&sslcert={client}.crt&sslkey={client}.key")
        self.lab.write(spec)
        self.lab.up()
        self.wait_live(1)
        self.assertEqual(self.server.sql("SELECT DISTINCT s.ssl, s.client_dn FROM pg_stat_ssl s JOIN "
                                         "pg_stat_activity a USING (pid) WHERE usename = 'vpn'"),
                         [["t", "/CN=vpn"]])


class Schemas(PostgresTest):
    init = False

    def test_missing_and_foreign(self):
        self.lab.write(self.by_database(tunnels=[{}, {"transport": "tls"}]))
        for host in (self.gateway, self.edge):
            host.tunorch("apply", self.lab.file, "--timeout", "2s", check=False)
        for host in (self.gateway, self.edge):
            wait_for("it says what is missing", lambda: re.search(
                "no tables of tunorch in schema tunorch: run `tunorch-worker postgres-init`",
                host.tunnel("backbone-0")["reason"]))
        self.assertEqual(self.edge.live(), 1, "the other tunnel lives")
        self.server.sql("CREATE SCHEMA tunorch; CREATE TABLE tunorch.about (version int); "
                        "INSERT INTO tunorch.about VALUES (99); "
                        "GRANT USAGE ON SCHEMA tunorch TO vpn; "
                        "GRANT SELECT ON tunorch.about TO vpn")
        wait_for("it says that they are another's", lambda: re.search(
            "tables of version 99 in schema tunorch, and this worker knows 1",
            self.edge.tunnel("backbone-0")["reason"]))
        refused = self.server.init()
        self.assertEqual(refused.returncode, 1)
        self.assertIn("drop it, or choose another schema", refused.stderr)
        self.server.sql("DROP SCHEMA tunorch CASCADE")
        self.assertEqual(self.server.init().returncode, 0)
        self.wait_live(2, 40)


class FullDisk(PostgresTest):
    """The database's disk is full: its tunnel is down and says so, the other goes on."""

    settings = ("-c", "max_wal_size=32MB", "-c", "min_wal_size=32MB")

    def setUp(self):
        super().setUp()
        # The tables on a small disk of their own, so that the server itself lives on.
        self.small = os.path.join(self.lab.dir, "small")
        os.mkdir(self.small)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", self.small], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.small])
        user = pwd.getpwnam("postgres")
        os.chown(self.small, user.pw_uid, user.pw_gid)

    def test_the_reason_is_told(self):
        self.server.stop(signal.SIGINT)
        self.server.start()
        self.server.sql(f"CREATE TABLESPACE small LOCATION '{self.small}'")
        self.server.sql("GRANT CREATE ON TABLESPACE small TO postgres")
        self.server.sql("ALTER DATABASE vpn SET default_tablespace = small")
        self.server.sql("DROP SCHEMA tunorch CASCADE")
        self.assertEqual(self.server.init().returncode, 0)
        self.lab.write(self.by_database(tunnels=[{}, {"transport": "tls"}]))
        self.lab.up()
        self.wait_live(2)
        bulk = self.start_iperf(15, "-P", "16")  # some by each tunnel
        wait_for("the reason is told", lambda: re.search(
            "No space left", self.edge.tunnel("backbone-0")["reason"]), 40)
        wait_for("its tunnel is out", lambda: self.edge.tunnel("backbone-0")["health"] != "up")
        self.end_iperf(bulk)
        self.assertEqual(self.edge.live(), 1)
        self.assert_reaches(self.edge, GATEWAY)
        back = [event for event in self.edge.events() if event["event"] == "database_back"]
        # It is tried twice a second; only rows that found room bring it back.
        self.assertLessEqual(len(back), 5, "it is not back because it answers")


class Example(PostgresTest):
    """configs/postgres.yaml as it is shipped, but for the addresses."""

    def test_it_runs(self):
        with open(os.path.join(lab.HERE, "../../configs/postgres.yaml")) as file:
            text = file.read()
        with open(self.lab.file, "w") as file:
            file.write(text.replace("203.0.113.10", "10.66.0.1").replace("198.51.100.5", "10.66.0.1"))
        shutil.rmtree(os.path.join(self.lab.dir, "pki"))
        subprocess.run([lab.TUNORCH, "pki", "init", self.lab.file], check=True, capture_output=True)
        self.lab.up()
        self.wait_live(1)
        self.assert_reaches(self.edge, GATEWAY)
