"""Fixtures: servers that run, people with accounts on them, and clients that are closed again."""

import contextlib
import itertools

import pytest

from kinglet import BINARY, FAST_KEYS, NO_LOGIN_DELAY, Kinglet
from people import Person
from stock_client import StockClient

# Accounts that the shared server has; each test takes fresh ones.
POPULATION = 800


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"{BINARY}: there is no server to test; build it, or set KINGLET", 2)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server that most tests share: two domains, many accounts, everything logged."""
    kinglet = Kinglet(
        tmp_path_factory.mktemp("shared"), domains=("example.test", "münchen.test"),
        settings={**FAST_KEYS, **NO_LOGIN_DELAY, "log.level": "debug"})
    kinglet.initialize()
    people = kinglet.directory / "people"
    people.write_text("".join(
        f"person{number} password of {number}\n" for number in range(POPULATION)))
    kinglet.command("user", "import", people)
    kinglet.start()
    yield kinglet
    kinglet.stop()


@pytest.fixture(scope="session")
def _fresh_numbers():
    return itertools.count()


@pytest.fixture
def person(server, _fresh_numbers):
    """Makes people whom no other test knows."""

    def make():
        number = next(_fresh_numbers)
        assert number < POPULATION, "the shared server needs a larger population"
        return Person(f"person{number}", server.domain, f"password of {number}")

    return make


@pytest.fixture
def make_server(tmp_path_factory):
    """Makes servers of the test's own; they are stopped at its end."""
    made = []

    def make(domains=("example.test",), users=(), settings=None):
        kinglet = Kinglet(
            tmp_path_factory.mktemp("own"), domains=domains,
            settings={**FAST_KEYS, **(settings or {})})
        kinglet.initialize()
        for jid, password in dict(users).items():
            kinglet.add_user(jid, password)
        made.append(kinglet)
        return kinglet

    yield make
    with contextlib.ExitStack() as stops:
        for kinglet in made:
            stops.callback(kinglet.stop)


@pytest.fixture
async def connect(server):
    """Logs people in with slixmpp; what is left of their connections is closed at the end."""
    clients = []

    async def log_in(person, resource=None, on=None, online=True, **options):
        client = StockClient(on or server, person.jid, person.password, resource, **options)
        clients.append(client)
        await client.log_in()
        if online:
            await client.come_online()
        return client

    yield log_in
    for client in clients:
        await client.leave()
