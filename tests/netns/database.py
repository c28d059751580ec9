"""A throw-away PostgreSQL on a lab's gateway, in a folder of the lab's."""

import contextlib
import glob
import os
import pwd
import subprocess

from lab import BIN, wait_for

WORKER = os.path.join(BIN, "tunorch-worker")
SERVER = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
PORT = 5432


class Server:
    """PostgreSQL in a folder of its own, on the gateway's address and a unix socket there."""

    def __init__(self, host, folder, settings=()):
        self.host, self.folder = host, folder
        self.settings = settings
        user = pwd.getpwnam("postgres")
        os.mkdir(folder, 0o700)
        os.chown(folder, user.pw_uid, user.pw_gid)
        self.data = os.path.join(folder, "data")
        self.as_postgres("initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-N",
                         "--encoding=UTF8", "--locale=C")
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as file:
            file.write("local all postgres trust\nhost all all 10.66.0.0/24 trust\n")
        self.start()
        self.sql("CREATE DATABASE vpn", "postgres")
        self.sql("CREATE ROLE vpn LOGIN PASSWORD 'secret'")

    def as_postgres(self, program, *args, check=True):
        done = self.host.run("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
                             os.path.join(SERVER, program), *args, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{program}: {done.stdout}{done.stderr}")
        return done

    def start(self):
        options = ["-c", "listen_addresses=10.66.0.1", "-c", f"port={PORT}", "-c",
                   f"unix_socket_directories={self.folder}", "-c", "shared_buffers=64MB",
                   "-c", "max_wal_size=256MB", *self.settings]
        self.process = self.host.start("setpriv", "--reuid=postgres", "--regid=postgres",
                                       "--init-groups", os.path.join(SERVER, "postgres"), "-D",
                                       self.data, *options, "-c", "logging_collector=on",
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("the database answers", lambda: self.as_postgres(
            "pg_isready", "-h", self.folder, "-p", str(PORT), check=False).returncode == 0)

    def stop(self, how):
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            pid = int(file.readline())
        os.kill(pid, how)
        self.process.wait(timeout=20)
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(self.data, "postmaster.pid"))

    def sql(self, text, database="vpn"):
        """Rows, each a list of texts."""
        done = self.as_postgres("psql", "-h", self.folder, "-p", str(PORT), "-U", "postgres", "-d",
                                database, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text)
        return [line.split("|") for line in done.stdout.splitlines()]

    def init(self, schema="tunorch"):
        done = self.host.run(WORKER, "postgres-init",
                             f"postgresql://postgres@10.66.0.1:{PORT}/vpn", schema, check=False)
        if done.returncode == 0:
            self.sql(f"GRANT USAGE ON SCHEMA {schema} TO vpn; "
                     f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO vpn; "
                     f"GRANT UPDATE ON {schema}.stream TO vpn")
        return done
