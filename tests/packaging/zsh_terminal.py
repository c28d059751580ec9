"""A zsh at a terminal of its own, to press TAB in: its completion works nowhere else."""

import os
import pty
import re
import select
import signal
import time

PATIENCE = 10  # seconds for each answer


class Zsh:
    def __init__(self, program, folder):
        """`folder` has the completion functions, and is its home."""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="dumb", HOME=folder, LC_ALL="C.UTF-8", COLUMNS="200")
            os.execv(program, [program, "-f", "-i"])
        self.send(f"PS1='> '; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; "
                  "tunorch() { : }; echo REA''DY\n")
        self.read_until("READY\n")

    def send(self, text):
        os.write(self.fd, text.encode())

    def read_until(self, words):
        """What it wrote up to there, or within the time: without bells and control sequences."""
        out = ""
        end = time.monotonic() + PATIENCE
        while words not in out and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                written = os.read(self.fd, 4096).decode(errors="replace")
                out += re.sub(r"\x07|\r|\x1b\[[0-9;?]*\w", "", written)
        return out

    def press_tab(self, begun, whole):
        """The line after TAB, which may have become `whole`; it is cleared again."""
        self.send(begun + "\t")
        line = self.read_until(whole)
        self.send("\x15echo DO''NE\n")
        self.read_until("DONE\n")
        return line

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)
        os.waitpid(self.pid, 0)
