"""A short run of the backup soak; `make backup-soak` is the long one."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[1] / "Crash/backup_soak.py"


def test_what_was_acknowledged_before_a_snapshot_is_in_it():
    """Whatever is killed, filled, emptied or damaged meanwhile."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--runs", "8", "--seed", "6"], capture_output=True, text=True,
        timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
