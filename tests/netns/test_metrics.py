"""Metrics and the page's process: what it serves, to whom, and that it comes and goes with the file. A real
Prometheus (Debian's) reads a real bundle."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import urllib.parse

from lab import TUNORCH, LabTest, cluster, wait_for

METRICS = "127.0.0.1:9810"
SCRAPE = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: tunorch
    static_configs: [{{targets: ["{0}"]}}]
rule_files: ["{1}"]
"""
RULES = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../packaging/prometheus/tunorch.rules.yml"))


def with_metrics(**bundle):
    spec = cluster(**bundle)
    spec["metrics"] = METRICS
    return spec


def get(host, path="/metrics", *options):
    return host.run("curl", "-sS", "--max-time", "10", *options, f"http://{METRICS}{path}")


def code(host, path, *options):
    return get(host, path, "-o", "/dev/null", "-w", "%{http_code}", *options).stdout


def values(host):
    """By name with its labels, as written."""
    lines = get(host).stdout.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in lines if line and not line.startswith("#")}


def web(host):
    return host.status()["web"]


def web_is_there(host):
    ask = ("curl", "-s", "-o", "/dev/null", f"http://{METRICS}/metrics")
    return wait_for("the page's process answers",
                    lambda: web(host)["pid"] and host.run(*ask, check=False).returncode == 0)


def page_pid(host):
    with open(os.path.join(host.runtime, "web.process")) as file:
        return int(file.read().split()[0])


class Prometheus:
    def __init__(self, host):
        self.host = host
        self.folder = os.path.join(host.lab.dir, "prometheus")
        os.mkdir(self.folder)
        config = os.path.join(self.folder, "prometheus.yml")
        with open(config, "w") as file:
            file.write(SCRAPE.format(METRICS, RULES))
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = host.start(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder}/data",
            "--web.listen-address=127.0.0.1:9090", stdout=self.log, stderr=self.log)

    def query(self, text):
        """The values of an instant query, by their labels."""
        done = self.host.run("curl", "-s", "http://127.0.0.1:9090/api/v1/query?query=" +
                             urllib.parse.quote(text), check=False)
        with contextlib.suppress(json.JSONDecodeError, KeyError):
            return {tuple(sorted((k, v) for k, v in one["metric"].items()
                                 if k not in ("__name__", "instance", "job"))): float(one["value"][1])
                    for one in json.loads(done.stdout)["data"]["result"]}
        return {}

    def value(self, text):
        return next(iter(self.query(text).values()), None)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()
        shutil.rmtree(self.folder)


class Scraped(LabTest):
    spec = with_metrics(tunnels=[{"weight": 3}, {}, {}, {}], restart={"backoff": "1s"})

    def test_by_a_real_prometheus(self):
        self.lab.up()
        web_is_there(self.edge)
        prometheus = Prometheus(self.edge)
        self.addCleanup(prometheus.close)
        wait_for("Prometheus has it", lambda: prometheus.value("tunorch_daemon_up") == 1, 30)
        self.assertEqual(prometheus.value("sum(tunorch_tunnel_up)"), 4)
        self.assertEqual(prometheus.value('tunorch_bundle_state{state="up"}'), 1)
        weights = prometheus.query("tunorch_path_weight")
        self.assertEqual(sorted(weights.values()), [1, 1, 1, 3])

        running = self.start_iperf(4, "-P", "16")
        self.end_iperf(running)
        sent = sum(t["tx_bytes"] for t in self.edge.bundle()["tunnels"])
        self.assertGreater(sent, 10_000_000)
        wait_for("it has the bytes too", lambda: sum(
            prometheus.query("tunorch_path_transmit_bytes_total").values()) >= sent)
        self.assertGreater(prometheus.value("histogram_quantile(0.5, sum by (le) "
                                            "(tunorch_path_rtt_seconds_bucket))"), 0)
        self.assertGreater(prometheus.value("sum(tunorch_path_congestion_window_segments)"), 0)

        self.edge.kill_worker("backbone-1")
        down = (("bundle", "backbone"), ("engine", "native"), ("tunnel", "backbone-1"))
        wait_for("it sees the tunnel down",
                 lambda: prometheus.query("tunorch_tunnel_up").get(down) == 0, 5)
        wait_for("it counts the failover", lambda: prometheus.query(
            "tunorch_failover_duration_seconds_count").get((("cause", "worker_ended"),)) == 1)
        wait_for("it is back, and the restart is counted",
                 lambda: prometheus.query("tunorch_tunnel_up").get(down) == 1 and
                 prometheus.value("sum(tunorch_tunnel_restarts_total)") == 1)

        daemon = self.edge.daemon_pid()
        os.kill(daemon, signal.SIGKILL)
        wait_for("it says that the daemon is gone", lambda: prometheus.value("tunorch_daemon_up") == 0, 5)
        pid = page_pid(self.edge)
        self.edge.start_daemon()
        wait_for("and back", lambda: prometheus.value("tunorch_daemon_up") == 1)
        self.assertEqual(web(self.edge)["pid"], pid, "the next daemon takes it over")

    def test_as_promtool_wants_it(self):
        self.lab.up()
        web_is_there(self.gateway)
        text = get(self.gateway).stdout
        done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_the_same_as_status(self):
        self.lab.up()
        web_is_there(self.gateway)
        status = self.gateway.status()
        now = values(self.gateway)
        self.assertEqual(now['tunorch_node_info{cluster="demo",node="gateway"}'], 1)
        self.assertEqual(now[f'tunorch_build_info{{version="{status["version"]}"}}'], 1)
        for tunnel in status["bundles"][0]["tunnels"]:
            labels = f'bundle="backbone",tunnel="{tunnel["name"]}"'
            self.assertEqual(now[f"tunorch_tunnel_weight{{{labels}}}"], tunnel["weight"])
            self.assertEqual(now[f'tunorch_tunnel_state{{{labels},state="running"}}'], 1)
            path = labels + ',peer="edge"'
            session = tunnel["sessions"]["edge"]
            self.assertEqual(now[f"tunorch_path_streams{{{path}}}"], session["streams"])
            self.assertGreaterEqual(now[f"tunorch_path_transmit_packets_total{{{path}}}"],
                                    session["tx_packets"])
            self.assertGreaterEqual(now[f'tunorch_path_probes_total{{{path},result="answered"}}'],
                                    session["probes"]["answered"])
        self.assertEqual(now['tunorch_applies_total{result="done"}'], status["applies"]["done"])
        self.assertGreater(now['tunorch_certificate_expiry_timestamp_seconds{certificate="node"}'], 1.7e9)


