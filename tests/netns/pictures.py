"""Pictures for the documents, of real hosts at work: `tunorch top`, `tunorch status`, and the page as Chromium
shows it. ./dev pictures."""

import html
import os
import re
import time

import lab
import test_page
import test_top
from lab import cluster

PICTURES = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../docs/pictures"))
COLOURS = dict(zip(range(30, 38), ("#484f58", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea",
                                   "#e6edf3")))  # of SGR 30 to 37; 90 to 97 are the bright ones
COLOURS |= dict(zip(range(90, 98), ("#8b949e", "#ffa198", "#7ee787", "#f2cc60", "#a5d6ff", "#e2c5ff", "#b3f0ff",
                                    "#ffffff")))
TEXT, GROUND = "#e6edf3", "#0d1117"
CELL, LINE = 8.4, 18  # of 14 px type


def runs(line):
    """(text, colour, ground, bold) of a line with SGR sequences (ECMA-48, 8.3.117), as tmux prints them."""
    colour, ground, bold, reverse = TEXT, "", False, False
    for part in re.split(r"(\033\[[0-9;]*m)", line):
        if not part.startswith("\033["):
            if part:
                yield part, *((GROUND, colour) if reverse else (colour, ground)), bold
            continue
        for number in map(int, part[2:-1].split(";") if part[2:-1] else ["0"]):
            if number == 0:
                colour, ground, bold, reverse = TEXT, "", False, False
            elif number == 1:
                bold = True
            elif number == 2:
                colour = COLOURS[90]
            elif number == 7:
                reverse = True
            elif number == 27:
                reverse = False
            elif number == 39:
                colour = TEXT
            elif number == 49:
                ground = ""
            elif number in COLOURS:
                colour = COLOURS[number]
            elif number - 10 in COLOURS:
                ground = COLOURS[number - 10]


def svg(text, label):
    """A terminal's screen."""
    lines = text.rstrip("\n").split("\n")
    columns = max(len(re.sub(r"\033\[[0-9;]*m", "", line)) for line in lines)
    width, height = columns * CELL + 24, len(lines) * LINE + 24
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" role="img" '
           f'aria-label="{html.escape(label)}" font-family="ui-monospace,DejaVu Sans Mono,monospace" '
           f'font-size="14"><rect width="100%" height="100%" rx="6" fill="{GROUND}"/>']
    for number, line in enumerate(lines):
        at, y = 0, 12 + number * LINE
        for part, colour, ground, bold in runs(line):
            x, long = 12 + at * CELL, len(part) * CELL
            at += len(part)
            if ground:
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{long:.1f}" height="{LINE}" fill="{ground}"/>')
            if part.strip():
                weight = ' font-weight="bold"' if bold else ""
                out.append(f'<text x="{x:.1f}" y="{y + 13}" textLength="{long:.1f}" xml:space="preserve" '
                           f'fill="{colour}"{weight}>{html.escape(part)}</text>')
    return "\n".join(out) + "\n</svg>\n"


def write(name, text, label):
    os.makedirs(PICTURES, exist_ok=True)
    with open(os.path.join(PICTURES, name), "w") as file:
        file.write(svg(text, label))


class Terminal(test_top.TopTest):
    spec = cluster(tunnels=[{"weight": 3}, {}, {}, {}], restart={"backoff": "2s"})

    def test_pictures(self):
        self.lab.up()
        self.start_iperf(100, "-P", "60", "-b", "2M", "-l", "8K", "--bidir")
        window = self.top(columns=118, lines=24)
        time.sleep(45)
        self.edge.kill_worker("backbone-2")
        time.sleep(1.5)
        write("top.svg", window.screen("-e"), "tunorch top with four tunnels, of which one was just killed")
        window.type("q")
        window = test_top.Tmux(self.edge, [lab.TUNORCH, "status", *self.edge.options()], columns=118, lines=40)
        self.addCleanup(window.close)
        window.wait("ended=0")
        shown = window.screen("-e").partition("ended=0")[0]
        write("status.svg", shown, "tunorch status, two seconds after that")


class Page(test_page.PageTest):
    def test_pictures(self):
        self.start_iperf(300, "-P", "60", "-b", "2M", "-l", "8K", "--bidir")
        self.browse("pictures", limit=400, pictures=PICTURES, seconds=200)
