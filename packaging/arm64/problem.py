"""What stops a build: one sentence that says what is wrong and what to do."""

import errno
import shutil
import time


class Problem(Exception):
    """Ends the program with its sentence and no traceback."""


# With less a compiler fails, whatever it says.
ENOUGH = 20_000_000


class DiskFull(Problem):
    """There is no room left."""

    def __init__(self, directory):
        super().__init__(
            f"The disk of {directory} is full. What was downloaded stays: make room (for the cache, "
            "XDG_CACHE_HOME can be on a larger disk), and type the same again.")


def check_room(*directories):
    """Raises if it is no wonder that something failed there."""
    for directory in directories:
        if shutil.disk_usage(directory).free < ENOUGH:
            raise DiskFull(directory)


def of_the_disk(error, directory):
    """A full disk as its own problem, everything else as it is."""
    return DiskFull(directory) if error.errno in (errno.ENOSPC, errno.EDQUOT) else error


class Step:
    """A step of long work: what is done, and how long it took."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        self._began = time.monotonic()
        print(f"{self.text} …", flush=True)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            print(f"  {time.monotonic() - self._began:.0f} s", flush=True)
