"""Man pages and completions are made from the built programs and say all that these say: the program's
help and the cluster file's schema are walked here once more, by readers of this file's own."""

import glob
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from programs import BIN, ROOT, TUNORCH, program, read, run
from zsh_terminal import Zsh

PAGES = ("tunorch.1", "tunorch-cluster.yaml.5", "tunorch-worker.8", "tunorch-web.8")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}


def walk(words=()):
    """(words, flags, verbs below) of the program and all its verbs, as --help says."""
    text = subprocess.run([TUNORCH, *words, "--help"], check=True, capture_output=True, text=True).stdout
    below = []
    if "\nSubcommands:\n" in text:
        below = re.findall(r"(?m)^  (\w[\w-]*)", text.split("\nSubcommands:\n")[1].split("\n\n")[0])
    heads = re.findall(r"(?m)^  (-\S+)", text)
    yield words, [flag for head in heads for flag in head.split(",")], below
    for verb in below:
        yield from walk((*words, verb))


def key_paths(key, path=""):
    """Every key that the schema lets stand in a cluster file."""
    if path:
        yield path
    for name, inner in key.get("properties", {}).items():
        yield from key_paths(inner, f"{path}/{name}".lstrip("/"))
    for inner in key.get("patternProperties", {}).values():
        yield from key_paths(inner, path + "/NAME")
    if isinstance(key.get("additionalProperties"), dict):
        yield from key_paths(key["additionalProperties"], path + "/NAME")
    for choice in key.get("oneOf", []) + key.get("anyOf", []) + key.get("allOf", []):
        yield from (inner for inner in key_paths(choice, path) if inner != path)
    if "items" in key:
        yield from (inner for inner in key_paths(key["items"], path + "[]") if inner != path + "[]")


class Generated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="tn-pages-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        maker = os.path.join(ROOT, "packaging/from_help.py")
        subprocess.run(["/usr/bin/python3", maker, BIN, "1.2.3", cls.dir], check=True)
        cls.verbs = list(walk())
        assert len(cls.verbs) > 15, "the walk through --help found hardly anything"

    def path(self, name):
        return os.path.join(self.dir, name)

    def file(self, name):
        with open(self.path(name)) as file:
            return file.read()


class Man(Generated):
    def text(self, name):
        """Plain, each paragraph in one line."""
        done = run(program("groff"), "-man", "-Kutf8", "-Tutf8", "-P-cbou", "-rLL=2000n", "-rHY=0",
                   self.path(name), env=ENVIRONMENT)
        return done.stdout.replace("\u2010", "-").replace("\u2212", "-")

    def test_formats_without_a_warning(self):
        for name in PAGES:
            for words in ((program("man"), "--warnings", "-l", "-Tutf8"),
                          (program("groff"), "-ww", "-man", "-Kutf8", "-Tutf8", "-z")):
                done = run(*words, self.path(name), env=ENVIRONMENT)
                self.assertEqual((done.returncode, done.stderr), (0, ""), (name, words))

    def test_has_every_verb_and_option(self):
        text = self.text("tunorch.1")
        for words, flags, below in self.verbs:
            if not below:
                head = " ".join(("tunorch", *words)).partition(" ")[2]
                self.assertRegex(text, rf"(?m)^   {re.escape(head)}( |$)")
                entry = re.split(rf"(?m)^   {re.escape(head)}(?: .*)?$", text)[1]
            else:
                entry = text
            entry = re.split(r"(?m)^(?:   )?\S", entry)[0] if not below else entry
            for flag in set(flags) - {"-h", "--help"}:
                self.assertRegex(entry, rf"(?m)^ {{7}}(-\S+, )*{flag}(,| |$)", words)

    def test_has_every_variable_of_the_environment(self):
        text = self.text("tunorch.1")
        names = re.findall(r"\(Env:(\w+)\)", run(TUNORCH, "--help").stdout)
        self.assertGreater(len(names), 2)
        for name in names:
            self.assertIn(f"Environment: {name}.", text)

    def test_has_every_key_of_the_file(self):
        text = self.text("tunorch-cluster.yaml.5").partition("\nKEYS\n")[2].partition("\nSEE ALSO")[0]
        paths = set(key_paths(json.loads(read("configs/cluster.schema.json"))))
        self.assertIn("bundles/NAME/tunnels[]/weight", paths)
        self.assertIn("tuning/sysctl/NAME", paths)
        text = text.partition("\n\n")[2]  # what comes first says how to read it
        found = set(re.findall(r"(?m)^ {7}(\S+)(?: |$)", text))
        self.assertEqual(sorted(paths - found), [])
        self.assertEqual(sorted(found - paths), [])

    def test_has_every_word_of_the_others_usage(self):
        for name in ("tunorch-worker", "tunorch-web"):
            page = self.text(f"{name}.8").split()
            for part in run(os.path.join(BIN, name), "--help").stdout.replace("`", "").split("\n\n"):
                for line in part.splitlines():
                    words = line.removeprefix("usage:").split()
                    if re.fullmatch(r"[A-Z][a-z ]+:", line):
                        words = line.upper().rstrip(":").split()
                    self.assertIn(f" {' '.join(words)} ", f" {' '.join(page)} ")

    def test_names_the_others(self):
        for name in PAGES:
            see = self.text(name).partition("\nSEE ALSO\n")[2]
            for other in PAGES:
                page, _, section = other.rpartition(".")
                if other != name:
                    self.assertIn(f"{page}({section})", see, name)


