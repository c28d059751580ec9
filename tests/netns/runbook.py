"""docs/runbook.md as data: its entries, the commands of each, how each is to exit and what it is to print."""

import os
import re
import subprocess
import time
from dataclasses import dataclass, field

from lab import BIN, HERE

# What only looks, and may be typed again.
LOOKS = re.compile(r"tunorch (status|events|explain|plan|doctor|version)\b|ip (-d )?\w+ (show|get)\b|nft list |"
                   r"sysctl net|(ping|ss|tc|cat|free|sha256sum|timeout 2 bash) ")


@dataclass
class Command:
    text: str
    exits: tuple  # any of them is well


@dataclass
class Block:
    node: str = "edge"
    commands: list = field(default_factory=list)
    prints: str = ""


@dataclass
class Entry:
    heading: str
    text: str
    blocks: list

    @property
    def name(self):
        """As a word of Python's."""
        return re.sub(r"\W+", "_", self.heading.lower()).strip("_")


def parse_block(text):
    block = Block()
    for line in text.splitlines():
        if node := re.fullmatch(r"# on (\w+)", line):
            block.node = node[1]
            continue
        command, _, exits = line.partition("   # exits ")
        block.commands.append(Command(command, tuple(map(int, exits.split(" or "))) if exits else (0,)))
    return block


def parse(text):
    """The introduction is an entry too, of the name of the page."""
    entries = []
    for part in re.split(r"(?m)\A# |^## ", text)[1:]:
        heading, _, body = part.partition("\n")
        blocks = []
        for kind, code in re.findall(r"(?ms)^```(sh|text)\n(.*?)\n```$", body):
            if kind == "sh":
                blocks.append(parse_block(code))
            else:
                blocks[-1].prints = code
        entries.append(Entry(heading, body, blocks))
    return entries


def read():
    with open(os.path.join(HERE, "../../docs/runbook.md")) as file:
        return parse(file.read())


def pattern(prints):
    """Lines one below the other, `…` for anything within one, a line `…` for any lines between."""
    lines = []
    for line in prints.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        words = r"[ \t]+".join(".*".join(map(re.escape, word.split("…"))) for word in line.split())
        words = words.replace(r".*[ \t]+", ".*").replace(r"[ \t]+.*", ".*")
        lines.append(r"[ \t]*" + words + r"[ \t]*\n")
    return re.compile("(?m)^" + "".join(lines))


def run(lab, node, command):
    """As it is typed on that host, in the folder with cluster.yaml and pki/."""
    host = lab.hosts[node]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TUNORCH_NODE": node,
                   "TUNORCH_RUNTIME_DIR": host.runtime, "TUNORCH_STATE_DIR": host.state, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(host.command("bash", "-c", command), cwd=lab.dir, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    output = done.stdout
    return done.returncode, output if not output or output.endswith("\n") else output + "\n"


def type_all(lab, node, commands):
    """(what is wrong, or nothing; all that was printed)"""
    printed = ""
    for command in commands:
        exit_code, output = run(lab, node, command.text)
        printed += output
        if exit_code not in command.exits:
            return f"{node}# {command.text}\nexits {exit_code}, not {command.exits}", printed
    return "", printed


def follow(lab, block, patience):
    """Types the block. The commands at its end that only look are typed again, as an operator does, for up
    to `patience` seconds, until they show what is promised. Returns what is wrong, or nothing."""
    looks = len(block.commands)
    while looks > 0 and LOOKS.match(block.commands[looks - 1].text):
        looks -= 1
    end = time.monotonic() + patience
    wrong, done = type_all(lab, block.node, block.commands[:looks])
    if wrong:
        return f"{wrong}\nprinted was:\n{done}"
    while True:
        wrong, seen = type_all(lab, block.node, block.commands[looks:])
        if not wrong and pattern(block.prints).search(done + seen):
            return ""
        if time.monotonic() > end or looks == len(block.commands):
            return f"{wrong or 'not printed is:'}\n{block.prints}\nprinted was:\n{done}{seen}"
        time.sleep(0.2)
