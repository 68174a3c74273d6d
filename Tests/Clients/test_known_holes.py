"""Holes that other servers had. Each test is named after what an attacker got out of one."""

import base64
import itertools
import re
import secrets

import pytest

from kinglet import FAST_KEYS, NO_LOGIN_DELAY, Kinglet
from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from scram import Scram

SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
MEBIBYTE = 1024 * 1024


def memory(server):
    return server.metric("kinglet_process_anonymous_memory_bytes")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A server whose memory is nobody else's."""
    server = Kinglet(
        tmp_path_factory.mktemp("quiet"), settings={**FAST_KEYS, **NO_LOGIN_DELAY})
    server.initialize()
    for jid, password in USERS.items():
        server.add_user(jid, password)
    server.start()
    yield server
    server.stop()


# Prosody's CVE-2026-43506

def challenged(client):
    """A SCRAM login that stops in the middle."""
    first = Scram("SCRAM-SHA-1", secrets.token_urlsafe(12), "x", "n,,").first()
    client.send(f"<auth {SASL} mechanism='SCRAM-SHA-1'>{base64.b64encode(first).decode()}</auth>")
    client.read_through("</challenge>")


WAYS_TO_LEAVE = {
    "silent": (RawClient.plain, lambda client: None),
    "secured": (RawClient.secure, lambda client: None),
    "unfinished": (
        RawClient.secure, lambda client: client.send("<auth mechanism='" + "x" * 15_000)),
    "malformed": (RawClient.secure, lambda client: client.send("<auth>" * 3 + "</iq>")),
    "unknown_user": (
        RawClient.secure,
        lambda client: client.authenticate("PLAIN", f"\0{secrets.token_urlsafe(12)}\0x".encode())),
    "challenged": (RawClient.secure, challenged),
    "starting_tls": (
        RawClient.plain,
        lambda client: client.send(
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + "x" * 9000)),
}


@pytest.mark.parametrize("way", WAYS_TO_LEAVE)
def test_unauthenticated_connections_leave_no_memory_behind(quiet, way):
    """RFC 6120 section 13.12: however far they came, and however they leave."""
    begin, go_on = WAYS_TO_LEAVE[way]

    def come_and_go(times):
        for _ in range(times):
            with begin(quiet) as client:
                go_on(client)
        quiet.becomes(0, "kinglet_connections")
        return memory(quiet)

    warm = come_and_go(150)
    grown = come_and_go(300) - warm
    # A kilobyte each would be 300 KiB; the allocator may take a step meanwhile.
    assert grown < MEBIBYTE, f"{grown / 300:g} bytes for each connection"


# Prosody's CVE-2026-43507

