"""How many series there are does not depend on how many users there are."""

import contextlib
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Benchmarks"))

from accounts import multiply
from kinglet import FIXTURES, NO_LOGIN_DELAY
from people import Person
from raw_client import RawClient
from waiting import eventually

# The machine with most readings.
MACHINE = FIXTURES / "hardware/pi5"

USERS = 10_000
# Imported and logged in; the others are copies of them, for keys take long to stretch.
IMPORTED = 300


def names(samples):
    return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}


def series(server):
    """Of a page that has all that the machine tells."""
    families = text_string_to_metric_families((MACHINE / "expected.prom").read_text())
    machine = names(sample for family in families for sample in family.samples)

    def found():
        page = names(server.samples())
        return page if machine <= page else None

    return eventually(found, "every reading was read")


def test_ten_thousand_users_add_no_series(make_server):
    """Not by existing, not by logging in, not by writing to each other, not by being away."""
    server = make_server(settings={
        **NO_LOGIN_DELAY, "listen.plaintext": "loopback", "hardware.root": MACHINE}).start()
    with RawClient(server.ports["client"]):
        before = series(server)
    server.stop()
    people = server.directory / "people"
    people.write_text("".join(
        f"user{number} password of {number}\n" for number in range(IMPORTED)))
    server.command("user", "import", people)
    multiply(server.data / "kinglet.db", server.domain, "user0", USERS - IMPORTED)
    # And the administrator.
    assert len(server.json("user", "list")) == USERS + 1
    server.start()
    assert series(server) == before
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(IMPORTED):
            person = Person(f"user{number}", server.domain, f"password of {number}")
            client = stack.enter_context(RawClient(server.ports["client"]))
            client.open_stream()
            client.log_in(person)
            client.bind(f"device-{number}")
            client.send(
                f"<presence/><message to='user{(number * 7) % IMPORTED}@{server.domain}'"
                " type='chat'><body>hello</body></message>")
            clients.append(client)
        for client in clients:
            client.expect_answer()
        assert server.metric("kinglet_sessions") == IMPORTED
        assert series(server) == before
    server.becomes(0, "kinglet_sessions")
    assert series(server) == before
