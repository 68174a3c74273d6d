"""Fixtures: servers that run, people with accounts on them, and clients that are closed again."""

import contextlib
import itertools

import pytest

from certificates import Authority
from federation import Federation
from kinglet import BINARY, FAST_KEYS, NO_LOGIN_DELAY, Kinglet
from name_server import NameServer
from networks import NetworkRefused
from people import Person
from push_clients import PlainClient
from server_peer import peer_world
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


@pytest.fixture(scope="session")
def push_authority(tmp_path_factory):
    """Vouches for all fakes of push services."""
    return Authority(tmp_path_factory.mktemp("push"))


@pytest.fixture
def start_fake(push_authority):
    """Starts fakes of push services, each with a client of HTTP/1.1 for it; both end with the
    test."""
    with contextlib.ExitStack() as stops:

        def start(kind, **options):
            fake = stops.enter_context(kind(push_authority, **options))
            return fake, stops.enter_context(
                contextlib.closing(PlainClient(fake, push_authority)))

        yield start


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


@pytest.fixture
def federation(tmp_path_factory):
    """A network of namespaces in which servers can be started; the test is on one of its hosts."""
    if not NameServer.is_installed():
        pytest.skip("there is no dnsmasq")
    try:
        made = Federation(tmp_path_factory.mktemp("federation"))
    except NetworkRefused as refusal:
        pytest.skip(str(refusal))
    yield made
    made.close()


@pytest.fixture(scope="session")
def _peers(tmp_path_factory):
    with peer_world(tmp_path_factory.mktemp("peers")) as world:
        yield world


@pytest.fixture
def peers(_peers):
    """A Kinglet that talks to all domains whose certificates one authority vouches for, and such
    domains, which are played by the test."""
    yield _peers
    _peers.end_test()


@pytest.fixture
def make_peers(tmp_path_factory):
    """Makes the same with settings of the test's own."""
    with contextlib.ExitStack() as worlds:
        yield lambda **settings: worlds.enter_context(
            peer_world(tmp_path_factory.mktemp("peers"), settings))


@pytest.fixture
def romeo(peers):
    """Romeo, online on the server of `peers`."""
    with peers.romeo() as client:
        yield client
