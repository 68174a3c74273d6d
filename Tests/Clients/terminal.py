"""A program on a pseudo-terminal: what it shows is read, and keys are pressed."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from waiting import LONG

CONTROL = re.compile(rb"\x1b(?:\[[0-9;?]*[A-Za-z]|\([A-Z0-9])")


class Terminal:
    """Starts a program that thinks a person sits before it."""

    def __init__(self, *command, environment=None, lines=40, columns=150):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen = ours
        self._shown = b""
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=theirs, stdout=theirs, stderr=theirs,
            env=environment, start_new_session=True)
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    @property
    def text(self):
        """What was shown so far, without colours and cursor movements."""
        return CONTROL.sub(b" ", self._shown).decode("utf-8", "replace")

    def wait_for(self, text, timeout=LONG):
        """Reads until the text is shown."""
        end = time.monotonic() + timeout
        while text not in self.text:
            ready, _, _ = select.select([self._screen], [], [], max(0, end - time.monotonic()))
            assert ready, f"not within {timeout:g} s: {text!r} on the screen:\n{self.text}"
            try:
                self._shown += os.read(self._screen, 65_536)
            except OSError:
                raise AssertionError(f"ended without {text!r}:\n{self.text}") from None

    def type(self, text):
        os.write(self._screen, text.encode())
