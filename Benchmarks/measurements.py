"""What is measured of a server, and how."""

import time

from processes import memory

# Enough CPU time in each window that a clock tick (10 ms) is a few per cent of it.
LOGINS = 2000
PAIRS = 50
RATE = 500
RATE_SECONDS = 20
LINKS = {"plain": "none", "TLS": "starttls"}
MECHANISM = "SCRAM-SHA-256"


def of_server(server, tools, plan):
    """Yields (measurement, figures) of one visit to a server.

    Idle connections are counted on a fresh process each, since memory that earlier load left free
    would hold them for nothing.
    """
    if not server.is_tuned:
        for link, tls in LINKS.items():
            with server.running():
                yield "start", start_figures(server)
                yield f"idle {link}", tools.load(
                    server, "idle", users=plan.idle, tls=tls, sasl=MECHANISM, settle=2,
                    hold=plan.hold, timeout=900)
    with server.running():
        for link, tls in LINKS.items():
            # Warm code, caches and heaps: the first logins of a process are not typical.
            tools.load(server, "login", users=200, tls=tls, sasl=MECHANISM, settle=0)
            if not server.is_tuned:
                yield f"login {link}", tools.load(
                    server, "login", users=LOGINS, tls=tls, sasl=MECHANISM, settle=1)
            yield f"chat {link}", tools.load(
                server, "chat", pairs=PAIRS, tls=tls, sasl=MECHANISM, settle=1, warmup=1,
                duration=plan.duration)
            yield f"rate {link}", tools.load(
                server, "chat", pairs=PAIRS, tls=tls, sasl=MECHANISM, settle=1, warmup=1,
                duration=RATE_SECONDS, rate=RATE)


def start_figures(server):
    """How long the start took, and what the server holds a second later."""
    time.sleep(1)
    held = memory(server.pid)
    return {
        "answer_ms": 1000 * server.start_seconds, "resident_mb": held.resident / 1024,
        "anonymous_mb": held.anonymous / 1024}


def of_floor(tools, plan):
    """The same for the C program that only forwards."""
    yield "chat plain", tools.forward(pairs=PAIRS, duration=plan.duration)
    yield "rate plain", tools.forward(pairs=PAIRS, duration=RATE_SECONDS, rate=RATE)
