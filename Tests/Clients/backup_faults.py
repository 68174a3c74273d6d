"""What the tests of the backup's faults share: an installation with a target, disks that lose their
power, and looking at what is left."""

import contextlib
import fcntl
import os
import re
import sqlite3
import struct
import subprocess
import threading
import time
from pathlib import Path

from kinglet import BINARY, FAST_KEYS, Kinglet
from people import JULIET, ROMEO
from raw_client import RawClient
from waiting import LONG, eventually

# Nothing is isolated here, for an isolated server makes no backups.
SETTINGS = {
    **FAST_KEYS, "listen.addresses": "127.0.0.1", "listen.client_port": 0,
    "listen.client_tls_port": 0, "listen.server_port": 0, "listen.web_port": 0, "metrics.port": 0,
    "limits.offline_messages": 1_000_000,
}
SNAPSHOT = re.compile(r"\d{8}T\d{6}Z-\d{6}")
# _IOR('X', 125, __u32), and "without the log": nothing more reaches the device, as in a power cut.
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


class Disk:
    """A file system in a file, as the disk has it: what is not synced is not there."""

    def __init__(self, directory, name, megabytes=48):
        self.image = Path(directory) / f"{name}.img"
        self.place = Path(directory) / name
        self.place.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", self.image], check=True)
        self._is_mounted = False
        self._is_cut = False

    def mount(self):
        if self._is_cut:
            # Another process may have come to see the old mount, in a namespace of its own; what is
            # mounted again while that lasts would be the same file system, without power.
            copy = self.image.with_suffix(f".{time.monotonic_ns()}")
            subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
            copy.replace(self.image)
            self._is_cut = False
        # Nothing is written because of its age, so that only what was synced is there.
        done = subprocess.run(
            ["mount", "-o", "loop,commit=900", self.image, self.place], capture_output=True,
            text=True)
        assert done.returncode == 0, done.stderr
        self._is_mounted = True

    def cut(self):
        """The power fails."""
        self._is_cut = True
        folder = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def sync(self):
        subprocess.run(["sync", "-f", self.place], check=True)

    def unmount(self):
        """Once nobody uses it any more."""
        if self._is_mounted:
            eventually(
                lambda: subprocess.run(
                    ["umount", self.place], capture_output=True).returncode == 0,
                f"{self.place} is free", pause=0.05)
            self._is_mounted = False


class Writer:
    """Romeo writes to somebody who is away, until he is stopped or cut off."""

    def __init__(self, server):
        self.answered = 0
        self._client = RawClient.logged_in(server, ROMEO, "orchard")
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self):
        number = 0
        try:
            while not self._is_stopping.is_set():
                number += 1
                self._client.send(
                    f"<message to='{JULIET.jid}' type='chat'><body>{number} {'x' * 500}</body>"
                    f"</message>")
                if number % 10 == 0:
                    self._client.expect_answer()
                    self.answered = number
        except (OSError, AssertionError):
            # The power has failed.
            pass

    @property
    def is_alive(self):
        return self._thread.is_alive()

    def stop(self):
        self._is_stopping.set()
        self._thread.join(LONG)
        self._client.connection.close()


def configure(kinglet, target, *lines, encrypt=False):
    """A job named nightly to a target named disk; `lines` are further ones of the job."""
    text = kinglet.configuration.read_text().split("\nbackup:\n")[0]
    kinglet.configuration.write_text(
        f"{text}\nbackup:\n  targets:\n    - name: disk\n      location: {target}\n"
        "      allow_same_medium: yes\n" + ("      encrypt: yes\n" if encrypt else "")
        + "  jobs:\n    - name: nightly\n      targets: [disk]\n"
        + "".join(f"      {line}\n" for line in lines))


def new_installation(directory, data=None):
    """With two accounts and some uploads."""
    kinglet = Kinglet(directory, settings=SETTINGS)
    if data is not None:
        kinglet.data = data
    kinglet.initialize()
    kinglet.command(
        "user", "import", "-",
        stdin="".join(f"{person.name} {person.password}\n" for person in (ROMEO, JULIET)))
    add_uploads(kinglet, 12)
    return kinglet


def add_uploads(kinglet, count):
    folder = kinglet.data / "uploads"
    folder.mkdir(exist_ok=True)
    for _ in range(count):
        with open(folder / os.urandom(8).hex(), "wb") as file:
            file.write(os.urandom(20_000))
            os.fsync(file.fileno())


def begin(kinglet, *arguments, **options):
    """A command of `kinglet backup` that goes on while the test does something."""
    return subprocess.Popen(
        [str(part) for part in (BINARY, "backup", *arguments, *kinglet._common)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options)


def snapshots(target):
    """Names of what looks like snapshots."""
    return sorted(path.name for path in Path(target).iterdir() if SNAPSHOT.fullmatch(path.name))


def others(target):
    """Other names there but for those that belong there."""
    return sorted(
        path.name for path in Path(target).iterdir()
        if not SNAPSHOT.fullmatch(path.name)
        and path.name not in ("kinglet-backup.json", "latest", "pins", "lost+found"))


def assert_all_good(kinglet, target, at_least=()):
    """Every snapshot verifies wholly, and those that were there still are."""
    names = snapshots(target)
    assert set(at_least) <= set(names), (at_least, names)
    if not names:
        return names
    for name in names:
        assert (Path(target) / name / "manifest").is_file(), f"{name} has no manifest"
    outcomes = kinglet.json("backup", "verify", "--all")
    assert sorted(outcome["snapshot"] for outcome in outcomes) == names
    assert all(not outcome["faults"] for outcome in outcomes), outcomes
    return names


def database_facts(file):
    """What must be the same in a copy."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        messages, = database.execute("SELECT count(*) FROM messages").fetchone()
        schema, = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return messages, schema


def assert_restores_what_is(kinglet, place):
    """The newest snapshot, restored, is what the stopped installation has now."""
    kinglet.command("backup", "restore", "--to", place, "--yes")
    assert database_facts(place / "kinglet.db") == database_facts(kinglet.data / "kinglet.db")
    uploads = {path.name: path.read_bytes() for path in (place / "uploads").iterdir()}
    assert uploads == {
        path.name: path.read_bytes() for path in (kinglet.data / "uploads").iterdir()}
