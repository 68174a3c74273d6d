"""The way to another server: which records and addresses count, and what is said when it fails.

The other servers only take connections, so that nothing here depends on what streams say."""

import contextlib
import queue
import random
import re
import socket
import ssl
import threading
from types import SimpleNamespace

import pytest

from certificates import Authority
from monitors import free_port
from name_server import NameServer
from people import ROMEO, USERS
from raw_client import RawClient
from waiting import LONG, eventually

pytestmark = pytest.mark.skipif(
    not NameServer.is_installed(), reason="dnsmasq is not installed")


class Place:
    """Takes connections, tells the test of each, and closes them."""

    def __init__(self, seen, name, address="127.0.0.1", port=0, certificate=None):
        self.name = name
        self._seen = seen
        self._server = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.port = self._server.getsockname()[1]
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
            self._context.set_alpn_protocols(["xmpp-server", "xmpp-client"])
            self._context.sni_callback = self._note_name
        threading.Thread(target=self._serve, daemon=True).start()

    def _note_name(self, connection, name, _):
        self._server_name = name

    def _serve(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(LONG)
                if self._context is None:
                    self._seen.put((self.name, None, None))
                    continue
                self._server_name = None
                with self._context.wrap_socket(connection, server_side=True) as secure:
                    self._seen.put(
                        (self.name, self._server_name, secure.selected_alpn_protocol()))

    def close(self):
        # Wakes the thread.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class Silence:
    """A port that answers nothing at all: its queue is full, so the kernel drops what comes."""

    def __init__(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = socket.socket(family)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind((address, port))
        self._server.listen(0)
        self.port = self._server.getsockname()[1]
        self._queued = []
        while True:
            waiting = socket.socket(family)
            self._queued.append(waiting)
            waiting.settimeout(0.3)
            try:
                waiting.connect((address, port))
            except TimeoutError:
                break

    def close(self):
        for waiting in [*self._queued, self._server]:
            waiting.close()


class World:
    """A name server, and places that servers may be at."""

    def __init__(self, directory, ends):
        self._ends = ends
        self.seen = queue.Queue()
        host = SimpleNamespace(
            name="names", address="127.0.0.1", address6="::1", program=[],
            network=SimpleNamespace(directory=directory))
        self.names = NameServer(host, free_port())
        ends.callback(self.names.stop)

    def place(self, name, *arguments, **options):
        place = Place(self.seen, name, *arguments, **options)
        self._ends.callback(place.close)
        return place

    def silence(self, *arguments):
        silence = Silence(*arguments)
        self._ends.callback(silence.close)
        return silence

    def next_connection(self):
        """Where the next connection came, with the name and protocol that TLS was asked for."""
        try:
            return self.seen.get(timeout=LONG)
        except queue.Empty:
            raise AssertionError("nobody connects") from None


@pytest.fixture
def world(tmp_path):
    with contextlib.ExitStack() as ends:
        yield World(tmp_path, ends)


@pytest.fixture
def talk(make_server, world):
    """Starts Kinglet, and has Romeo ask something of another domain."""
    clients = []

    def begin(allows_private=True, **settings):
        world.names.start()
        server = make_server(users=USERS, settings={
            "listen.addresses": "127.0.0.1", "listen.client_port": 0,
            "listen.client_tls_port": 0, "listen.server_port": 0, "listen.web_port": 0, "metrics.port": 0,
            "hardware.ups": '""', "federation.policy": "open",
            "federation.nameservers": f"127.0.0.1:{world.names.port}",
            "federation.allow_private_addresses": str(allows_private).lower(), **settings})
        server.start(isolated=False)
        client = RawClient.logged_in(server, ROMEO)
        clients.append(client)

        def ask(domain):
            client.send(
                f"<iq type='get' id='q1' to='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>")
            return client

        ask.server = server
        return ask

    yield begin
    for client in clients:
        client.connection.close()


def refusal(client):
    """The condition and the text of the error that comes back."""
    answer = client.read_through("</iq>")
    condition = re.search(r"<error[^>]*><([a-z-]+) ", answer)
    text = re.search(r"<text[^>]*>([^<]*)", answer)
    assert condition and text, answer
    return condition[1], text[1]


def own_address():
    """An address of loopback on which nobody else has port 5269."""
    return f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"


def closed_port():
    return free_port()


# Names


def test_a_domain_that_does_not_exist(world, talk):
    """RFC 6120 section 8.3.3.16: remote-server-not-found."""
    condition, text = refusal(talk()("nowhere.test"))
    assert condition == "remote-server-not-found"
    assert "nowhere.test does not exist" in text


def test_a_domain_that_says_that_it_has_no_server(world, talk):
    """RFC 2782: the target ".". Its own address does not count then."""
    address = own_address()
    world.names.address("silent.test", address)
    world.names.service("_xmpp-server._tcp.silent.test")
    world.place("itself", address, 5269)
    condition, text = refusal(talk()("silent.test"))
    assert condition == "remote-server-not-found"
    assert "no XMPP server" in text
    assert world.seen.empty()


def test_a_domain_without_records_is_its_own_server(world, talk):
    """RFC 6120 section 3.2.2: the domain's own address, port 5269."""
    address = own_address()
    world.names.address("plain.test", address)
    world.place("itself", address, 5269)
    talk()("plain.test")
    assert world.next_connection()[0] == "itself"


def test_a_domain_that_is_an_address(world, talk):
    address = own_address()
    world.place("itself", address, 5269)
    talk()(address)
    assert world.next_connection()[0] == "itself"


def test_the_record_with_the_lowest_priority_comes_first(world, talk):
    """RFC 2782, for both services as one list (XEP-0368 section 3)."""
    first, second = world.place("first"), world.place("second")
    world.names.address("host.test", "127.0.0.1")
    world.names.service(
        "_xmpp-server._tcp.many.test", ("host.test", second.port, 30), ("host.test", first.port, 10))
    world.names.service("_xmpps-server._tcp.many.test", ("host.test", closed_port(), 20))
    talk()("many.test")
    assert world.next_connection()[0] == "first"


def test_every_record_has_its_turn(world, talk):
    """RFC 6120 section 3.2.1, number 6, also when a server leaves in the middle; at the end its
    sender hears of it."""
    places = [world.place(f"number {number}") for number in range(4)]
    world.names.address("host.test", "127.0.0.1")
    world.names.service("_xmpp-server._tcp.all.test", *(
        ("host.test", place.port, 10 * number) for number, place in enumerate(places)))
    client = talk()("all.test")
    assert [world.next_connection()[0] for _ in places] == [place.name for place in places]
    assert refusal(client)[0] == "remote-server-timeout"
    assert world.seen.empty()


@pytest.mark.parametrize("closed", ["_xmpp-server", "_xmpps-server"])
def test_the_next_record_is_tried_when_a_port_is_closed(world, talk, closed):
    """RFC 6120 section 3.2.1, number 6."""
    place = world.place("open")
    world.names.address("host.test", "127.0.0.1")
    world.names.address("other.test", "127.0.0.1")
    # dnsmasq wants all records of a service in one call.
    records = {"_xmpp-server": [("other.test", place.port, 20)], "_xmpps-server": []}
    records[closed].append(("host.test", closed_port(), 10))
    for service, targets in records.items():
        if targets:
            world.names.service(f"{service}._tcp.two.test", *targets)
    talk()("two.test")
    assert world.next_connection()[0] == "open"


# TLS at once


@pytest.mark.parametrize(
    "domain, name", [("direct.test", "direct.test"), ("münchen.test", "xn--mnchen-3ya.test")])
def test_tls_at_once_asks_for_the_domain(world, talk, tmp_path, domain, name):
    """XEP-0368 section 3: the name is the domain's, not the target's, and the protocol is
    xmpp-server."""
    place = world.place("direct", certificate=Authority(tmp_path).issue(name))
    world.names.address("host.test", "127.0.0.1")
    world.names.service(f"_xmpps-server._tcp.{domain}", ("host.test", place.port, 5))
    # This one speaks no TLS at once: were it the other way round, nothing would arrive there.
    world.names.service(f"_xmpp-server._tcp.{domain}", ("host.test", closed_port(), 50))
    talk()(domain)
    assert world.next_connection() == ("direct", name, "xmpp-server")


def test_starttls_begins_in_clear(world, talk):
    """XEP-0368 section 3: with records of xmpp-server there is no TLS at once."""
    place = world.place("clear")
    world.names.address("host.test", "127.0.0.1")
    world.names.service("_xmpp-server._tcp.clear.test", ("host.test", place.port))
    world.names.service("_xmpps-server._tcp.clear.test")
    talk()("clear.test")
    assert world.next_connection() == ("clear", None, None)


# Addresses


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.168.77.1", "fd00::77", "169.254.7.7"])
def test_private_addresses_are_refused(world, talk, address):
    """A stranger's name must not lead into the owner's network."""
    place = world.place("private")
    world.names.address("host.test", address)
    world.names.service("_xmpp-server._tcp.inside.test", ("host.test", place.port))
    condition, text = refusal(talk(allows_private=False)("inside.test"))
    assert condition == "remote-server-not-found"
    assert address in text and "federation.allow_private_addresses" in text
    assert world.seen.empty()


def test_no_option_allows_an_address_of_many(world, talk):
    """RFC 1112: nobody's server is at a multicast address."""
    world.names.address("group.test", "224.0.0.251")
    condition, text = refusal(talk()("group.test"))
    assert condition == "remote-server-not-found" and "224.0.0.251" in text


def test_a_closed_port(world, talk):
    """RFC 6120 section 8.3.3.17: remote-server-timeout, for it may come back."""
    port = closed_port()
    world.names.address("host.test", "127.0.0.1")
    world.names.service("_xmpp-server._tcp.closed.test", ("host.test", port))
    condition, text = refusal(talk()("closed.test"))
    assert condition == "remote-server-timeout"
    assert f"host.test:{port} refused the connection" in text


def test_an_address_that_answers_nothing_holds_nobody_up(world, talk):
    """RFC 8305 section 5: the next address is tried soon."""
    place = world.place("alive")
    world.silence("::1", place.port)
    world.names.address("host.test", "127.0.0.1", "::1")
    world.names.service("_xmpp-server._tcp.half.test", ("host.test", place.port))
    talk()("half.test")
    assert world.next_connection()[0] == "alive"


def test_a_stop_waits_for_nobody_who_does_not_answer(world, talk):
    """Attempts under way end with the server, without a complaint."""
    silent = [world.silence("127.0.0.1", closed_port()) for _ in range(3)]
    world.names.address("host.test", "127.0.0.1")
    world.names.service(
        "_xmpp-server._tcp.silent.test", *(("host.test", place.port) for place in silent))
    ask = talk()
    ask("silent.test")
    eventually(lambda: world.names.asked("host.test"), "the target is looked up")
    ask.server.stop()
    assert "ERROR" not in ask.server.log.text, ask.server.log.text


# The port of ours


def test_the_port_for_other_servers(make_server):
    """It is there unless nobody is federated with; the status shows it."""
    settings = {
        "listen.addresses": "127.0.0.1", "listen.client_port": 0, "listen.client_tls_port": 0,
        "listen.server_port": 0, "listen.web_port": 0, "listen.server_tls_port": 0, "metrics.port": 0,
        "hardware.ups": '""'}
    server = make_server(settings=settings).start(isolated=False)
    listeners = {entry["name"]: entry["port"] for entry in server.json("status")["listeners"]}
    for name in ("server", "server_tls"):
        assert listeners[name] == server.ports[name]
        socket.create_connection(("127.0.0.1", listeners[name]), LONG).close()
    server.stop()
    server.start()
    assert "server" not in server.ports
    server.stop()
    server.settings["federation.policy"] = "off"
    server.start(isolated=False)
    assert "server" not in server.ports


def test_authorities_that_cannot_be_read(make_server, tmp_path):
    """The line names the option and the file."""
    missing = tmp_path / "none.pem"
    server = make_server(settings={"federation.authorities": missing})
    done = server.command("serve", "--isolated", check=False)
    assert done.returncode == 1
    assert str(missing) in done.stderr and "federation.authorities" in done.stderr, done.stderr


def test_name_servers_that_are_none(make_server):
    server = make_server(settings={"federation.nameservers": "dns.example"})
    done = server.command("serve", "--isolated", check=False)
    assert done.returncode == 1
    assert "dns.example" in done.stderr and "federation.nameservers" in done.stderr, done.stderr
