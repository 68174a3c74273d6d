"""Servers without root's powers: root is refused nothing, and so shows nothing."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kinglet import FAST_KEYS, NO_LOGIN_DELAY, Kinglet

# nobody's; root gives it away, others are unprivileged already.
USER = 65534
IS_ROOT = os.geteuid() == 0


class MountRefused(Exception):
    """Nothing can be mounted here, though the user is root: in a container, for example."""


class Place:
    """A directory that the server's user can reach, with a server whose data may have a file
    system of its own."""

    def __init__(self):
        # pytest's own directories are closed to other users.
        self.directory = Path(tempfile.mkdtemp(prefix="kinglet-test-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.mounted = False
        self.server = Kinglet(
            self.directory,
            settings={
                **FAST_KEYS, **NO_LOGIN_DELAY, "limits.offline_messages": "1000000",
                "limits.roster_items": "100000",
                "storage.durability": "full"})
        self.server.data.mkdir()

    def mount(self, megabytes):
        """Gives the data a file system of that size."""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.server.data],
            capture_output=True, text=True)
        if done.returncode != 0:
            raise MountRefused(done.stderr.strip())
        self.mounted = True

    def initialize(self, *people):
        self._give_away()
        self.server.initialize()
        self.server.command(
            "user", "import", "-",
            stdin="".join(f"{person.name} {person.password}\n" for person in people))
        self._give_away()

    def _give_away(self):
        if IS_ROOT:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", self.directory], check=True)

    def start(self, **options):
        program = (
            ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] if IS_ROOT else [])
        return self.server.start(program=program, **options)

    def remove(self):
        self._end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def keep(self):
        """For those who want to look at it; what was mounted becomes a common directory."""
        if self.mounted:
            kept = self.directory / "kept"
            shutil.copytree(self.server.data, kept, ignore=shutil.ignore_patterns("*.sock"))
            self._end()
            self.server.data.rmdir()
            kept.rename(self.server.data)
        else:
            self._end()

    def _end(self):
        if self.server.process:
            self.server.crash()
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.server.data], check=True)
            self.mounted = False
