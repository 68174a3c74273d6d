"""A short run of the crash program in each of its modes; `make crash` is the long one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "Crash/crash.py"


def crash(mode, runs, *options):
    return subprocess.run(
        [sys.executable, PROGRAM, "--mode", mode, "--runs", str(runs), *options],
        capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("mode", ["kill", "restart", "fail", "forget"])
def test_what_was_acknowledged_is_found_exactly_once(mode):
    """XEP-0198 section 4 and design: what an <a/> covers outlives the server, whoever ends it and
    whatever the disk does."""
    done = crash(mode, 5)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_server_that_does_not_sync_is_found_out():
    """The program fails when it has to: `relaxed` acknowledges what a power cut takes back."""
    done = crash("forget", 20, "--set", "storage.durability=relaxed")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "VIOLATION" in done.stdout
    shutil.rmtree(re.search("The data is kept in (.*)", done.stdout)[1])
