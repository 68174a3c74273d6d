"""Logins of a stock client: mechanisms, TLS versions, refusals (RFC 6120 sections 5 to 7)."""

import ssl
import time

import pytest

from people import ROMEO, USERS, Person
from stock_client import LoginRefused, StockClient

TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
TLS_NAMES = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}
PLUS = {"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"}
MECHANISMS = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]


@pytest.mark.parametrize("direct_tls", [False, True], ids=["starttls", "direct_tls"])
@pytest.mark.parametrize("tls_version", TLS_VERSIONS, ids=TLS_NAMES.get)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
async def test_login_over_every_way(connect, server, person, mechanism, tls_version, direct_tls):
    """RFC 6120 sections 5 and 6, XEP-0368: the mechanism and the TLS version asked for are the
    ones used, while -PLUS is offered, and both are counted."""
    label = dict(mechanism=mechanism, result="success")
    before = server.metric("kinglet_logins_total", **label)
    client = await connect(
        person(), mechanism=mechanism, tls_version=tls_version, direct_tls=direct_tls)
    assert client.used_mechanism == mechanism
    assert client.negotiated_tls == TLS_NAMES[tls_version]
    assert PLUS <= client.offered_mechanisms
    assert server.metric("kinglet_logins_total", **label) == before + 1
    assert server.metric(
        "kinglet_connections", tls=TLS_NAMES[tls_version],
        type="c2s_direct_tls" if direct_tls else "c2s") >= 1


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_every_mechanism_works(connect, person, mechanism):
    """RFC 5802, RFC 7677, RFC 4616: each mechanism that a stock client may choose."""
    client = await connect(person(), mechanism=mechanism)
    assert client.used_mechanism == mechanism


async def test_the_client_chooses_scram(connect, person):
    """RFC 6120 section 6.3.3: left to itself, a stock client takes the strongest it can."""
    client = await connect(person())
    assert client.used_mechanism == "SCRAM-SHA-512"


@pytest.mark.parametrize("tls_version", TLS_VERSIONS, ids=TLS_NAMES.get)
async def test_the_client_chooses_for_itself_with_default_limits(
    connect, make_server, tls_version
):
    """RFC 5802 section 6: over TLS 1.2 slixmpp tries -PLUS with tls-unique, which is not offered,
    and falls back; the default limits leave room for that."""
    kinglet = make_server(users=USERS).start()
    client = await connect(ROMEO, on=kinglet, tls_version=tls_version)
    assert client.negotiated_tls == TLS_NAMES[tls_version]
    assert client.used_mechanism.startswith("SCRAM-SHA-")


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
async def test_a_wrong_password_is_refused(connect, server, person, mechanism):
    """RFC 6120 section 6.5.10: not-authorized; the server then takes the right one."""
    romeo = person()
    before = server.metric("kinglet_logins_total", mechanism=mechanism, result="not_authorized")
    with pytest.raises(LoginRefused) as refused:
        await connect(Person(romeo.name, romeo.domain, "not it"), mechanism=mechanism)
    assert set(refused.value.args) == {"not-authorized"}
    assert server.metric(
        "kinglet_logins_total", mechanism=mechanism, result="not_authorized") == before + 1
    assert (await connect(romeo, mechanism=mechanism)).is_connected()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
async def test_an_unknown_user_looks_like_a_wrong_password(connect, server, mechanism):
    """RFC 6120 section 6.5.10: nobody can find out which accounts exist."""
    with pytest.raises(LoginRefused) as refused:
        await connect(Person("nobody", server.domain, "not it"), mechanism=mechanism)
    assert set(refused.value.args) == {"not-authorized"}


async def test_failed_logins_slow_down(connect, make_server):
    """RFC 6120 section 6.4.5: each guess waits longer for its turn: not at all, 0.1 s, 0.2 s, 0.4 s."""
    kinglet = make_server(users=USERS).start()
    for delay in (0, 0.1, 0.2, 0.4):
        began = time.monotonic()
        with pytest.raises(LoginRefused):
            await connect(
                Person(ROMEO.name, ROMEO.domain, "not it"), on=kinglet, mechanism="SCRAM-SHA-1")
        # Longer is no failure, shorter is.
        assert time.monotonic() - began >= delay


async def test_a_certificate_of_another_authority_is_not_trusted(make_server, person, server):
    """RFC 6120 section 13.7.2: the clients of this suite really verify the certificate."""
    other = make_server()
    romeo = person()
    client = StockClient(server, romeo.jid, romeo.password)
    client.ssl_context = ssl.create_default_context(cafile=str(other.authority))
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.log_in()
    await client.leave()


async def test_a_domain_with_an_umlaut(connect, server):
    """RFC 7622 section 3.2, RFC 6125: its certificate names the A-label, its JIDs the U-label."""
    server.add_user("jörg@münchen.test", "Servus Jörg")
    joerg = Person("jörg", "münchen.test", "Servus Jörg")
    client = await connect(joerg)
    assert client.boundjid.bare == "jörg@münchen.test"
    client.send_message(mto="jörg@münchen.test", mbody="Grüß Gott")
    message = await client.next_message()
    assert message["body"] == "Grüß Gott"
    assert message["from"] == client.boundjid


async def test_a_resource_is_bound_as_asked_or_made_up(connect, person):
    """RFC 6120 sections 7.6 and 7.7."""
    romeo = person()
    assert (await connect(romeo, "orchard")).boundjid.resource == "orchard"
    made_up = await connect(romeo)
    assert made_up.boundjid.resource not in ("", "orchard")


async def test_the_newer_of_two_equal_resources_stays(connect, person):
    """RFC 6120 section 7.7.2.2: the older connection ends with a conflict."""
    romeo = person()
    older = await connect(romeo, "orchard")
    newer = await connect(romeo, "orchard")
    assert (await older.next_stream_error())["condition"] == "conflict"
    await newer.settled()
    newer.send_message(mto=romeo.jid, mbody="still here")
    assert (await newer.next_message())["body"] == "still here"
