"""A backup job that is planned and has run, to a folder on another file system."""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

# No run of its own comes in a test's time.
JOB = {"name": "nightly", "schedule": "yearly"}


@contextlib.contextmanager
def other_medium():
    """A folder that is not on the disk of the tests, on every Linux and without root."""
    folder = Path(tempfile.mkdtemp(prefix="kinglet-backup-", dir="/dev/shm"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def plan(kinglet, target, *jobs):
    """Writes targets and jobs into the configuration, which has none yet; JSON is YAML."""
    backup = {"targets": [{"name": "disk", "location": str(target)}], "jobs": jobs or [JOB]}
    with open(kinglet.configuration, "a", encoding="utf-8") as file:
        file.write(f"\nbackup: {json.dumps(backup)}\n")


def use(kinglet):
    """A run, all of it read back, and the proof that it restores."""
    kinglet.command("backup", "run")
    kinglet.command("backup", "verify")
    kinglet.command("backup", "verify", "--restore")
