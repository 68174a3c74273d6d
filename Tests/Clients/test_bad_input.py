"""Input that no client should send: the right error, on that connection alone, and counted
(RFC 6120 sections 4.9, 11 and 13.12)."""

import pytest

from raw_client import RawClient

# What is wrong, the stream error, the reason under which it is counted.
BAD_XML = {
    "dtd": ("<!DOCTYPE message><message/>", "restricted-xml", "restricted_xml"),
    "entity_bomb": (
        '<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><message>&b;</message>',
        "restricted-xml", "restricted_xml"),
    "comment": ("<message><!-- hush --></message>", "restricted-xml", "restricted_xml"),
    "processing_instruction": (
        "<message><?php run ?></message>", "restricted-xml", "restricted_xml"),
    "entity": ("<message><body>&nbsp;</body></message>", "restricted-xml", "restricted_xml"),
    "wrong_end_tag": ("<message><body></message></body>", "not-well-formed", "malformed_xml"),
    "unquoted": ("<message to=a/>", "not-well-formed", "malformed_xml"),
    "attribute_twice": ("<message id='1' id='2'/>", "not-well-formed", "malformed_xml"),
    "unbound_prefix": ("<nobody:message/>", "not-well-formed", "malformed_xml"),
    "forbidden_character": (
        "<message><body>\x01</body></message>", "not-well-formed", "malformed_xml"),
    "character_reference": (
        "<message><body>&#0;</body></message>", "not-well-formed", "malformed_xml"),
    "text_outside": ("hello?", "bad-format", "malformed_xml"),
    "not_utf8": (
        b"<message><body>\xff\xfe</body></message>", "unsupported-encoding", "malformed_xml"),
    "overlong_utf8": (
        b"<message><body>\xc0\xaf</body></message>", "unsupported-encoding", "malformed_xml"),
}


@pytest.fixture(params=["before_login", "after_login"])
def stream(request, server):
    """A stream over TLS, in both states."""
    if request.param == "before_login":
        client = RawClient.secure(server)
    else:
        client = RawClient.logged_in(server, request.getfixturevalue("person")())
    with client:
        yield client


@pytest.mark.parametrize("bad", BAD_XML.values(), ids=BAD_XML.keys())
def test_bad_xml_ends_the_stream(server, stream, bad):
    """RFC 6120 sections 11.1 to 11.6 and 4.9.3."""
    text, condition, reason = bad
    before = server.refusals(reason)
    stream.send(text)
    received = stream.stream_error()
    # RFC 3629 section 10 leaves the choice between the two names for bytes that are no UTF-8.
    assert received == condition or (
        condition == "unsupported-encoding" and received == "not-well-formed")
    assert server.refusals(reason) == before + 1


def test_bad_xml_before_tls(server):
    """RFC 6120 section 11: in clear the same rules hold."""
    with RawClient.plain(server) as client:
        client.send("<!DOCTYPE a>")
        assert client.stream_error() == "restricted-xml"


@pytest.mark.parametrize(
    "stanza",
    [
        "<message><body>" + "x" * 300_000 + "</body></message>",
        "<message to='" + "x" * 300_000 + "'/>",
        "<message>" + "<a/>" * 80_000 + "</message>",
    ],
    ids=["text", "attribute", "children"],
)
def test_an_oversized_stanza_ends_the_stream(server, stream, stanza):
    """RFC 6120 section 13.12: policy-violation, which reaches the client although it still
    sends."""
    before = server.refusals("xml_limit")
    try:
        stream.send(stanza)
    except OSError:
        # The server may close before it has everything; its last words are still to be read.
        pass
    assert stream.stream_error() == "policy-violation"
    assert server.refusals("xml_limit") == before + 1


def test_before_login_little_is_allowed(server):
    """RFC 6120 section 13.12: 16 KiB are enough to log in."""
    before = server.refusals("xml_limit")
    with RawClient.secure(server) as client:
        client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
                    + "A" * 20_000 + "</auth>")
        assert client.stream_error() == "policy-violation"
    assert server.refusals("xml_limit") == before + 1


def test_an_endless_stanza_ends_at_the_limit(server, person):
    """RFC 6120 section 13.12: the server does not wait for the end of what is too large."""
    before = server.refusals("xml_limit")
    with RawClient.logged_in(server, person()) as client:
        client.send("<message><body>")
        for _ in range(20):
            client.send("x" * 16_384)
        assert client.stream_error() == "policy-violation"
    assert server.refusals("xml_limit") == before + 1