class Process(LabTest):
    spec = with_metrics()

    def test_it_may_do_nothing(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        with open(f"/proc/{web(self.gateway)['pid']}/status") as file:
            fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        self.assertEqual(fields["Uid"].split(), ["1880000064"] * 4)
        self.assertEqual([int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh")], [0, 0, 0])
        self.assertEqual(fields["NoNewPrivs"].strip(), "1")
        self.assertEqual(fields["Groups"].strip(), "")

    def test_it_comes_back(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        pid = web(self.gateway)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for("another one", lambda: web(self.gateway)["pid"] not in (0, pid))
        web_is_there(self.gateway)
        self.assertEqual([e["event"] for e in self.gateway.events() if e["event"].startswith("web_")],
                         ["web_started", "web_failed", "web_started"])

    def test_it_goes_with_its_line_of_the_file(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        pid = web(self.gateway)["pid"]
        self.lab.write(cluster())
        planned = self.gateway.tunorch("plan", self.lab.file, check=False)
        self.assertEqual(planned.returncode, 2)
        self.assertIn("steps:\n  - page and metrics: 127.0.0.1:9810\n", planned.stdout)
        self.assertIn("\n1 change;", planned.stdout)
        self.assertIn("- page and metrics: 127.0.0.1:9810", self.gateway.apply().stdout)
        self.assertNotIn("web", self.gateway.status())
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        spec = with_metrics()
        spec["nodes"]["edge"]["metrics"] = "10.77.0.2:9999"  # an address that apply makes
        self.lab.write(spec)
        self.lab.up()
        wait_for("it listens", lambda: self.edge.run(
            "curl", "-s", "http://10.77.0.2:9999/metrics", check=False).returncode == 0)

    def test_down_after_both_were_killed(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        daemon, page = self.gateway.status()["daemon"]["pid"], web(self.gateway)["pid"]
        os.kill(daemon, signal.SIGKILL)
        os.kill(page, signal.SIGKILL)
        self.gateway.tunorch("down")
        self.assertFalse(os.path.exists(self.gateway.runtime))

    def test_it_runs_where_the_keys_cannot_be_read(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        os.kill(self.gateway.status()["daemon"]["pid"], signal.SIGKILL)
        os.kill(page_pid(self.gateway), signal.SIGKILL)
        key = os.path.join(self.lab.dir, "pki", "gateway.key")
        os.rename(key, key + ".away")
        self.addCleanup(os.rename, key + ".away", key)
        self.gateway.start_daemon()
        wait_for("it says so", lambda: "tunorch_apply_problem 1\n" in self.gateway.run(
            "curl", "-s", f"http://{METRICS}/metrics", check=False).stdout)

    def test_a_port_that_is_taken(self):
        taken = self.gateway.start("python3", "-m", "http.server", "--bind", "127.0.0.1", "9810",
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("it is taken", lambda: self.gateway.run(
            "curl", "-s", f"http://{METRICS}/", check=False).returncode == 0)
        self.assertEqual(self.gateway.apply().returncode, 0, "traffic does not wait for a page")
        self.assertIn("no page and no metrics: cannot listen on 127.0.0.1:9810", self.gateway.tunorch("status").stdout)
        self.assertIn("cannot listen on 127.0.0.1:9810", web(self.gateway)["reason"])
        taken.kill()
        taken.wait()
        wait_for("it has got it", lambda: web(self.gateway)["pid"], 40)


class Strangers(LabTest):
    spec = with_metrics()

    def test_they_only_read(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        self.assertEqual(code(self.gateway, "/"), "200")
        self.assertEqual(code(self.gateway, "/metrics", "-I"), "200")
        self.assertEqual(code(self.gateway, "/nothing"), "404")
        self.assertEqual(code(self.gateway, "/../../etc/passwd", "--path-as-is"), "404")
        self.assertEqual(code(self.gateway, "/", "-X", "POST"), "405")
        self.assertEqual(code(self.gateway, "/metrics", "-H", "Host: evil.example"), "421")
        self.assertEqual(code(self.gateway, "/metrics", "-H", "Host: localhost:9810"), "200")
        head = get(self.gateway, "/", "-D", "-", "-o", "/dev/null").stdout
        self.assertIn("default-src 'none'", head)

    def test_they_cannot_stop_it(self):
        """Rubbish, half requests and many connections at once; who asks afterwards is answered."""
        self.gateway.apply()
        web_is_there(self.gateway)
        pid = web(self.gateway)["pid"]
        script = """
import os, socket, time
def connect():
    s = socket.create_connection(("127.0.0.1", 9810)); s.settimeout(0.2); return s
for text in (b"\\0" * 9000, b"GET / HTTP/1.1\\r\\n" + b"a: b\\r\\n" * 5000, os.urandom(5000),
             b"GET " + b"a" * 20000, b"POST / HTTP/1.1\\r\\nContent-Length: 99999999999\\r\\n\\r\\n",
             b"GET /stream HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"):
    s = connect()
    try:
        s.sendall(text); s.recv(100)
    except OSError: pass
    s.close()
held = []
for _ in range(300):
    try:
        s = connect(); s.sendall(b"GET /str"); held.append(s)
    except OSError: pass
streams = []
for s in held[:60]:
    try: s.sendall(b"eam HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    except OSError: pass
time.sleep(1)
"""
        self.gateway.run("python3", "-c", script)
        web_is_there(self.gateway)
        self.assertEqual(web(self.gateway)["pid"], pid)

    def test_many_pages_come_and_go(self):
        """Each is let go of at once: the daemon has room for those that come after them."""
        self.lab.up()
        web_is_there(self.edge)
        script = """
import socket
for _ in range(100):
    s = socket.create_connection(("127.0.0.1", 9810)); s.settimeout(5)
    s.sendall(b"GET /stream HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    while b"event: status" not in s.recv(65536): pass
    s.close()
"""
        self.edge.run("python3", "-c", script)
        self.assertEqual(values(self.edge)["tunorch_daemon_up"], 1)
        pid = self.edge.status()["daemon"]["pid"]
        wait_for("their followers are gone", lambda: len(os.listdir(f"/proc/{pid}/fd")) < 60)

    def test_a_page_stays_open_and_down_does_not_wait_for_it(self):
        self.lab.up()
        web_is_there(self.edge)
        page = self.edge.start("curl", "-sN", "--max-time", "30", f"http://{METRICS}/stream",
                               stdout=subprocess.DEVNULL)
        with self.assertRaises(subprocess.TimeoutExpired):
            page.wait(13)
        follower = self.edge.start(TUNORCH, "events", "--follow", *self.edge.options(),
                                   stdout=subprocess.DEVNULL)
        daemon = self.edge.status()["daemon"]["pid"]
        self.edge.tunorch("down")
        wait_for("the daemon has ended", lambda: not os.path.exists(f"/proc/{daemon}/cwd"), 5)
        follower.wait(5)
        page.wait(5)

    def test_idle_connections_make_room(self):
        self.gateway.apply()
        web_is_there(self.gateway)
        script = """
import socket, time
held = [socket.create_connection(("127.0.0.1", 9810)) for _ in range(64)]
time.sleep(0.5)
late = socket.create_connection(("127.0.0.1", 9810)); late.settimeout(3)
late.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
assert b"200 OK" in late.recv(1000)
"""
        self.gateway.run("python3", "-c", script)
        foreign = ("-H", "Sec-Fetch-Site: cross-site", "-H", "Sec-Fetch-Mode: no-cors")
        self.assertEqual(code(self.gateway, "/stream", *foreign), "403")

    def test_pages_are_told(self):
        """Server-sent events: the status at once, then an event as it happens."""
        self.lab.up()
        web_is_there(self.edge)
        page = self.edge.start("curl", "-sN", f"http://{METRICS}/stream", stdout=subprocess.PIPE)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(page.stdout.readline, "")))
        reader.start()
        try:
            wait_for("a status", lambda: "event: status\n" in lines)
            self.edge.kill_worker("backbone-2")
            wait_for("its end is told", lambda: any(
                '"worker_ended"' in line and "backbone-2" in line for line in lines), 2)
            wait_for("and what follows", lambda: any(
                line.startswith('data: {"') and '"health":"down"' in line for line in lines), 2)
        finally:
            page.kill()
            reader.join()
            page.stdout.close()
