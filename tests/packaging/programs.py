"""What the tests of the package's texts need beside the shell: programs that may not be installed."""

import os
import shutil
import subprocess
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "../..")
BIN = os.path.abspath(os.environ.get("TUNORCH_BIN", os.path.join(ROOT, "build/bin")))
TUNORCH = os.path.join(BIN, "tunorch")
TOOLS = os.path.join(ROOT, "build/tools")  # where ./dev puts a program whose package starts a service


def program(name):
    """Its path; without it the test is skipped, but not in CI."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{TOOLS}")
    if found:
        return found
    reason = f"there is no {name}: ./dev test brings it"
    if os.environ.get("CI") == "true":
        raise RuntimeError(reason)
    raise unittest.SkipTest(reason)


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=120, **options)


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()
