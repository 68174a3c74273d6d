"""A slow cable between two network namespaces: frames arrive later, in their order.

Two TAP devices with a thread between them, for netem is not in every kernel.
"""

import collections
import fcntl
import os
import select
import struct
import threading
import time

# <linux/if_tun.h>
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LARGEST_FRAME = 65_536


class Cable:
    """Has an end in each of two namespaces; `delay` in seconds may be changed at any time."""

    def __init__(self, one, name, other, other_name, delay):
        self.delay = delay
        self._ends = [one.do(_tap, name), other.do(_tap, other_name)]
        self._wake, self._woken = os.pipe()[::-1]
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self):
        os.close(self._wake)
        self._thread.join()

    def _carry(self):
        # (when, frame) on their way from each end to the other.
        ways = [collections.deque(), collections.deque()]
        while True:
            due = min((way[0][0] for way in ways if way), default=None)
            timeout = None if due is None else max(0, due - time.monotonic())
            ready, _, _ = select.select([self._woken, *self._ends], [], [], timeout)
            if self._woken in ready:
                break
            for end, way in zip(self._ends, ways):
                if end in ready:
                    way.append((time.monotonic() + self.delay, os.read(end, LARGEST_FRAME)))
            now = time.monotonic()
            for way, end in zip(ways, reversed(self._ends)):
                while way and way[0][0] <= now:
                    _write(end, way.popleft()[1])
        for descriptor in (self._woken, *self._ends):
            os.close(descriptor)


def _tap(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


def _write(end, frame):
    """A device that is down loses what comes, as a cable would."""
    try:
        os.write(end, frame)
    except OSError:
        pass
