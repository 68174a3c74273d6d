"""What the disk does to the server: faults by a preloaded library, a small file system, and writes
that a power cut takes back."""

import contextlib
import os
import shutil
import sqlite3
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
# As in faults.c: kind, offset, size of the file, bytes before and after.
NOTE = struct.Struct("=5Q")
WRITE, TRUNCATE = 1, 2


def faulty(directory, **variables):
    """The environment of a server whose disk has these faults; faults.c says which there are."""
    library = Path(directory) / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), **{name: str(path) for name, path in variables.items()}}


class Journals:
    """Notes of the writes that were never synced, one file of them per file of the database."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir()
        # The server has a user of its own.
        self.directory.chmod(0o777)

    def forget(self, data, random, share):
        """Takes back what the dead server never synced, and does some of it nevertheless, for a
        disk writes in the order that it likes: each write is kept whole with a probability of
        `share`.

        Returns how many writes were taken back.
        """
        count = 0
        for journal in self.directory.glob("unsynced-*"):
            notes = list(read_notes(journal.read_bytes()))
            file = data / journal.name.removeprefix("unsynced-")
            if notes:
                kept = [note for note in notes if random.random() < share]
                count += len(notes) - len(kept)
                with open(file, "r+b", buffering=0) as target:
                    for note in reversed(notes):
                        note.undo(target)
                    for note in kept:
                        note.do(target)
            journal.unlink()
        for memory in data.glob("kinglet.db*-shm"):
            memory.unlink()
        return count


def read_notes(journal):
    """The notes of a journal; half a one at its end is of something that never happened."""
    position = 0
    while len(journal) - position >= NOTE.size:
        kind, offset, size, before, after = NOTE.unpack_from(journal, position)
        start = position + NOTE.size
        position = start + before + after
        if position <= len(journal):
            yield Note(kind, offset, size, journal[start:start + before],
                       journal[start + before:position])


class Note:
    """A write or a truncation, there and back."""

    def __init__(self, kind, offset, size, before, after):
        self.kind, self.offset, self.size = kind, offset, size
        self.before, self.after = before, after

    def do(self, file):
        if self.kind == WRITE:
            os.pwrite(file.fileno(), self.after, self.offset)
        else:
            file.truncate(self.offset)

    def undo(self, file):
        os.pwrite(file.fileno(), self.before, self.offset)
        file.truncate(self.size)


class FailingWrites:
    """EIO for one in some writes and syncs, while it is switched on."""

    def __init__(self, gate):
        self.gate = gate

    def begin(self, random):
        # Complete when it is seen, for the server looks at it all the time.
        draft = self.gate.with_suffix(".draft")
        draft.write_text(str(random.choice([1, 3, 20])))
        draft.rename(self.gate)

    def end(self):
        self.gate.unlink(missing_ok=True)


class FullDisk:
    """A file that takes all the room there is, while it is switched on."""

    def __init__(self, data):
        self.filler = data / "filler"

    def begin(self, random):
        with open(self.filler, "wb", buffering=0) as file:
            for step in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)

    def end(self):
        self.filler.unlink(missing_ok=True)


def integrity(data, directory):
    """What SQLite says of the files of a dead server, `ok` if all is well. On a copy, for looking
    at the original would already be a repair."""
    directory.mkdir()
    for file in ("kinglet.db", "kinglet.db-wal"):
        if (data / file).exists():
            shutil.copy(data / file, directory)

    def check():
        try:
            with contextlib.closing(sqlite3.connect(directory / "kinglet.db")) as connection:
                rows = connection.execute("PRAGMA integrity_check").fetchall()
            return "; ".join(text for text, in rows)
        except sqlite3.DatabaseError as error:
            return str(error)
        finally:
            shutil.rmtree(directory)

    return check
