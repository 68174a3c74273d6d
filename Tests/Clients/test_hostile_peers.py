"""Other servers that connect and do what none should (RFC 6120 sections 4.9, 8.1 and 13, XEP-0178,
XEP-0198, XEP-0288): each harms its own stream alone."""

import re
import socket
import struct

import pytest

from server_peer import COMPONENT, chat, old_tls
from waiting import eventually

LOCAL = "romeo@example.test"


def still_works(peers, romeo):
    """The next right stream is served."""
    with peers.domain().established() as stream:
        stream.message(LOCAL, "and on it goes")
        assert "<body>and on it goes</body>" in romeo.read_through("</message>")


def test_a_right_stream(peers, romeo):
    """So that the others fail for one reason alone."""
    eve = peers.domain().listen()
    with eve.established() as stream:
        stream.message(LOCAL, "hello")
        assert "<body>hello</body>" in romeo.read_through("</message>")
        chat(romeo, eve.user, "well")
        with eve.accept() as other:
            assert other.body() == "well"
            other.acknowledge(1)
    peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")


# Headers


@pytest.mark.parametrize("changes, condition", [
    ({"to": None}, "improper-addressing"),
    ({"to": "elsewhere.example"}, "host-unknown"),
    ({"to": "-.-"}, "host-unknown"),
    ({"from_": "example.test"}, "invalid-from"),
    ({"from_": "EXAMPLE.test"}, "invalid-from"),
    ({"from_": COMPONENT}, "invalid-from"),
    ({"from_": "eve@d0.example/x"}, "invalid-from"),
    ({"from_": ""}, "invalid-from"),
    ({"version": "0.9"}, "unsupported-version"),
    ({"version": None}, "unsupported-version"),
    ({"version": "99999999999999999999.0"}, "unsupported-version"),
    ({"xmlns": "jabber:client"}, "invalid-namespace"),
    ({"xmlns": None}, "invalid-namespace"),
    ({"xmlns__stream": "jabber:server"}, "invalid-namespace"),
], ids=lambda value: "-".join(map(str, value.items())) if isinstance(value, dict) else str(value))
def test_a_wrong_header(peers, changes, condition):
    """RFC 6120 sections 4.7 and 4.8: each has its own error, in a whole stream."""
    with peers.failure("in", "protocol_error"), peers.domain().connect() as stream:
        stream.send(stream.header(**changes))
        assert stream.stream_error() == condition


def test_a_header_without_from_under_tls(peers):
    """RFC 6120 section 4.7.1: there it is needed, for whom else would the certificate prove?"""
    with peers.failure("in", "protocol_error"), peers.domain().unsecured_headers() as stream:
        stream.send(stream.header(from_=None))
        assert stream.stream_error() == "improper-addressing"


def test_a_header_changes_after_authentication(peers):
    """RFC 6120 section 6.4.6: whoever proved one name is not another in the next header."""
    with peers.failure("in", "protocol_error"), peers.domain().secure() as stream:
        assert stream.external() == "success"
        stream.send(stream.header(from_="other.example"))
        assert stream.stream_error() == "invalid-from"


@pytest.mark.parametrize("garbage, condition", [
    (b"GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not-well-formed"),
    (b"<?xml version='1.0' encoding='latin1'?><a>", "unsupported-encoding"),
    (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>", "restricted-xml"),
    (b"<stream:stream " + b"a" * 100_000, "policy-violation"),
], ids=["http", "tls", "encoding", "entities", "endless"])
def test_garbage_instead_of_a_header(peers, garbage, condition):
    """RFC 6120 section 4.9.3: an error and the end; counted and logged as what it is."""
    with peers.failure("in", "protocol_error"), peers.domain().connect() as stream:
        stream.send(garbage)
        assert stream.stream_error() == condition


# Before authentication


@pytest.mark.parametrize("element", [
    "<message from='eve@{0}' to='romeo@example.test'><body>early</body></message>",
    "<iq from='{0}' to='example.test' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>",
    "<made-up xmlns='urn:example:made-up'/>",
], ids=["message", "iq", "enable", "r", "resume", "unknown"])
@pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "tls"])
def test_stanzas_before_authentication(peers, romeo, element, is_secure):
    """RFC 6120 section 4.9.3.12: not-authorized, and nobody gets any of it."""
    eve = peers.domain()
    with peers.failure("in", "protocol_error"):
        with (eve.secure() if is_secure else eve.connect()) as stream:
            if not is_secure:
                stream.open_stream()
            stream.send(element.format(eve.name))
            assert stream.stream_error() == "not-authorized"
    still_works(peers, romeo)


