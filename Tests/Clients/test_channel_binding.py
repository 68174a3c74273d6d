"""SCRAM-…-PLUS: the login is bound to the TLS connection (RFC 5802 section 6, RFC 5929,
RFC 9266, XEP-0440)."""

import re

import pytest
from OpenSSL import SSL

from bound_client import BoundClient
from raw_client import RawClient

HASHES = ["1", "256", "512"]
VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}
# RFC 9266 section 3: over TLS 1.2 the exporter is safe only with the extended master secret,
# which pyOpenSSL negotiates.
TYPES = {
    "tls-exporter": lambda client: client.connection.export(b""),
    "tls-server-end-point": lambda client: client.connection.server_end_point,
}


def offered_types(features):
    return set(re.findall(r"<channel-binding type=['\"]([^'\"]+)", features))


@pytest.fixture(params=VERSIONS.values(), ids=VERSIONS.keys())
def client(request, server):
    with BoundClient.over(server, request.param) as client:
        yield client


def test_types_are_advertised(client):
    """XEP-0440 section 2: the client need not guess."""
    assert "urn:xmpp:sasl-cb:0" in client.features
    assert offered_types(client.features) == TYPES.keys()
    for hash_name in HASHES:
        assert f"<mechanism>SCRAM-SHA-{hash_name}-PLUS</mechanism>" in client.features


def test_no_binding_is_offered_in_clear(server):
    """RFC 5802 section 6: there is nothing to bind to."""
    with RawClient.plain(server) as client:
        assert "PLUS" not in client.features
        assert "sasl-cb" not in client.features


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("kind", TYPES)
def test_the_right_binding_is_accepted(client, server, person, kind, hash_name):
    """RFC 5802 section 6: and the session works."""
    mechanism = f"SCRAM-SHA-{hash_name}-PLUS"
    before = server.metric("kinglet_logins_total", mechanism=mechanism, result="success")
    romeo = person()
    assert client.scram(mechanism, romeo, f"p={kind},,", TYPES[kind](client)) == "success"
    client.open_stream()
    assert client.bind("bound") == f"{romeo.jid}/bound"
    assert server.metric(
        "kinglet_logins_total", mechanism=mechanism, result="success") == before + 1


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS.keys())
@pytest.mark.parametrize("context", [b"", None], ids=["empty", "none"])
def test_both_readings_of_an_empty_context_are_accepted(server, person, version, context):
    """RFC 9266 section 2 says zero-length, and RFC 5705 section 4 tells that from none under TLS
    1.2: clients differ, and either proves the same connection."""
    with BoundClient.over(server, version) as client:
        binding = client.connection.export(context)
        assert client.scram(
            "SCRAM-SHA-256-PLUS", person(), "p=tls-exporter,,", binding) == "success"


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("kind", TYPES)
def test_a_wrong_binding_is_refused(client, person, kind, hash_name):
    """RFC 5802 section 5.1: with the right password, over another connection than the server's."""
    romeo = person()
    right = TYPES[kind](client)
    wrong = bytes([right[0] ^ 1]) + right[1:]
    mechanism = f"SCRAM-SHA-{hash_name}-PLUS"
    for binding in (wrong, b"", right + b"\0", bytes(len(right))):
        assert client.scram(mechanism, romeo, f"p={kind},,", binding) == "not-authorized"


def test_the_binding_of_another_connection_is_refused(server, person):
    """RFC 9266 section 2: this is what a man in the middle has."""
    romeo = person()
    with BoundClient.over(server, SSL.TLS1_3_VERSION) as other, \
            BoundClient.over(server, SSL.TLS1_3_VERSION) as client:
        assert client.scram(
            "SCRAM-SHA-256-PLUS", romeo, "p=tls-exporter,,", other.connection.export(b"")
        ) == "not-authorized"


def test_a_downgrade_is_noticed(client, person):
    """RFC 5802 section 6: flag y says that the client saw no -PLUS, but it was offered."""
    romeo = person()
    assert client.scram("SCRAM-SHA-256", romeo, "y,,") == "not-authorized"
    assert client.scram("SCRAM-SHA-256", romeo, "n,,") == "success"


@pytest.mark.parametrize("kind", ["tls-unique", "made-up", "TLS-EXPORTER"])
def test_a_type_that_is_not_offered_is_refused(client, person, kind):
    """RFC 5802 section 6."""
    assert client.scram("SCRAM-SHA-1-PLUS", person(), f"p={kind},,", b"x" * 12) == "not-authorized"


@pytest.mark.parametrize(
    "mechanism, header",
    [("SCRAM-SHA-256-PLUS", "n,,"), ("SCRAM-SHA-256-PLUS", "y,,"),
     ("SCRAM-SHA-256", "p=tls-server-end-point,,")])
def test_flag_and_mechanism_have_to_agree(client, person, mechanism, header):
    """RFC 5802 section 6."""
    assert client.scram(mechanism, person(), header) in ("malformed-request", "not-authorized")


def test_a_wrong_password_with_the_right_binding_is_refused(client, person):
    """RFC 5802 section 5.1."""
    answer = client.scram(
        "SCRAM-SHA-256-PLUS", person(), "p=tls-server-end-point,,",
        client.connection.server_end_point, password="not it")
    assert answer == "not-authorized"


def test_nobody_acts_as_somebody_else(client, person):
    """RFC 6120 section 6.3.8: one's own JID may be spelt out, another's not."""
    romeo, juliet = person(), person()
    assert client.scram("SCRAM-SHA-256", romeo, f"n,a={juliet.jid},") == "invalid-authzid"
    assert client.scram("SCRAM-SHA-256", romeo, f"n,a={romeo.jid},") == "success"
