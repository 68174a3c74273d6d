"""What stops a build: one sentence that says what is wrong and what to do."""

import errno
import time


class Problem(Exception):
    """Ends the program with its sentence and no traceback."""


class DiskFull(Problem):
    """There is no room left where the cache is."""

    def __init__(self, directory):
        super().__init__(
            f"The disk of {directory} is full. What was downloaded stays: make room or set "
            "XDG_CACHE_HOME to a larger disk, and type the same again.")


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