def test_too_deep_nesting_ends_the_stream(server, stream):
    """RFC 6120 section 13.12: a depth that no stanza needs."""
    before = server.refusals("xml_limit")
    stream.send("<message>" + "<a>" * 100)
    assert stream.stream_error() == "policy-violation"
    assert server.refusals("xml_limit") == before + 1


@pytest.mark.parametrize("make", ["plain", "secure"])
@pytest.mark.parametrize(
    "stanza",
    [
        "<message to='admin@example.test'><body>let me in</body></message>",
        "<presence/>",
        "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    ],
    ids=["message", "presence", "roster", "bind"],
)
def test_a_stanza_before_login_ends_the_stream(server, make, stanza):
    """RFC 6120 section 4.9.3.12: not-authorized."""
    before = server.refusals("before_authentication")
    with getattr(RawClient, make)(server) as client:
        client.send(stanza)
        assert client.stream_error() == "not-authorized"
    assert server.refusals("before_authentication") == before + 1


def test_a_stanza_before_binding_ends_the_stream(server, person):
    """RFC 6120 section 7.1: not-authorized."""
    with RawClient.secure(server) as client:
        client.log_in(person())
        client.send("<presence/>")
        assert client.stream_error() == "not-authorized"


@pytest.mark.parametrize(
    "header, condition",
    [
        ("<stream:stream to='example.test' version='1.0' xmlns='jabber:server'"
         " xmlns:stream='http://etherx.jabber.org/streams'>", "invalid-namespace"),
        ("<stream:stream to='example.test' version='1.0' xmlns='jabber:client'"
         " xmlns:stream='urn:example:other'>", "invalid-namespace"),
        ("<stream:stream to='elsewhere.test' version='1.0' xmlns='jabber:client'"
         " xmlns:stream='http://etherx.jabber.org/streams'>", "host-unknown"),
        ("<stream:stream to='example.test' version='0.9' xmlns='jabber:client'"
         " xmlns:stream='http://etherx.jabber.org/streams'>", "unsupported-version"),
        ("<stream:stream to='example.test' xmlns='jabber:client'"
         " xmlns:stream='http://etherx.jabber.org/streams'>", "unsupported-version"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><stream:stream to='example.test'"
         " version='1.0' xmlns='jabber:client'"
         " xmlns:stream='http://etherx.jabber.org/streams'>", "unsupported-encoding"),
        ("GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", None),
    ],
    ids=["content", "stream", "domain", "version", "no_version", "encoding", "http"],
)
def test_a_bad_stream_header_is_answered_by_a_header_and_an_error(server, header, condition):
    """RFC 6120 sections 4.7, 4.8 and 4.9.1.2."""
    with RawClient(server.ports["client"]) as client:
        client.send(header)
        text = client.read_to_end()
    assert text.startswith("<?xml version='1.0'?><stream:stream "), text
    assert "<stream:error><" in text and text.endswith("</stream:stream>"), text
    if condition:
        assert f"<stream:error><{condition} " in text


def test_an_invalid_sender_ends_the_stream(server, person):
    """RFC 6120 section 8.1.2.1: nobody writes in the name of another."""
    with RawClient.logged_in(server, person()) as client:
        client.send("<message from='admin@example.test' to='admin@example.test'/>")
        assert client.stream_error() == "invalid-from"


def test_an_unknown_stanza_ends_the_stream(server, person):
    """RFC 6120 section 4.9.3.24."""
    before = server.refusals("stream_error")
    with RawClient.logged_in(server, person()) as client:
        client.send("<telegram/>")
        assert client.stream_error() == "unsupported-stanza-type"
    assert server.refusals("stream_error") == before + 1


@pytest.mark.parametrize(
    "stanza, condition",
    [
        ("<message to='a@b@c'><body>x</body></message>", "jid-malformed"),
        ("<message to='&lt;@example.test'><body>x</body></message>", "jid-malformed"),
        ("<iq type='get' id='1'/>", "bad-request"),
        ("<iq type='ask' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
        ("<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
        ("<presence type='nonsense' to='example.test'/>", "bad-request"),
        ("<presence><priority>1000</priority></presence>", "bad-request"),
    ],
    ids=["two_ats", "bad_character", "no_payload", "iq_type", "no_id", "presence", "priority"],
)
def test_a_bad_stanza_is_answered_and_the_stream_goes_on(server, person, stanza, condition):
    """RFC 6120 section 8.3: a stanza error, not a stream error."""
    with RawClient.logged_in(server, person()) as client:
        client.send(stanza)
        answer = client.read_through("</(message|iq|presence)>")
        assert f"<{condition} " in answer, answer
        client.expect_answer()