def filled(opening, filling, closing, size=250_000):
    return opening + "".join(
        filling.replace("#", str(number))
        for number in range(min((size - 200) // (len(filling) + 4), 16_000))) + closing


TO_JULIET = f"<message to='{JULIET.jid}' type='headline'>"
SHAPES = {
    "elements": filled(TO_JULIET, "<a/>", "</message>"),
    "references": filled(TO_JULIET + "<body>", "&amp;", "</body></message>"),
    "namespaces": filled(TO_JULIET, "<a xmlns='urn:#'/>", "</message>"),
    "prefixes": filled(TO_JULIET, "<p:a xmlns:p='urn:#' p:b='' c=''/>", "</message>"),
    "inherited": filled(
        f"<message to='{JULIET.jid}' type='headline' xmlns='jabber:client'><x xmlns:p='urn:"
        + "p" * 900 + "'>", "<p:a/>", "</x></message>"),
    "request": filled(
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'>", "<item jid='a#@b.c'/>",
        "</query></iq>"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_xml_costs_no_more_than_it_is_long(quiet, shape):
    """RFC 6120 section 13.12: the largest stanzas of the worst shapes take no memory that stays,
    and are not forwarded as multiples of themselves."""
    with RawClient.logged_in(quiet, ROMEO) as romeo, \
            RawClient.logged_in(quiet, JULIET, "balcony") as juliet:
        juliet.send("<presence/>")
        juliet.expect_answer()

        def send(times):
            length = 0
            for _ in range(times):
                romeo.send(SHAPES[shape])
                if shape == "request":
                    romeo.read_through("</iq>|<iq[^>]*/>")
                else:
                    length = max(length, len(juliet.read_through("</message>")))
            return length

        send(5)
        before = memory(quiet)
        longest = send(20)
        assert longest < 1.5 * len(SHAPES[shape]) + 1000, f"{longest} of {len(SHAPES[shape])} bytes"
        assert memory(quiet) - before < 8 * MEBIBYTE


def test_prefixes_of_the_stream_header_do_not_blow_up_stanzas(quiet):
    """RFC 6120 section 4.8.5: what leans on them has to be written anew to stand alone, and may
    grow little by it."""
    with RawClient.secure(quiet) as romeo:
        romeo.log_in(ROMEO)
        romeo.bind()
        romeo.send(TO_JULIET + "<stream:a/>" * 5 + "</message>")
        romeo.expect_answer()
    long_header = RawClient.header(romeo).replace(" xmlns=", f" xmlns:p='urn:{'p' * 900}' xmlns=")
    with RawClient.secure(quiet) as romeo:
        romeo.header = lambda: long_header
        romeo.log_in(ROMEO)
        romeo.bind()
        romeo.send(TO_JULIET + "<p:a/>" * 200 + "</message>")
        assert romeo.stream_error() == "policy-violation"


def test_xml_may_not_name_entities_at_all(quiet):
    """RFC 6120 section 11.1: so nothing expands, before login or after."""
    bomb = "<!DOCTYPE m [" + "".join(
        f"<!ENTITY e{number} '{f'&e{number - 1};' * 10}'>" for number in range(1, 10)) + "]>"
    for client in (
            RawClient(quiet.ports["client"]), RawClient.plain(quiet), RawClient.secure(quiet),
            RawClient.logged_in(quiet, ROMEO)):
        with client:
            client.send(bomb)
            assert client.stream_error() == "restricted-xml"


# Identities

@pytest.mark.parametrize(
    "identity", [JULIET.jid, "juliet", "example.test", f"{JULIET.jid}/balcony", "root", "@"])
def test_plain_with_another_authorization_identity(server, person, identity):
    """RFC 4616 section 2, RFC 6120 section 6.3.8: the right password lets in nobody else."""
    romeo = person()
    with RawClient.secure(server) as client:
        message = f"{identity}\0{romeo.name}\0{romeo.password}".encode()
        assert client.authenticate("PLAIN", message) == "invalid-authzid"
        client.log_in(romeo)
        assert client.bind("orchard") == f"{romeo.jid}/orchard"


# Weak randomness

SAMPLES = 300


def stream_id(server, people):
    with RawClient(server.ports["client"]) as client:
        client.open_stream()
        return re.search(r"<stream:stream[^>]* id='([^']*)'", client.features)[1]


def scram_nonce(server, people):
    with RawClient(server.ports["client"]) as client:
        client.open_stream()
        exchange = Scram("SCRAM-SHA-1", next(people).name, "x", "n,,")
        client.send(
            f"<auth {SASL} mechanism='SCRAM-SHA-1'>"
            f"{base64.b64encode(exchange.first()).decode()}</auth>")
        answer = re.search("<challenge[^>]*>([^<]*)<", client.read_through("</challenge>"))[1]
        nonce = re.match("r=([^,]*),", base64.b64decode(answer).decode())[1]
        assert nonce.startswith(exchange.nonce)
        return nonce[len(exchange.nonce):]


def resource(server, people):
    with RawClient(server.ports["client"]) as client:
        client.open_stream()
        client.log_in(next(people))
        return client.bind().partition("/")[2]


@pytest.mark.parametrize("draw, bits", [(stream_id, 128), (scram_nonce, 128), (resource, 96)])
def test_ids_and_nonces_cannot_be_foreseen(make_server, draw, bits):
    """RFC 6120 sections 4.7.3 and 7.6, RFC 5802 section 5.1: long enough, never the same, every
    bit as often set as not, and nothing of one start of the server seen at the next."""
    server = make_server(
        users=USERS, settings={**NO_LOGIN_DELAY, "listen.plaintext": "loopback"})
    people = itertools.cycle((ROMEO, JULIET))
    texts = []
    for _ in range(2):
        server.start()
        texts += [draw(server, people) for _ in range(SAMPLES // 2)]
        server.stop()
    assert len(set(texts)) == SAMPLES
    lengths = {len(text) for text in texts}
    assert len(lengths) == 1, "all of one length"
    values = [base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in texts]
    size = 8 * len(values[0])
    assert size >= bits
    # Five standard deviations: one run in some ten thousand fails by chance.
    slack = 5 * SAMPLES ** 0.5 / 2
    numbers = [int.from_bytes(value, "big") for value in values]
    for bit in range(size):
        count = sum(number >> bit & 1 for number in numbers)
        assert abs(count - SAMPLES / 2) < slack, f"bit {bit} is set {count} times"
    for before, after in itertools.pairwise(numbers):
        # Neither counted up nor derived from the one before by little.
        assert 0.2 * size < (before ^ after).bit_count() < 0.8 * size
