"""Certificates of a public authority: used, and replaced while sessions go on (SIGHUP)."""

import signal

import pytest
from OpenSSL import SSL

from bound_client import BoundClient
from certificates import Authority
from people import ROMEO
from raw_client import RawClient


@pytest.fixture
def public(make_server, tmp_path):
    """A server with a certificate of an authority that is not its own."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("example.test")
    kinglet = make_server(
        users={ROMEO.jid: ROMEO.password},
        settings={"tls.certificate": certificate, "tls.key": key})
    # What clients of this server trust.
    kinglet.authority.write_bytes(authority.file.read_bytes())
    kinglet.start()
    return kinglet, authority


def serial_of(kinglet):
    with RawClient.secure(kinglet) as client:
        return client.connection.getpeercert()["serialNumber"]


def test_a_new_certificate_is_for_new_connections(public):
    """Old sessions go on; the metric has the new certificate's end."""
    kinglet, authority = public
    old = serial_of(kinglet)
    end = kinglet.metric("kinglet_certificate_expiry_timestamp_seconds", domain="example.test")
    assert end > 0
    with RawClient.logged_in(kinglet, ROMEO) as session:
        authority.issue("example.test")
        kinglet.signal(signal.SIGHUP)
        kinglet.log.line_with("certificates: read again")
        new = serial_of(kinglet)
        assert new != old
        session.expect_answer()
        assert session.connection.getpeercert()["serialNumber"] == old
    assert kinglet.json("status")["certificates"][0]["localAuthority"] is False


def test_a_broken_certificate_changes_nothing(public):
    """The old one stays in use, and the log says what is wrong with which file."""
    kinglet, authority = public
    old = serial_of(kinglet)
    (authority.directory / "example.test.crt").write_text("nothing of the kind\n")
    kinglet.signal(signal.SIGHUP)
    assert "example.test.crt" in kinglet.log.line_with("nothing changed")
    assert serial_of(kinglet) == old


def test_the_end_point_is_that_of_the_certificate_shown(public):
    """RFC 5929 section 4: a connection is bound to the certificate that it was made with, also
    after another one has come into use."""
    kinglet, authority = public
    with BoundClient.over(kinglet, SSL.TLS1_3_VERSION) as before:
        authority.issue("example.test")
        kinglet.signal(signal.SIGHUP)
        kinglet.log.line_with("certificates: read again")
        with BoundClient.over(kinglet, SSL.TLS1_3_VERSION) as after:
            shown = [client.connection.server_end_point for client in (before, after)]
            assert shown[0] != shown[1]
            assert after.scram(
                "SCRAM-SHA-256-PLUS", ROMEO, "p=tls-server-end-point,,", shown[0]
            ) == "not-authorized"
            for client, binding in zip((before, after), shown):
                assert client.scram(
                    "SCRAM-SHA-256-PLUS", ROMEO, "p=tls-server-end-point,,", binding) == "success"
