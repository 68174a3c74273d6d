"""The side of sd_notify(3) that systemd has: a socket, and what a service says on it."""

import os
import socket
import time

from waiting import LONG


class ServiceManager:
    """Listens for what one service says of itself."""

    def __init__(self, address):
        """`address` is a path, or a name after `@`."""
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(
            "\0" + self.address[1:] if self.address.startswith("@") else self.address)
        if not self.address.startswith("@"):
            os.chmod(self.address, 0o777)
        # Whatever came, as dictionaries, in order.
        self.heard = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def environment(self, watchdog=None, process=None, address=None):
        """What a service is started with; `watchdog` in seconds."""
        variables = {"NOTIFY_SOCKET": address or self.address}
        if watchdog is not None:
            variables["WATCHDOG_USEC"] = str(int(watchdog * 1_000_000))
        if process is not None:
            variables["WATCHDOG_PID"] = str(process)
        return variables

    def hear(self, timeout=LONG):
        """The next thing that is said."""
        self._socket.settimeout(timeout)
        try:
            message = self._socket.recv(4096).decode()
        except TimeoutError:
            raise AssertionError(f"nothing within {timeout:g} s, after {self.heard}") from None
        said = dict(line.split("=", 1) for line in message.splitlines())
        self.heard.append(said)
        return said

    def wait_for(self, variable, timeout=LONG):
        """Hears on until the variable is set to 1; gives that message."""
        end = time.monotonic() + timeout
        while True:
            said = self.hear(max(0.001, end - time.monotonic()))
            if said.get(variable) == "1":
                return said
