"""Hosts that boot systemd, reached by ssh, on this one machine: systemd-nspawn over one base image, each in a
network namespace of its own on a bridge. Nothing of it is in the machine's own network namespace.

    with Fleet(["gateway", "edge-1"], work, pool, packages) as fleet:
        fleet.run("gateway", "systemctl is-system-running")
"""

import contextlib
import glob
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NETWORK = "10.98.0"
PACKAGES = ["systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "iproute2",
            "iputils-ping", "procps", "kmod", "netbase", "nftables", "iperf3", "openvpn", "wireguard-go",
            "network-manager", "libpam-systemd"]
START_LIMIT = 60


def check(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, condition, limit=START_LIMIT, pause=0.2):
    until = time.monotonic() + limit
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"after {limit} s still not: {what}")


def end(process):
    """Whatever became of it; nothing of a test goes on in the next one."""
    process.terminate()
    process.wait()
    if process.stdout:
        process.stdout.close()


def base_image(work, packages):
    """A folder with Debian in it, made once for these packages in these versions."""
    wanted = sorted({*PACKAGES, *packages})
    versions = check("apt-cache", "policy", *wanted)
    stamp = hashlib.sha256(versions.encode()).hexdigest()[:16]
    image = os.path.join(work, f"base-{stamp}")
    if os.path.exists(image):
        return image
    for old in glob.glob(os.path.join(work, "base-*")):
        shutil.rmtree(old)
    os.makedirs(work, exist_ok=True)
    codename = check("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").strip()
    # From wherever this machine itself has its packages.
    source = check("apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {codename}",
                   "Created-By: Packages").splitlines()[0]
    making = image.replace("base-", "making-")
    shutil.rmtree(making, ignore_errors=True)
    check("debootstrap", "--variant=minbase", f"--include={','.join(wanted)}", codename, making, source)
    for name in ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname",
                 *glob.glob("etc/ssh/ssh_host_*", root_dir=making)):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(making, name))
    # Only where a test starts it.
    check("systemctl", "--root", making, "disable", "NetworkManager", "NetworkManager-dispatcher",
          "NetworkManager-wait-online")
    for folder in glob.glob(os.path.join(making, "etc/systemd/system/*.wants")):
        if not os.listdir(folder):
            os.rmdir(folder)  # as an uninstall of anything would
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(os.path.join(making, folder))
        os.makedirs(os.path.join(making, folder, "partial"))
    # Else the empty lists would be taken for fresh ones.
    os.utime(os.path.join(making, "var/lib/apt/lists"), (0, 0))
    # The hosts have no way out: what they install comes from a folder of this machine.
    with open(os.path.join(making, "etc/apt/sources.list"), "w") as file:
        file.write("deb [trusted=yes] file:/srv/pool ./\n")
    os.rename(making, image)
    return image


class Host:
    def __init__(self, fleet, name, number):
        self.fleet, self.name = fleet, name
        self.address = f"{NETWORK}.{10 + number}"
        self.dir = os.path.join(fleet.dir, name)
        self.process = None
        self.prepare()

    def prepare(self):
        upper = os.path.join(self.dir, "upper")
        for folder in ("root", "work", "upper/etc/ssh", "upper/root/.ssh"):
            os.makedirs(os.path.join(self.dir, folder))
        os.chmod(os.path.join(upper, "root"), 0o700)
        os.chmod(os.path.join(upper, "root/.ssh"), 0o700)
        with open(self.fleet.key + ".pub") as file:
            public = file.read()
        texts = {"etc/hostname": f"{self.name}\n",
                 # Set, or the first boot would enable every unit there is.
                 "etc/machine-id": os.urandom(16).hex() + "\n",
                 "etc/hosts": "127.0.0.1 localhost\n",
                 "root/.ssh/authorized_keys": public}
        for name, text in texts.items():
            with open(os.path.join(upper, name), "w") as file:
                file.write(text)
        key = os.path.join(upper, "etc/ssh/ssh_host_ed25519_key")
        check("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key)
        with open(key + ".pub") as public, open(self.fleet.known_hosts, "a") as file:
            file.write(f"{self.address} {' '.join(public.read().split()[:2])}\n")

    def power_on(self):
        self.console = open(os.path.join(self.dir, "console.log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(HERE, "boot.sh"), self.name, self.dir, self.fleet.base, self.fleet.pool,
             f"{self.address}/24", f"{NETWORK}.1", self.fleet.controller],
            stdout=self.console, stderr=self.console, stdin=subprocess.DEVNULL,
            start_new_session=True)

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended while booting: {self.last_words()}")
        done = self.run("systemctl is-system-running --wait", check=False)
        return done.stdout.strip() in ("running", "degraded")

    def wait_up(self):
        wait_for(f"{self.name} is up", self.is_up)

    def last_words(self):
        with open(os.path.join(self.dir, "console.log"), errors="replace") as file:
            return file.read()[-2000:]

    def power_off(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.console.close()
        self.process = None

    def ssh_words(self):
        return ["ip", "netns", "exec", self.fleet.controller, "ssh", "-F", "none", "-i", self.fleet.key, "-o",
                "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o",
                f"UserKnownHostsFile={self.fleet.known_hosts}", "-o", "StrictHostKeyChecking=yes", "-o",
                "ConnectTimeout=2", f"root@{self.address}"]

    def run(self, command, check=True):
        done = subprocess.run([*self.ssh_words(), command], capture_output=True, text=True)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: {command}: {done.stdout}{done.stderr}")
        return done

    def start(self, command):
        return subprocess.Popen([*self.ssh_words(), command], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)


class Fleet:
    def __init__(self, names, work, pool, packages):
        self.base = base_image(work, packages)
        self.pool = pool
        # A short path: the sockets of ssh are in it.
        self.dir = tempfile.mkdtemp(prefix="tn-fleet-", dir="/tmp")
        # The controller's network namespace. A name nobody had: a run that was killed may have left its own.
        self.controller = os.path.basename(self.dir)
        self.key = os.path.join(self.dir, "key")
        self.known_hosts = os.path.join(self.dir, "known_hosts")
        self.hosts = {}
        try:
            self.make(names)
        except BaseException:
            self.close()
            raise

    def make(self, names):
        check("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleet", "-f", self.key)
        check("ip", "netns", "add", self.controller)
        for words in (("link", "set", "lo", "up"), ("link", "add", "br0", "type", "bridge"),
                      ("addr", "add", f"{NETWORK}.1/24", "dev", "br0"), ("link", "set", "br0", "up")):
            check("ip", "-n", self.controller, *words)
        for number, name in enumerate(names, 1):
            self.hosts[name] = Host(self, name, number)
        for host in self.hosts.values():
            host.power_on()
        for host in self.hosts.values():
            host.wait_up()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for host in self.hosts.values():
            if host.process:
                host.process.send_signal(signal.SIGTERM)
        for host in self.hosts.values():
            host.power_off()
        subprocess.run(["ip", "netns", "del", self.controller], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    def on_controller(self, *words, **options):
        return subprocess.run(["ip", "netns", "exec", self.controller, *words], capture_output=True, text=True,
                              **options)