def test_external_before_tls(peers):
    """RFC 6120 section 5.3.1: no mechanism without TLS."""
    with peers.failure("in", "protocol_error"), peers.domain().connect() as stream:
        stream.open_stream()
        assert "<required" in stream.features and "EXTERNAL" not in stream.features
        stream.send(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
        assert stream.stream_error() == "not-authorized"


def test_what_follows_starttls_in_clear_is_not_believed(peers):
    """RFC 6120 section 5.4.3.3."""
    eve = peers.domain()
    with eve.connect() as stream:
        stream.open_stream()
        stream.send(
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + stream.header()
            + f"<message from='eve@{eve.name}' to='{LOCAL}'><body>in clear</body></message>")
        stream.read_through("<proceed[^>]*>")
        stream.begin_tls(stream.client_context())
        stream.open_stream()
        assert "EXTERNAL" in stream.features
        stream.authenticate_and_open()


def test_old_tls(peers):
    """RFC 8996: TLS 1.2 at least."""
    with peers.failure("in", "tls"), peers.domain().connect() as stream:
        stream.open_stream()
        with pytest.raises(OSError):
            stream.ask_for_tls(old_tls(stream.client_context()))


def test_another_authorization_identity(peers):
    """XEP-0178 section 3 and RFC 6120 section 6.5.6: invalid-authzid; the third failure ends the
    stream."""
    with peers.failure("in", "authentication"), peers.domain().secure() as stream:
        assert stream.external(b"other.example") == "invalid-authzid"
        assert stream.external(b"example.test") == "invalid-authzid"
        assert stream.external(b"\xff\xfe") == "invalid-authzid"
        assert stream.stream_error() == "policy-violation"


def test_authentication_is_not_tried_for_ever(peers):
    """RFC 6120 section 6.4.5, whatever the reason of each failure."""
    with peers.failure("in", "authentication"), peers.domain().secure() as stream:
        assert stream.authenticate("PLAIN", b"\0eve\0guess") == "invalid-mechanism"
        stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>?</auth>")
        assert "<incorrect-encoding" in stream.read_through("</failure>")
        stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>")
        stream.read_through("<challenge[^>]*>")
        stream.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        assert "<aborted" in stream.read_through("</failure>")
        assert stream.stream_error() == "policy-violation"


# Certificates


@pytest.mark.parametrize("verdict", [
    "absent", "expired", "not_yet_valid", "self_signed", "wrong_name", "untrusted", "revoked",
    "revoked_above"])
def test_a_certificate_that_proves_nothing(peers, romeo, verdict):
    """XEP-0178 section 3, RFC 5280 section 6: no EXTERNAL, and the reason is said, counted and
    logged once."""
    eve = peers.with_certificate(verdict)
    verdict = verdict.removesuffix("_above")
    before = len(peers.lines(eve.name))
    with peers.failure("in", "certificate"), eve.unsecured_headers() as stream:
        stream.send(stream.header())
        text = stream.read_to_end()
        assert "<not-authorized" in text and "certificate" in text and "EXTERNAL" not in text
    assert len(peers.lines(eve.name)) == before + 1, peers.lines(eve.name)
    assert peers.kinglet.metric("kinglet_server_certificates_total", verdict=verdict) >= 1
    still_works(peers, romeo)


# Addresses of stanzas


@pytest.mark.parametrize("sender, to, condition", [
    ("eve@other.example", LOCAL, "invalid-from"),
    ("other.example", LOCAL, "invalid-from"),
    ("juliet@example.test", LOCAL, "invalid-from"),
    ("example.test", LOCAL, "invalid-from"),
    (f"someone@{COMPONENT}", LOCAL, "invalid-from"),
    (COMPONENT, LOCAL, "invalid-from"),
    ("eve@sub.{0}", LOCAL, "invalid-from"),
    ("@{0}", LOCAL, "invalid-from"),
    ("", LOCAL, "invalid-from"),
    (None, LOCAL, "improper-addressing"),
    ("eve@{0}", None, "improper-addressing"),
    ("eve@{0}", "someone@elsewhere.example", "host-unknown"),
    ("eve@other.example", "@@", "invalid-from"),
], ids=str)
def test_wrong_addresses(peers, romeo, sender, to, condition):
    """RFC 6120 sections 4.9.3.9, 4.9.3.7 and 8.1: nobody speaks for others, nothing is passed
    on, and the stream ends."""
    eve = peers.domain()
    with peers.failure("in", "protocol_error"), eve.established() as stream:
        attributes = "".join(
            f" {name}='{value.format(eve.name)}'" for name, value in (("from", sender), ("to", to))
            if value is not None)
        stream.send(f"<message{attributes}><body>forged</body></message>")
        assert stream.stream_error() == condition
    assert len(peers.lines(eve.name)) == 1, peers.lines(eve.name)
    # What romeo gets next is what comes next.
    still_works(peers, romeo)


def test_an_address_that_is_none(peers, romeo):
    """RFC 6120 section 8.3.3.8: jid-malformed, to the sender alone; the stream goes on."""
    eve = peers.domain().listen()
    with eve.established() as stream:
        stream.message("@@", "nowhere")
        with eve.accept() as back:
            assert "<jid-malformed" in back.read_through("</message>")
            back.acknowledge(1)
        stream.message(LOCAL, "here")
        assert "<body>here</body>" in romeo.read_through("</message>")


# Size and number


def test_a_stanza_of_10_megabytes(peers, romeo):
    """RFC 6120 section 13.12: policy-violation, long before its end."""
    with peers.bounded_memory(6), peers.domain().established() as stream:
        stream.send(f"<message from='eve@{stream.domain}' to='{LOCAL}'><body>")
        with pytest.raises(OSError):
            for _ in range(160):
                stream.send("x" * 65_536)
            # The end may come with the rest of what was sent still under way.
            stream.read_raw_end()
            raise ConnectionError
        romeo.expect_answer()
    still_works(peers, romeo)


@pytest.mark.parametrize("bomb, condition", [
    ("<message from='eve@{0}' to='romeo@example.test'>" + "<a>" * 10_000, "policy-violation"),
    ("<message from='eve@{0}' to='romeo@example.test'" + "".join(
        f" a{number}=''" for number in range(40_000)), "policy-violation"),
    ("<message from='eve@{0}' to='romeo@example.test'><body>&boom;", "restricted-xml"),
    ("<message from='eve@{0}' to='romeo@example.test'><!-- x -->", "restricted-xml"),
    ("<message from='eve@{0}' to='romeo@example.test'></iq>", "not-well-formed"),
    ("<message from='eve@{0}' to='romeo@example.test'>\x01", "not-well-formed"),
    ("<db:made-up from='{0}' to='example.test'/>", "unsupported-stanza-type"),
    ("<made-up xmlns='urn:example:made-up'/>", "unsupported-stanza-type"),
], ids=["depth", "attributes", "entity", "comment", "nesting", "control", "dialback", "unknown"])
def test_bombs(peers, romeo, bomb, condition):
    """RFC 6120 sections 11 and 13.12: limits, and no XML beyond what XMPP needs."""
    with peers.failure("in", "protocol_error"), peers.bounded_memory(4), \
            peers.domain().established() as stream:
        stream.send(bomb.format(stream.domain))
        assert stream.stream_error() == condition
    still_works(peers, romeo)


def test_a_flood_is_read_slowly_and_not_lost(peers, romeo):
    """RFC 6120 section 13.12: more than limits.server_stanza_rate waits in the socket, and others are
    served meanwhile."""
    number = 6000
    slowed = peers.kinglet.refusals("stanza_rate")
    with peers.bounded_memory(8), peers.juliet() as juliet, peers.domain().established() as stream:
        stream.manage()
        stanza = (
            f"<message from='eve@{stream.domain}' to='juliet@example.test' type='headline'>"
            "<body>{}</body></message>")
        stream.send("".join(stanza.format(index) for index in range(number)))
        romeo.expect_answer()
        bodies = []
        while len(bodies) < number:
            bodies += re.findall(r"<body>(\d+)</body>", juliet.read_through(
                rf"<body>{min(len(bodies) + 499, number - 1)}</body></message>"))
        assert bodies == [str(index) for index in range(number)]
        assert stream.acknowledged() == number
    assert peers.kinglet.refusals("stanza_rate") > slowed


def test_answers_that_are_not_read(peers, romeo):
    """RFC 6120 section 13.12: who asks and asks and does not read is bounded, too (XEP-0198
    `<r/>`): it is read more slowly, and no more than limits.outgoing_queue waits for it."""
    def refused():
        return peers.kinglet.refusals("slow_reader") + peers.kinglet.refusals("stanza_rate")

    before = refused()
    with peers.bounded_memory(8), peers.domain().connect() as stream:
        stream.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.open_stream()
        stream.ask_for_tls()
        stream.open_stream()
        stream.authenticate_and_open()
        stream.manage()
        asks_without_reading(stream, "<r xmlns='urn:xmpp:sm:3'/>")
        romeo.expect_answer()
    assert refused() > before
    still_works(peers, romeo)


def test_answers_that_are_not_read_before_authentication(peers, romeo):
    """XEP-0220 section 2.2: anybody may ask about a key, and so much that it has a bound of its
    own."""
    slow = peers.kinglet.refusals("slow_reader")
    with peers.bounded_memory(4), peers.domain().connect() as stream:
        stream.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.open_stream()
        stream.ask_for_tls()
        stream.open_stream()
        asks_without_reading(
            stream, f"<db:verify from='{stream.domain}' to='example.test' id='1'>key</db:verify>")
        romeo.expect_answer()
    assert peers.kinglet.refusals("slow_reader") == slow + 1
    still_works(peers, romeo)


def asks_without_reading(stream, question):
    """Until the other side has had enough."""
    stream.connection.settimeout(1)
    with pytest.raises(OSError):
        # More than the kernel's buffers hold.
        for _ in range(1000):
            stream.send(question * 2000)


# XEP-0198 and XEP-0288


def test_a_stream_is_not_resumed(peers):
    """XEP-0198 section 5: streams between servers begin anew; the stream stays."""
    with peers.domain().established() as stream:
        stream.send("<resume xmlns='urn:xmpp:sm:3' previd='other' h='0'/>")
        assert "feature-not-implemented" in stream.read_through("</failed>")
        stream.manage()
        stream.send("<enable xmlns='urn:xmpp:sm:3'/>")
        assert "unexpected-request" in stream.read_through("</failed>")
        assert stream.acknowledged() == 0


@pytest.mark.parametrize("h, condition", [
    ("7", "undefined-condition"), ("4294967295", "undefined-condition"), ("-1", "bad-format"),
    ("99999999999999", "bad-format"), ("x", "bad-format"), ("", "bad-format")])
def test_an_acknowledgement_of_what_was_never_sent(peers, romeo, h, condition):
    """XEP-0198 section 4: on a stream that only receives there is nothing to acknowledge."""
    with peers.failure("in", "protocol_error"), peers.domain().established() as stream:
        stream.manage()
        stream.send(f"<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
        assert stream.condition() == condition
    still_works(peers, romeo)


def test_nothing_is_sent_on_a_stream_that_did_not_offer_it(peers, romeo):
    """RFC 6120 section 4.5, XEP-0288: without its consent, a stream is for one way."""
    eve = peers.domain().listen()
    with eve.established() as stream:
        stream.message(LOCAL, "call me back")
        romeo.read_through("</message>")
        chat(romeo, eve.user, "by another stream")
        with eve.accept() as other:
            assert other.body() == "by another stream"
            other.acknowledge(1)
            peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")
        stream.manage()
        assert stream.acknowledged() == 0


def test_both_ways_on_one_stream(peers, romeo):
    """XEP-0288: whoever offers it before authentication gets stanzas on its own stream."""
    eve = peers.domain().listen()
    with eve.secure() as stream:
        assert "urn:xmpp:features:bidi" in stream.features
        stream.send("<bidi xmlns='urn:xmpp:bidi'/>")
        stream.authenticate_and_open()
        stream.manage()
        stream.message(LOCAL, "answer here")
        romeo.read_through("</message>")
        chat(romeo, eve.user, "here it is")
        assert stream.body() == "here it is"
        stream.send("<a xmlns='urn:xmpp:sm:3' h='1'/>")
        peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")
        # More than was ever sent: the number is said (XEP-0198 section 4).
        stream.send("<a xmlns='urn:xmpp:sm:3' h='9'/>")
        assert "handled-count-too-high" in stream.read_through("</stream:error>")
    assert eve.is_left_alone()


# Connections that break or stay


def linger(stream):
    """The connection is reset, not closed."""
    stream.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_closed_in_the_middle(peers, romeo, is_reset):
    """RFC 6120 section 4.4: of everything; nothing is left behind, and half a stanza is none."""
    def in_clear(stream):
        stream.send(stream.header()[:30])

    def in_tls(stream):
        stream.open_stream()
        stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.read_through("<proceed[^>]*>")
        stream.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")

    def before_tls(stream):
        stream.open_stream()
        stream.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.read_through("<proceed[^>]*>")

    def in_authentication(stream):
        stream.open_stream()
        stream.ask_for_tls()
        stream.open_stream()
        stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXT")

    def in_stanza(stream):
        stream.open_stream()
        stream.ask_for_tls()
        stream.open_stream()
        stream.authenticate_and_open()
        stream.send(f"<message from='eve@{stream.domain}' to='{LOCAL}'><body>half")

    for step in (in_clear, before_tls, in_tls, in_authentication, in_stanza):
        stream = peers.domain().connect()
        step(stream)
        if is_reset:
            linger(stream)
        # Without TLS's own end.
        socket.socket(fileno=stream.connection.detach()).close()
    peers.kinglet.becomes(0, "kinglet_server_streams", direction="in")
    still_works(peers, romeo)


def test_silence_and_slowness(make_peers):
    """RFC 6120 section 4.9.3.4: connection-timeout at each step after limits.negotiation, which
    single bytes do not lengthen; half a stanza has to be finished in as long."""
    peers = make_peers(**{"limits.negotiation": "1s"})
    with peers.failure("in", "timeout", 6):
        silent = [peers.domain().connect(), peers.domain().connect(), peers.domain().secure(),
                  peers.domain().unsecured_headers(), peers.domain().established()]
        silent[1].open_stream()
        silent[4].send(f"<message from='eve@{silent[4].domain}' to='{LOCAL}'><body>half")
        drips = peers.domain().connect()
        drips.connection.settimeout(0.05)
        header = iter(drips.header())

        def closed():
            try:
                drips.send(next(header))
                return not drips.connection.recv(4096).endswith(b"</stream:stream>")
            except TimeoutError:
                return False
            except OSError:
                return True

        eventually(closed, "the end of a connection that drips")
        for stream in silent[:4]:
            assert stream.stream_error() == "connection-timeout"
        assert silent[4].stream_error() == "policy-violation"
    assert peers.kinglet.refusals("negotiation_timeout") == 5
    assert peers.kinglet.refusals("stanza_timeout") == 1
    peers.kinglet.becomes(0, "kinglet_server_streams", direction="in")
    with peers.romeo() as romeo:
        still_works(peers, romeo)


def test_half_open_connections_are_bounded(peers, romeo):
    """RFC 6120 section 13.12: above limits.unauthenticated_servers they are closed at once, and
    those inside have no more than their time."""
    held = []
    refused = peers.kinglet.refusals("unauthenticated_connections")
    with peers.bounded_memory(6):
        for _ in range(500):
            stream = socket.create_connection(("127.0.0.1", peers.kinglet.ports["server"]))
            held.append(stream)
        eventually(
            lambda: peers.kinglet.refusals("unauthenticated_connections") - refused >= 470,
            "470 of 500 connections are refused")
        assert peers.kinglet.metric("kinglet_server_streams", direction="in") <= 30
        romeo.expect_answer()
        for stream in held:
            stream.close()
        peers.kinglet.becomes(0, "kinglet_server_streams", direction="in")
    still_works(peers, romeo)


def test_many_names_of_one_attacker(peers, romeo):
    """RFC 6120 section 13.12: federation.streams bounds them all, for names below one's own cost
    nothing."""
    pair = peers.authority.issue("*.many.example")
    refused = peers.kinglet.refusals("connections")
    for number in range(60):
        stream = peers.domain(f"d{number}.many.example", pair).connect()
        try:
            stream.open_stream()
            stream.ask_for_tls()
            stream.open_stream()
            stream.authenticate_and_open()
        except (AssertionError, OSError):
            break
    assert peers.kinglet.metric("kinglet_server_streams", direction="in", state="open") == 40
    assert peers.kinglet.refusals("connections") == refused + 1
    romeo.expect_answer()
