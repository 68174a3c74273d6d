"""STARTTLS and TLS as nobody should use them (RFC 6120 section 5, RFC 7590, XEP-0368)."""

import socket
import ssl

import pytest

from raw_client import RawClient, trusting
from waiting import eventually


def test_a_password_in_clear_is_refused(server):
    """RFC 6120 section 13.8.1, RFC 4616: no mechanism without TLS, encryption-required for who
    tries."""
    with RawClient.plain(server) as client:
        assert "<mechanism" not in client.features
        assert "<required" in client.features
        assert client.authenticate("PLAIN", b"\0romeo\0wherefore") == "encryption-required"


def test_what_follows_starttls_in_clear_is_not_believed(server):
    """RFC 6120 section 5.4.3.3: bytes behind <starttls/> are dropped, not read as if TLS had
    protected them."""
    with RawClient.plain(server) as client:
        injected = (
            client.header()
            + "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>")
        client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + injected)
        assert client.read_through("/>").startswith("<proceed")
        client.begin_tls(trusting(server))
        client.open_stream()
        assert "failure" not in client.features
        # The answer to the first request is to the first request.
        assert client.authenticate("MADE-UP", b"x") == "invalid-mechanism"


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"<?xml version='1.0'?>", bytes(200), b"\x16\x03\x01" * 99],
    ids=["http", "xml", "zeros", "half_tls"])
def test_garbage_on_the_tls_port(server, garbage):
    """XEP-0368: what is not TLS is closed and counted."""
    before = server.refusals("tls_failure")
    with RawClient(server.ports["client_tls"]) as client:
        client.send(garbage)
        client.connection.shutdown(socket.SHUT_WR)
        client.read_raw_end()
    eventually(lambda: server.refusals("tls_failure") == before + 1, "a TLS failure is counted")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(server, version):
    """RFC 8996: TLS 1.2 at least."""
    context = trusting(server)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    before = server.refusals("tls_failure")
    with RawClient(server.ports["client_tls"]) as client:
        with pytest.raises(ssl.SSLError):
            client.begin_tls(context)
    eventually(lambda: server.refusals("tls_failure") == before + 1, "a TLS failure is counted")


def test_starttls_twice_is_refused(server):
    """RFC 6120 section 5.3.4: under TLS there is no STARTTLS, and no client that insists."""
    with RawClient.secure(server) as client:
        assert "starttls" not in client.features
        client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        assert "<failure" in client.read_to_end()


def test_the_stream_starts_anew_under_tls(server):
    """RFC 6120 section 5.4.3.3: with another identifier, and with mechanisms."""
    with RawClient.plain(server) as client:
        before = client.features
        client.start_tls(trusting(server))
        client.open_stream()
        assert "<mechanism>" in client.features
        identifiers = [text.partition(" id=")[2][:20] for text in (before, client.features)]
        assert identifiers[0] != identifiers[1]


def test_application_protocol_of_xmpp_is_chosen(server):
    """XEP-0368 section 2: ALPN xmpp-client is accepted, others alone are not."""
    context = trusting(server)
    context.set_alpn_protocols(["h2", "xmpp-client"])
    with RawClient.secure(server, context) as client:
        assert client.connection.selected_alpn_protocol() == "xmpp-client"
    context = trusting(server)
    context.set_alpn_protocols(["h2"])
    with RawClient(server.ports["client_tls"]) as client:
        with pytest.raises(ssl.SSLError, match="(?i)alert no application protocol"):
            client.begin_tls(context)


def test_a_session_is_resumed_by_ticket(server):
    """RFC 8446 section 2.2: a client that comes back need not do the whole handshake."""
    context = trusting(server)
    with RawClient.secure(server, context) as client:
        session = client.connection.session
        assert session.has_ticket
    with RawClient(server.ports["client_tls"]) as client:
        client.connection = context.wrap_socket(
            client.connection, server_hostname=client.domain, session=session)
        client.open_stream()
        assert client.connection.session_reused


def test_each_domain_gets_its_certificate(server):
    """RFC 6066 section 3: the name asked for is in the certificate that comes."""
    for domain, ascii_domain in (
        ("example.test", "example.test"), ("münchen.test", "xn--mnchen-3ya.test"),
    ):
        with RawClient.secure(server, domain=domain) as client:
            names = [name for _, name in client.connection.getpeercert()["subjectAltName"]]
            assert ascii_domain in names
