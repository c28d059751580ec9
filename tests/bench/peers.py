"""What the bench compares: each candidate brought up between the lab's two hosts, with 10.77.0.1 on
the gateway and 10.77.0.2 on the edge, and taken down again. Peers are Debian's packages, with the
settings their own documents recommend for speed."""

import os
import shutil
import signal
import subprocess
import time

from lab import EDGE, GATEWAY, cluster, wait_for

WAN = {"gateway": "10.66.0.1", "edge": "10.66.0.2"}
INNER = {"gateway": GATEWAY, "edge": EDGE}


def output(*command):
    done = subprocess.run(command, text=True, capture_output=True)
    return (done.stdout + done.stderr).strip()


class Candidate:
    """`up` returns when the far end answers."""

    name = ""
    address = GATEWAY  # of the gateway, as seen from the edge

    def version(self):
        return ""

    def up(self, lab):
        self.lab = lab
        self.dir = os.path.join(lab.dir, self.name.replace(" ", "-"))
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        self.processes = []
        self.start()
        wait_for(f"{self.name} answers", lambda: lab.edge.run(
            "ping", "-c", "1", "-W", "1", self.address, check=False).returncode == 0, 20)

    def start(self):
        raise NotImplementedError

    def down(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def pids(self):
        """What carries packets, on both ends."""
        return [process.pid for process in self.processes]

    def launch(self, host, *command):
        with open(os.path.join(self.dir, f"{host.node}.log"), "a") as log:
            # `ip netns exec` becomes the command itself: the pid is the peer's.
            process = host.start(*command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def hosts(self):
        return ((self.lab.gateway, self.lab.edge), (self.lab.edge, self.lab.gateway))

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path


class Bare(Candidate):
    name = "bare veth"
    address = WAN["gateway"]

    def start(self):
        pass


class Tunorch(Candidate):
    def __init__(self, name, **bundle):
        self.name = name
        self.bundle = bundle

    def start(self):
        self.lab.write(cluster(**self.bundle))
        self.lab.up()

    def pids(self):
        return [pid for host in (self.lab.gateway, self.lab.edge)
                for pid in host.worker_pids().values()]

    def down(self):
        for host in (self.lab.edge, self.lab.gateway):
            host.tunorch("down")
        super().down()


class OpenVpn(Candidate):
    def __init__(self, tcp):
        self.tcp = tcp
        self.name = "OpenVPN TCP" if tcp else "OpenVPN UDP"

    def version(self):
        return output("openvpn", "--version").split()[1]

    def key(self, node):
        key, certificate = (os.path.join(self.dir, f"{node}.{end}") for end in ("key", "crt"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj",
                        f"/CN={node}", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)
        return output("openssl", "x509", "-in", certificate, "-noout", "-fingerprint",
                      "-sha256").partition("=")[2]

    def start(self):
        prints = {host.node: self.key(host.node) for host, _ in self.hosts()}
        for host, other in self.hosts():
            serves = host.node == "gateway"
            lines = [f"dev ov-{host.node}", "dev-type tun", f"cert {self.dir}/{host.node}.crt",
                     f"key {self.dir}/{host.node}.key",
                     f'peer-fingerprint "{prints[other.node]}"',
                     f"ifconfig {INNER[host.node]} {INNER[other.node]}",
                     "data-ciphers AES-256-GCM", "disable-dco", "sndbuf 4194304", "rcvbuf 4194304",
                     "verb 1"]
            if self.tcp:
                lines += ["tun-mtu 1500", "mssfix 0", "txqueuelen 9000"]
                lines += ["proto tcp-server"] if serves else ["proto tcp-client"]
            else:
                lines += ["tun-mtu 1420", "txqueuelen 1000", "fast-io", "proto udp"]
            if serves:
                lines += [f"local {WAN['gateway']}", "port 1194", "tls-server", "dh none"]
            else:
                lines += [f"remote {WAN['gateway']} 1194", "nobind", "tls-client",
                          "connect-retry 1"]
            self.launch(host, "openvpn", "--config",
                        self.write(f"{host.node}.conf", "\n".join(lines) + "\n"))


class WireGuardGo(Candidate):
    name = "wireguard-go"

    def version(self):
        return output("dpkg-query", "-W", "-f", "${Version}", "wireguard-go")

    def device(self, host):
        return f"wg{os.getpid() % 100000}-{host.node[0]}"  # its control sockets share one folder

    def start(self):
        keys = {}
        for host, _ in self.hosts():
            private = output("wg", "genkey")
            public = subprocess.run(["wg", "pubkey"], input=private, text=True, check=True,
                                    capture_output=True).stdout.strip()
            keys[host.node] = private, public
            self.launch(host, "wireguard-go", "-f", self.device(host))
        time.sleep(0.7)
        for host, other in self.hosts():
            serves = host.node == "gateway"
            text = (f"[Interface]\nPrivateKey={keys[host.node][0]}\n" +
                    ("ListenPort=51820\n" if serves else "") +
                    f"[Peer]\nPublicKey={keys[other.node][1]}\nAllowedIPs={INNER[other.node]}/32\n" +
                    ("" if serves else f"Endpoint={WAN['gateway']}:51820\nPersistentKeepalive=5\n"))
            host.run("wg", "setconf", self.device(host), self.write(f"{host.node}.conf", text))
            host.ip("addr", "add", f"{INNER[host.node]}/24", "dev", self.device(host))
            host.ip("link", "set", self.device(host), "mtu", "1420", "up")


class Fastd(Candidate):
    name = "fastd"

    def version(self):
        return output("fastd", "--version").split()[1]

    def start(self):
        keys = {}
        for host, _ in self.hosts():
            words = output("fastd", "--generate-key").split()
            keys[host.node] = words[words.index("Secret:") + 1], words[words.index("Public:") + 1]
        for host, other in self.hosts():
            serves = host.node == "gateway"
            device = f"fd-{host.node}"
            text = (f'log level info; interface "{device}"; mode tun; mtu 1400; '
                    f'method "salsa2012+umac"; secret "{keys[host.node][0]}";\n'
                    f'bind {WAN[host.node]}:{10000 if serves else 0};\n'
                    f'on up "ip link set {device} up; ip addr add {INNER[host.node]}/24 dev '
                    f'{device}";\n'
                    f'peer "other" {{ key "{keys[other.node][1]}"; ' +
                    ("" if serves else f"remote {WAN['gateway']}:10000; ") + "}\n")
            self.launch(host, "fastd", "--config", self.write(f"{host.node}.conf", text))


class Tinc(Candidate):
    name = "tinc"

    def version(self):
        return output("tincd", "--version").split()[2]

    def start(self):
        for host, other in self.hosts():
            node, serves = host.node, host.node == "gateway"
            os.makedirs(os.path.join(self.dir, node, "hosts"), exist_ok=True)
            self.write(f"{node}/tinc.conf",
                       f"Name={node}\nDeviceType=tun\nMode=router\nInterface=ti-{node}\n" +
                       (f"BindToAddress={WAN[node]} 6655\n" if serves
                        else f"ConnectTo={other.node}\n"))
            self.write(f"{node}/hosts/{node}",
                       f"Subnet={INNER[node]}/32\nCipher=aes-256-cbc\nDigest=sha256\n" +
                       (f"Address={WAN[node]} 6655\n" if serves else ""))
            os.chmod(self.write(f"{node}/tinc-up",
                                "#!/bin/sh\nip link set $INTERFACE mtu 1400 up\n"
                                f"ip addr add {INNER[node]}/24 dev $INTERFACE\n"), 0o700)
            subprocess.run(["tincd", "-c", os.path.join(self.dir, node), "-K2048"], check=True,
                           stdin=subprocess.DEVNULL, capture_output=True)
        for host, other in self.hosts():
            shutil.copy(os.path.join(self.dir, other.node, "hosts", other.node),
                        os.path.join(self.dir, host.node, "hosts", other.node))
        for host, _ in self.hosts():
            folder = os.path.join(self.dir, host.node)
            self.launch(host, "tincd", "-c", folder, "-D", "-d1",
                        f"--pidfile={os.path.join(folder, 'pid')}")


def all_candidates():
    return [
        Bare(),
        Tunorch("tunorch 1 tunnel", tunnels=1),
        Tunorch("tunorch 4 tunnels", tunnels=4),
        Tunorch("tunorch 4 streams", tunnels=1, streams=4),
        OpenVpn(tcp=False), OpenVpn(tcp=True), WireGuardGo(), Fastd(), Tinc(),
    ]
