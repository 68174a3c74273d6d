"""What a scrape costs with everything on: the processor time of the server, and the page's size."""

import contextlib
import http.client
import os
import time
from pathlib import Path

from measurements import MECHANISM
from processes import BenchError, free_port

# The machine with most readings.
MACHINE = Path(__file__).resolve().parents[1] / "Tests/Fixtures/hardware/pi5"
# Enough for a clock tick (10 ms) to be a hundredth of the time that is gated.
SCRAPES = 1000
FORMATS = {
    "text": "text/plain;version=0.0.4",
    "OpenMetrics": "application/openmetrics-text;version=1.0.0",
}
# Until every reading was read once.
SETTLE = 5


def scrapes(server, tools, connections):
    """Yields the figures of both formats, with nobody connected and with so many sessions.

    The time is all that the server takes, its readings and idle connections included.
    """
    server.seed(connections, tools)
    server.settings.update({"hardware.root": MACHINE, "metrics.port": free_port()})
    with server.running():
        time.sleep(SETTLE)
        yield from of_formats(server, "nobody")
        with tools.begin(
                server, "idle", users=connections, tls="none", sasl=MECHANISM, settle=2, hold=600,
                timeout=900) as crowd:
            if crowd.online < connections:
                raise BenchError(f"{crowd.online} of {connections} sessions are online")
            yield from of_formats(server, "sessions")


def of_formats(server, who):
    for name, accept in FORMATS.items():
        yield f"scrape {who} {name}", of_format(server, accept)


def of_format(server, accept):
    """Scrapes on one connection, one after the other."""
    page = http.client.HTTPConnection("127.0.0.1", server.settings["metrics.port"], timeout=30)
    with contextlib.closing(page):
        sizes = [get(page, accept) for _ in range(20)]
        begun, before = time.monotonic(), cpu_seconds(server.pid)
        sizes += [get(page, accept) for _ in range(SCRAPES)]
        took, used = time.monotonic() - begun, cpu_seconds(server.pid) - before
    return {"cpu_ms_per_scrape": 1000 * used / SCRAPES, "ms_per_scrape": 1000 * took / SCRAPES,
            "page_kb": max(sizes) / 1000, "scrapes": SCRAPES}


def get(page, accept):
    """The size of the page, its headers left out."""
    page.request("GET", "/metrics", headers={"Accept": accept})
    answer = page.getresponse()
    size = len(answer.read())
    if answer.status != 200:
        raise BenchError(f"a scrape was answered with {answer.status}")
    return size


def cpu_seconds(pid):
    """User and system time of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