class Completions(Generated):
    def lines(self):
        """(words, beginning, what has to be offered) of everything that can be typed."""
        for words, flags, below in self.verbs:
            yield from ((words, flag, flag) for flag in flags if flag.startswith("--"))
            yield from ((words, verb[:2], verb) for verb in below)

    def test_parse(self):
        for shell, name in (("bash", "tunorch.bash"), ("zsh", "_tunorch"), ("fish", "tunorch.fish")):
            done = run(program(shell), "-n", self.path(name), env={**os.environ, "HOME": self.dir})
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), shell)

    def offered_by_bash(self, lines):
        """For each line of words what pressing TAB at its end would offer."""
        script = f"cd {self.dir}; . {self.path('tunorch.bash')}\n"
        for words in lines:
            typed = " ".join(f"'{word}'" for word in words)
            script += (f"COMP_WORDS=(tunorch {typed}); COMP_CWORD={len(words)}; COMPREPLY=()\n"
                       "_tunorch; echo \"${COMPREPLY[*]}\"\n")
        done = run(program("bash"), "-euc", script)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [line.split() for line in done.stdout.split("\n")[:-1]]

    def test_bash_offers_everything(self):
        lines = list(self.lines())
        offers = self.offered_by_bash([(*words, begun) for words, begun, _ in lines])
        self.assertEqual(len(offers), len(lines))
        for (words, begun, whole), offered in zip(lines, offers):
            self.assertIn(whole, offered, (words, begun))

    def test_bash_completes_a_verb(self):
        self.assertEqual(self.offered_by_bash([("st",), ("pki", "rev"), ("--node", "edge", "sta")]),
                         [["status"], ["revoke"], ["status"]])
        registered = run(program("bash"), "-c", f". {self.path('tunorch.bash')}; complete -p tunorch")
        self.assertIn("-F _tunorch tunorch", registered.stdout)

    def test_fish_offers_everything(self):
        lines = list(self.lines())
        script = f"source {self.path('tunorch.fish')}\n" + "".join(
            f"complete -C '{' '.join(('tunorch', *words, begun))}'; echo END\n"
            for words, begun, _ in lines)
        done = run(program("fish"), "-N", "-c", script, env={**os.environ, "HOME": self.dir})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        offers = done.stdout.split("END\n")[:-1]
        self.assertEqual(len(offers), len(lines))
        for (words, begun, whole), offered in zip(lines, offers):
            self.assertIn(whole, [line.split("\t")[0] for line in offered.splitlines()], (words, begun))

    def test_zsh_offers_everything(self):
        zsh = Zsh(program("zsh"), self.dir)
        self.addCleanup(zsh.close)
        for words, _, whole in self.lines():
            line = " ".join(("tunorch", *words, whole))
            self.assertIn(line + " ", zsh.press_tab(line[:-1], line + " "))

    def test_the_package_has_them_all(self):
        cmake = read("packaging/CMakeLists.txt")
        made = {os.path.basename(path) for path in glob.glob(self.path("*"))}
        self.assertEqual(made, {*PAGES, "tunorch.bash", "_tunorch", "tunorch.fish"})
        for name in made:
            self.assertRegex(cmake, rf"install\(FILES \${{bin}}/{re.escape(name)}")


if __name__ == "__main__":
    unittest.main()
