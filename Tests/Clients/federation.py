"""Servers that federate: a network with a name server, an authority that all trust, and a host on
which the test and its clients are."""

import contextlib
from pathlib import Path

from certificates import Authority
from name_server import NameServer
from networks import NAME_SERVER, Network
from people import Person

# Of each server's log, when a test fails.
LINES_OF_LOG = 150


class Federation:
    """Hosts are added while it runs; `close` ends all of it, whatever went wrong."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.servers = []
        self._ends = contextlib.ExitStack()
        self.network = Network(self.directory)
        self._ends.callback(self.network.close)
        with contextlib.ExitStack() as undo:
            undo.push(self._ends)
            self.authority = Authority(self.directory / "authority")
            self.name_server = NameServer(self.network.host("names", NAME_SERVER))
            self.name_server.start()
            self._ends.callback(self.name_server.stop)
            self.network.enter(self.network.host("clients"))
            undo.pop_all()

    def add(self, kind, domain, names=("romeo", "juliet"), **options):
        """A server of a class, with a host, records and a certificate, not yet started."""
        host = self.network.host(f"host{len(self.servers) + 1}")
        people = [Person(name, domain, f"password of {name}") for name in names]
        server = kind(self.directory, host, domain, people, self.authority, **options)
        self.servers.append(server)
        self._ends.callback(server.stop)
        self.name_server.domain(domain, host)
        return server

    def start(self):
        """Brings the records up and starts all servers, beside each other."""
        self.name_server.reload()
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_until_ready()
        return self

    def close(self):
        # Shown by pytest where a test has failed.
        for server in self.servers:
            if server.log is not None:
                lines = server.log.text.splitlines()
                (server.directory / "whole.log").write_text("\n".join(lines))
                print(f"--- the end of {server.directory}/whole.log")
                print("\n".join(lines[-LINES_OF_LOG:]))
        self._ends.close()
