"""Event loops that stand still (stuck_loops.c): the metrics endpoint has a thread of its own."""

import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import eventually

SOURCE = Path(__file__).with_name("stuck_loops.c")
LOOPS = 3


@pytest.fixture
def gate(tmp_path):
    """While this file exists, every event loop stands still."""
    return tmp_path / "stuck"


@pytest.fixture
def stuck_server(make_server, tmp_path, gate):
    library = tmp_path / "stuck_loops.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    server = make_server(users=USERS, settings={"listen.event_loops": LOOPS})
    server.start(environment={"LD_PRELOAD": str(library), "STUCK_WHILE": str(gate)})
    yield server
    # A server whose loops stand still does not stop.
    gate.unlink(missing_ok=True)


def quickly(server, path):
    """A page, which has to come within a second."""
    begin = time.monotonic()
    status, _, text = server.get(path)
    took = time.monotonic() - begin
    assert took < 1, f"{path} took {took:.2f} s"
    return status, text


def test_health_and_metrics_while_every_loop_stands_still(stuck_server, gate):
    """/metrics and /healthz are answered, and say which loops do not turn; logins wait, and
    everything goes on afterwards."""
    assert quickly(stuck_server, "/healthz") == (200, "alive\n")
    assert stuck_server.metric("kinglet_event_loops_stuck") == 0
    with RawClient.logged_in(stuck_server, ROMEO) as romeo, \
            RawClient.logged_in(stuck_server, JULIET, "balcony") as juliet:
        for client in (romeo, juliet):
            client.send("<presence/>")
            client.expect_answer()
        gate.touch()

        def stuck_loops():
            status, text = quickly(stuck_server, "/healthz")
            assert status == (200 if text == "alive\n" else 503), (status, text)
            lines = [
                re.fullmatch(rf"event loop (\d) of {LOOPS} has not turned for (\d+) s", line)
                for line in text.splitlines()]
            return text if len(lines) == LOOPS and all(lines) else None

        text = eventually(stuck_loops, "/healthz names every loop")
        numbers = re.findall(r"event loop (\d)", text)
        assert numbers == [str(number) for number in range(1, LOOPS + 1)]
        assert all(int(seconds) >= 5 for seconds in re.findall(r"for (\d+) s", text))

        status, page = quickly(stuck_server, "/metrics")
        assert status == 200 and f"\nkinglet_event_loops_stuck {LOOPS}\n" in page
        assert quickly(stuck_server, "/sd")[0] == 200
        status, reason = quickly(stuck_server, "/readyz")
        assert status == 503 and reason.startswith("event loop 1 of")
        romeo.send(f"<message to='{JULIET.jid}/balcony' type='chat'><body>in time</body></message>")
        with RawClient(stuck_server.ports["client_tls"]) as waiting:
            waiting.connection.settimeout(1)
            with pytest.raises(socket.timeout):
                waiting.begin_tls_trusting(stuck_server)

        gate.unlink()
        eventually(
            lambda: quickly(stuck_server, "/healthz") == (200, "alive\n"), "the loops turn again")
        stuck_server.becomes(0, "kinglet_event_loops_stuck")
        assert quickly(stuck_server, "/readyz")[0] == 200
        juliet.read_through("in time")
        with RawClient.logged_in(stuck_server, ROMEO, "again") as again:
            again.expect_answer()
