"""What is measured of Kinglet alone: many accounts, and many connections that close at once."""

import time

from accounts import multiply
from measurements import MECHANISM, start_figures
from processes import memory
from servers import DOMAIN

STARTS = 5
# Long enough for the server to be done with the connections, and for us to notice if it is not.
PING_SECONDS = 8
PINGS_PER_SECOND = 100


def starts(few, many, tools, accounts):
    """Yields the figures of starts with one account and with many, in turns."""
    for server in (few, many):
        server.seed(1, tools)
    multiply(many.data / "kinglet.db", DOMAIN, "u0", accounts - 1)
    for _ in range(STARTS):
        for server, measurement in ((few, "start few"), (many, "start many")):
            with server.running():
                yield measurement, start_figures(server)


def stalls(server, tools, plan):
    """Yields how long another client's pings take while all connections close.

    Killed: the clients' process dies, and the kernel closes its sockets. Orderly: each client
    sends </stream:stream>.
    """
    with server.running():
        for _ in range(plan.stalls):
            for way in ("killed", "orderly"):
                yield f"stall {way}", stall(server, tools, plan.idle, way)


def stall(server, tools, connections, way):
    common = {"tls": "starttls", "sasl": MECHANISM, "settle": 0}
    # The orderly end comes of itself, after the first second of pings.
    hold = 1.5 if way == "orderly" else 600
    with (
        tools.begin(server, "idle", users=connections, hold=hold, timeout=900, **common) as crowd,
        tools.begin(
            server, "ping", first=connections, users=1, rate=PINGS_PER_SECOND,
            duration=PING_SECONDS, **common) as pinger,
    ):
        if way == "killed":
            time.sleep(1)
            crowd.kill()
        figures = pinger.figures()
        if way == "orderly":
            crowd.figures()
    figures["connections"] = crowd.online
    figures["resident_mb_afterwards"] = memory(server.pid).resident / 1024
    return figures
