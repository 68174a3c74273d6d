"""Streams that are random or damaged, by the thousand (RFC 6120 section 13.12): others are
answered, and nothing is left behind. STREAMS=10000 makes it a long run."""

import concurrent.futures
import os
import random
import re
import socket
import time
from xml.parsers import expat

import pytest

from kinglet import FIXTURES, NO_LOGIN_DELAY
from people import Person
from raw_client import RawClient, trusting

STREAMS = int(os.environ.get("STREAMS", 400))
DOMAIN = "example.test"
# The names in the corpus of Tests/Fixtures/fuzz: who attacks, who is attacked, whose name is
# forged.
MALLORIES = [
    Person(f"mallory{number or ''}", DOMAIN, "the secret of mallory")
    for number in range(10 + STREAMS // 20)]
JULIET = Person("juliet", DOMAIN, "balcony")
ROMEO = Person("romeo", DOMAIN, "wherefore")
STREAM = (
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")


def corpus():
    """Before login and after, the files that are meant for it."""
    files = {False: [], True: []}
    for file in sorted((FIXTURES / "fuzz/stanzas").iterdir()):
        data = file.read_bytes().replace(b"capulet.example", DOMAIN.encode())
        files[data[:1] != b"0"].append(data[1:])
    for file in sorted((FIXTURES / "fuzz/xml").iterdir()):
        for data in files.values():
            data.append(file.read_bytes())
    return files


CORPUS = corpus()
# Memory that came with the load may stay with the allocator; what grows by the stream may not.
SLACK = 6 * 1024 * 1024


class Witness:
    """Reads a stream as strict clients do, and notes who has written what."""

    def __init__(self):
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.senders = set()
        self.text = ""
        self._depth = 0

    def read(self, text):
        self.text = (self.text + text)[-4000:]
        try:
            self.parser.Parse(text)
        except expat.ExpatError as error:
            raise AssertionError(f"{error}: …{self.text}") from None

    def _start(self, name, attributes):
        self._depth += 1
        if self._depth == 2 and name.startswith("jabber:client "):
            self.senders.add(attributes.get("from", "").split("/")[0])

    def _end(self, _):
        self._depth -= 1


class Bystander(RawClient):
    """Logged in all the time, and asks all the time whether it is still served."""

    def begin(self):
        self.witness = Witness()
        self.witness.read(STREAM)
        self.slowest = 0
        self._pings = 0

    def ask(self):
        self._pings += 1
        start = time.monotonic()
        self.send(f"<iq type='get' id='still-{self._pings}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.witness.read(self.read_through(
            f"<iq[^>]*id=.still-{self._pings}. ?[^>]*>(?:</iq>)?"))
        self.slowest = max(self.slowest, time.monotonic() - start)


class Attacker:
    """Sends one stream; the same one for the same seed."""

    domain = DOMAIN

    def __init__(self, server, context, people, seed):
        self.server = server
        self.context = context
        self.people = people
        self.random = random.Random(seed)

    def attack(self, is_secure, is_logged_in):
        """One stream from its beginning to its end."""
        client = RawClient(self.server.ports["client_tls" if is_secure else "client"])
        with client:
            if is_secure:
                client.begin_tls(self.context)
            witness = Witness()
            if is_logged_in:
                client.open_stream()
                self.log_in(client)
                if self.random.random() < 0.9:
                    client.bind()
                witness.read(STREAM)
            data = self.input(is_logged_in)
            answer = self.exchange(client, data)
            # After these the stream begins anew, and what was sent in clear does not count.
            if not re.search("<(success|proceed) ", answer):
                witness.read(answer)

    def log_in(self, client):
        """As the first of those who have not deleted their account or changed its password."""
        while True:
            person = self.people[0]
            message = f"\0{person.name}\0{person.password}".encode()
            if client.authenticate("PLAIN", message) == "success":
                return client.open_stream()
            if person in self.people:
                self.people.remove(person)

    def input(self, is_logged_in):
        kind = self.random.random()
        if kind < 0.1:
            return self.random.randbytes(self.random.randrange(1, 2000))
        has_header = not is_logged_in and kind < 0.8
        data = bytearray(self.random.choice(CORPUS[is_logged_in]))
        for _ in range(self.random.choice((0, 1, 1, 2, 4))):
            self.damage(data, CORPUS[is_logged_in])
        return RawClient.header(self).encode() + data if has_header else bytes(data)

    def damage(self, data, corpus):
        start = self.random.randrange(len(data) + 1)
        end = min(len(data), start + self.random.randrange(40))
        match self.random.randrange(5):
            case 0:
                del data[start:end]
            case 1:
                data[start:start] = data[start:end] * self.random.choice((1, 1, 1, 300))
            case 2:
                data[start:end] = self.random.choice(corpus)
            case 3:
                data[start:end] = self.random.randbytes(end - start)
            case 4 if start < len(data):
                data[start] ^= 1 << self.random.randrange(8)

    def exchange(self, client, data):
        """Sends in pieces, says that nothing follows, and reads to the end."""
        cut = self.random.randrange(len(data) + 1) if self.random.random() < 0.5 else len(data)
        received = b""
        try:
            for piece in (data[:cut], data[cut:]):
                if piece:
                    client.send(piece)
            if self.random.random() < 0.1:
                return ""  # leaves without a word
            # Not the method of the TLS socket, which would end TLS both ways.
            socket.socket.shutdown(client.connection, socket.SHUT_WR)
        except OSError:
            pass  # the server may close before it has everything
        try:
            while chunk := client.connection.recv(65_536):
                received += chunk
        except TimeoutError:
            raise AssertionError(f"neither answered nor closed: {data!r}") from None
        except OSError:
            return ""
        return received.decode()


@pytest.fixture
def kinglet(make_server):
    server = make_server(settings={
        **NO_LOGIN_DELAY, "listen.plaintext": "loopback", "limits.negotiation": "5s",
        "limits.resources": "100"})
    file = server.directory / "people"
    file.write_text("".join(
        f"{person.name} {person.password}\n" for person in (*MALLORIES, JULIET, ROMEO)))
    server.command("user", "import", file)
    return server.start()


def memory(server):
    return server.metric("kinglet_process_anonymous_memory_bytes")


def test_random_streams_harm_nobody(kinglet):
    """Before login and after, in clear and over TLS: a bystander's pings are answered all the
    time, its stream stays well-formed and free of forged senders, and in the end memory and
    gauges are where they were."""
    context = trusting(kinglet)
    people = list(MALLORIES)

    def attack(number):
        Attacker(kinglet, context, people, number).attack(
            is_secure=number % 2 == 0, is_logged_in=number % 4 < 2)

    def attack_all(numbers):
        attacks = [pool.submit(attack, number) for number in numbers]
        while concurrent.futures.wait(attacks, timeout=0.05).not_done:
            bystander.ask()
        for done in attacks:
            done.result()
        kinglet.becomes(1, "kinglet_connections")
        return memory(kinglet)

    with Bystander(kinglet.ports["client_tls"]) as bystander, \
            concurrent.futures.ThreadPoolExecutor(8) as pool:
        bystander.begin_tls(context)
        bystander.open_stream()
        bystander.log_in(JULIET)
        bystander.bind("balcony")
        bystander.begin()
        bystander.send("<presence/>")
        warm = attack_all(range(STREAMS // 4))
        grown = attack_all(range(STREAMS // 4, STREAMS)) - warm
        assert grown < SLACK, f"{grown:g} bytes after {STREAMS} streams, {warm:g} before"
        bystander.ask()
        # For whoever runs it long, with -s.
        print(f"{STREAMS} streams: memory {grown / 1024:+.0f} KiB, slowest ping"
              f" {1000 * bystander.slowest:.0f} ms")
        assert bystander.slowest < 5
        known = {person.jid for person in (JULIET, *MALLORIES)}
        assert bystander.witness.senders <= {"", DOMAIN} | known
    kinglet.becomes(0, "kinglet_connections")
    kinglet.becomes(0, "kinglet_sessions")
    assert "level=error" not in kinglet.log.text and "level=critical" not in kinglet.log.text
