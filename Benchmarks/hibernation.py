"""What a session costs whose client is in a tunnel (XEP-0198: hibernated, to be resumed)."""

import time

from client import Client
from processes import BenchError, Skipped, memory

# Warm code, caches and heaps before the count.
WARM_UP = 50


def sessions(server, tools, count):
    """Yields the anonymous memory that each of so many sessions adds when its connection breaks.

    The clients come one after the other, so that no memory that connections left free holds the
    sessions for nothing.
    """
    server.seed(max(count, WARM_UP), tools)
    with server.running():
        require_resumption(server, tools)
        for number in range(WARM_UP):
            with _online(server, tools, number)[0] as client:
                client.end()
        time.sleep(1)
        before = memory(server.pid).anonymous
        left = [_leave(server, tools, number) for number in range(count)]
        time.sleep(1)
        added = memory(server.pid).anonymous - before
        # All of them must still be there, or nothing was measured.
        for number in {0, count // 2, count - 1}:
            _come_back(server, tools, number, *left[number])
        yield "hibernated", {
            "sessions": count, "anonymous_kb_added": added, "kb_per_session": added / count}


def require_resumption(server, tools):
    with Client.bound(server.port, "u0", tools.password) as client:
        if client.enable_resumption() is None:
            raise Skipped("hibernated sessions: the server does not offer resumption")
        client.end()


def _online(server, tools, number):
    """A client that is available, with its stream's id and how many stanzas it got: all are
    acknowledged."""
    client = Client.bound(server.port, f"u{number}", tools.password)
    name = client.enable_resumption()
    client.send("<presence/>")
    return client, name, client.settle()


def _leave(server, tools, number):
    client, name, handled = _online(server, tools, number)
    with client:
        return name, handled


def _come_back(server, tools, number, name, handled):
    with Client.authenticated(server.port, f"u{number}", tools.password) as client:
        answer = client.resume(name, handled)
        if "<resumed" not in answer:
            raise BenchError(f"session {number} was not resumed: {answer}")
        client.end()
