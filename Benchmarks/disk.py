"""The floor of every message that must outlive a crash: one write to the disk."""

import os
import time
from statistics import median

from processes import BenchError, run

PAGE = 4096
# Written over and over, as a write-ahead log is.
PAGES = 1024
SECONDS = 2


def require_disk(directory):
    """What is synced in memory proves nothing."""
    kind = run(["stat", "--file-system", "--format=%T", directory]).strip()
    if kind in ("tmpfs", "ramfs"):
        raise BenchError(f"{directory} is in memory ({kind}); set TMPDIR to a directory on a disk")


def of_disk(directory):
    """Yields what one sync takes on the file system that the servers write to."""
    took = syncs(directory / "sync", SECONDS)
    yield "disk sync", {"sync_ms": median(took), "sync_max_ms": max(took), "syncs": len(took)}


def syncs(path, seconds):
    """Milliseconds of each write of 4 KiB with its fdatasync, for so long."""
    page = os.urandom(PAGE)
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, page * PAGES, 0)
        os.fsync(file)
        took, end = [], time.monotonic() + seconds
        while not took or time.monotonic() < end:
            begun = time.perf_counter()
            os.pwrite(file, page, len(took) % PAGES * PAGE)
            os.fdatasync(file)
            took.append(1000 * (time.perf_counter() - begun))
        return took
    finally:
        os.close(file)
        os.unlink(path)
