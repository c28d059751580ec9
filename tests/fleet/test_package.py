"""What the package installs and what the collection is, looked at without a host. TUNORCH_DEB is the package,
TUNORCH_BIN the folder of the programs."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
DEB = os.path.abspath(os.environ["TUNORCH_DEB"])
TUNORCH = os.path.join(os.path.abspath(os.environ["TUNORCH_BIN"]), "tunorch")


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, **options)


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="tn-package-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)
        subprocess.run(["dpkg-deb", "-x", DEB, cls.dir], check=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def silent(self, *words, **options):
        done = run(*words, **options)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), words)

    def test_lintian_has_nothing_to_say(self):
        self.silent("lintian", "--allow-root", "--fail-on", "error,warning,info", DEB)

    def test_debug_symbols_are_apart(self):
        symbols = glob.glob(os.path.join(os.path.dirname(DEB), "tunorch-dbgsym_*"))
        self.assertEqual(len(symbols), 1)
        for program in ("tunorch", "tunorch-worker", "tunorch-web"):
            sections = run("readelf", "-SW", self.path(f"usr/bin/{program}")).stdout
            self.assertNotIn(".debug_info", sections)
            number = re.search(r"Build ID: (\w+)",
                               run("readelf", "-n", self.path(f"usr/bin/{program}")).stdout)[1]
            self.assertIn(f"/{number[:2]}/{number[2:]}.debug",
                          run("dpkg-deb", "-c", symbols[0]).stdout)

    def test_programs_do_not_know_where_they_were_built(self):
        for program in ("tunorch", "tunorch-worker", "tunorch-web"):
            with open(self.path(f"usr/bin/{program}"), "rb") as file:
                self.assertNotIn(ROOT.encode(), file.read())

    def test_units_are_right(self):
        """Unknown keys are told, and change no exit code."""
        for unit in ("tunorch.service", "tunorch@.service"):
            path = self.path(f"lib/systemd/system/{unit}")
            with open(path) as file:
                text = file.read().replace("/usr/bin/tunorch", self.path("usr/bin/tunorch"))
            copy = os.path.join(self.dir, unit.replace("@", "@edge"))
            with open(copy, "w") as file:
                file.write(re.sub(r"Documentation=.*\n", "", text))
            done = run("systemd-analyze", "verify", "--man=no", copy)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            exposure = run("systemd-analyze", "security", "--offline=true", "--threshold=30", copy)
            self.assertEqual(exposure.returncode, 0, exposure.stdout + exposure.stderr)

    def test_users_and_folders(self):
        made = run("systemd-sysusers", "--dry-run", self.path("usr/lib/sysusers.d/tunorch.conf"),
                   f"--root={self.dir}")
        self.assertIn("Creating group 'tunorch'", made.stdout + made.stderr)
        with open(self.path("etc/iproute2/rt_protos.d/tunorch.conf")) as file:
            self.assertIn("116\ttunorch\n", file.read())

    def test_man_pages(self):
        pages = glob.glob(self.path("usr/share/man/man*/*.gz"))
        self.assertEqual(len(pages), 4)
        for page in pages:
            done = run("man", "--warnings=w", "-l", "-Tutf8", page, env={**os.environ, "MANWIDTH": "100",
                                                                        "LC_ALL": "C.UTF-8"})
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)
        text = run("man", "-l", "-Tascii", self.path("usr/share/man/man1/tunorch.1.gz"),
                   env={**os.environ, "MAN_KEEP_FORMATTING": ""}).stdout
        plain = re.sub(".\x08", "", text)
        for verb in self.verbs():
            self.assertIn(f"\n   {verb} ", plain.replace("\n", " \n"))

    def verbs(self):
        listed = run(TUNORCH, "--help").stdout.partition("Subcommands:\n")[2].partition("\n\n")[0]
        verbs = re.findall(r"(?m)^  (\w[\w-]*) ", listed)
        self.assertGreater(len(verbs), 10)
        return verbs

    def test_completions(self):
        bash = self.path("usr/share/bash-completion/completions/tunorch")
        zsh = self.path("usr/share/zsh/vendor-completions/_tunorch")
        fish = self.path("usr/share/fish/vendor_completions.d/tunorch.fish")
        for shell, path in (("bash", bash), ("zsh", zsh), ("fish", fish)):
            self.silent(shell, "-n", path)

        def complete(*words):
            script = (f". {bash}; COMP_WORDS=(tunorch {' '.join(words)}); "
                      f"COMP_CWORD={len(words)}; _tunorch; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
            return run("bash", "-c", script).stdout.split()

        self.assertEqual(complete("dr"), ["drain"])
        self.assertEqual(sorted(complete("''")), sorted(self.verbs()))
        self.assertEqual(complete("apply", "--wait"), ["--wait-peers"])
        self.assertEqual(complete("apply", "--no"), ["--node"])
        self.assertIn("renew", complete("pki", "''"))

    def test_examples_are_valid(self):
        examples = glob.glob(self.path("usr/share/doc/tunorch/examples/*.yaml"))
        self.assertGreater(len(examples), 8)
        for example in examples:
            self.assertEqual(run(self.path("usr/bin/tunorch"), "validate", example).returncode, 0, example)


class Collection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        top = tempfile.mkdtemp(prefix="tn-collection-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, top, True)
        cls.dir = os.path.join(top, "ansible_collections/tunorch/fleet")
        shutil.copytree(os.path.join(ROOT, "ansible"), cls.dir)
        cls.environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": top, "NO_COLOR": "1",
                           "ANSIBLE_HOME": os.path.join(top, "home"), "LC_ALL": "C.UTF-8"}

    def check(self, *words):
        done = run(*words, cwd=self.dir, env=self.environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_ansible_lint(self):
        self.assertIn("Passed with production profile", self.check("ansible-lint", "--offline",
                                                                   "--nocolor"))

    def test_yamllint(self):
        self.check("yamllint", "--strict", ".")

    def test_readme_is_made_from_the_role(self):
        self.check(sys.executable, "readme.py", "--check")


if __name__ == "__main__":
    unittest.main()
