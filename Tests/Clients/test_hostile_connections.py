"""Connections that are slow, many or never read (RFC 6120 section 13.12)."""

import asyncio
import os
import socket

from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import arrives, eventually


def test_who_does_not_log_in_in_time_is_closed(make_server):
    """RFC 6120 section 4.9.3.3: connection-timeout, with or without TLS, silent or slow."""
    kinglet = make_server(settings={"limits.negotiation": "1s"}).start()
    with RawClient(kinglet.ports["client"]) as silent, RawClient.plain(kinglet) as idle, \
            RawClient.secure(kinglet) as secure:
        assert silent.stream_error() == "connection-timeout"
        assert idle.stream_error() == "connection-timeout"
        assert secure.stream_error() == "connection-timeout"
    assert kinglet.refusals("negotiation_timeout") == 3


def test_abandoned_handshakes_harm_nobody(make_server):
    """XEP-0368, RFC 6120 section 5.4.3: whoever connects and never completes TLS, be it a port
    scanner, is closed in time, and the server lives on."""
    kinglet = make_server(users=USERS, settings={"limits.negotiation": "1s"}).start()
    tls_port = kinglet.ports["client_tls"]
    with RawClient.logged_in(kinglet, ROMEO) as romeo, \
            RawClient(tls_port) as scanner, RawClient(tls_port) as half_closed, \
            RawClient(tls_port), RawClient(tls_port) as partial, \
            RawClient.plain(kinglet) as proceeding, RawClient.plain(kinglet) as leaving:
        scanner.connection.close()
        half_closed.connection.shutdown(socket.SHUT_WR)
        # The first bytes of a ClientHello.
        partial.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        for client in (proceeding, leaving):
            client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            client.read_through("<proceed[^>]*>")
        leaving.connection.close()
        kinglet.becomes(1, "kinglet_connections")
        romeo.expect_answer()


def test_a_login_may_not_trickle(make_server):
    """RFC 6120 section 4.9.3.3: single bytes do not buy more time."""
    kinglet = make_server(settings={"limits.negotiation": "1s"}).start()
    with RawClient.secure(kinglet) as client:
        client.connection.settimeout(0.1)
        client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>")

        def closed():
            try:
                client.send("A")
                return not client._chunk()
            except (AssertionError, OSError) as error:
                return isinstance(error, OSError)

        eventually(closed, "the end of a connection that trickles")
    assert kinglet.refusals("negotiation_timeout") == 1


def test_a_stanza_that_never_ends_is_closed(make_server):
    """RFC 6120 section 13.12: one that was begun has to be finished in time; a client that is
    merely silent may stay."""
    kinglet = make_server(users=USERS, settings={"limits.negotiation": "1s"}).start()
    with RawClient.logged_in(kinglet, ROMEO) as quiet, \
            RawClient.logged_in(kinglet, JULIET) as slow:
        slow.send("<message><body>to be continued")
        assert slow.stream_error() == "policy-violation"
        assert kinglet.refusals("stanza_timeout") == 1
        quiet.expect_answer()


async def test_others_chat_on_while_200_connections_send_garbage(connect, server, person):
    """RFC 6120 section 13.12: bad clients harm themselves alone, and leave nothing behind."""
    romeo, juliet = await connect(person()), await connect(person())
    reasons = ("tls_failure", "malformed_xml", "restricted_xml", "xml_limit")
    before = sum(server.refusals(reason) for reason in reasons)
    open_before = server.metric("kinglet_connections")

    async def harass(number):
        port = server.ports["client_tls" if number % 2 else "client"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"\x00" + os.urandom(3000))
            writer.write_eof()
            while await reader.read(65_536):
                pass
        except OSError:
            # The server may be faster than the writer.
            pass
        finally:
            writer.close()

    async def converse():
        for number in range(100):
            romeo.send_message(mto=juliet.boundjid, mbody=f"line {number}")
            assert (await juliet.next_message())["body"] == f"line {number}"

    await arrives(
        asyncio.gather(converse(), *(harass(number) for number in range(200))),
        "the end of the noise", timeout=60)
    eventually(
        lambda: sum(server.refusals(reason) for reason in reasons) == before + 200,
        "200 refusals are counted")
    server.becomes(open_before, "kinglet_connections")


async def test_a_client_that_does_not_read_is_closed(make_server):
    """RFC 6120 section 4.9.3.17: what waits for it is bounded, and the others do not notice."""
    kinglet = make_server(users=USERS, settings={"limits.outgoing_queue": "64KiB"}).start()
    with RawClient(kinglet.ports["client_tls"]) as deaf, \
            RawClient.logged_in(kinglet, ROMEO) as romeo:
        deaf.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.begin_tls_trusting(kinglet)
        deaf.open_stream()
        deaf.log_in(JULIET)
        deaf.bind("deaf")
        deaf.send("<presence/>")
        deaf.read_through("<presence[^>]*>")
        message = (
            "<message to='juliet@example.test/deaf' type='headline'><body>"
            + "x" * 200_000 + "</body></message>")

        def refused():
            romeo.send(message)
            return kinglet.refusals("slow_reader") == 1

        eventually(refused, "the end of a client that does not read")
        romeo.expect_answer()


def test_too_many_connections_are_not_accepted(make_server):
    """RFC 6120 section 13.12: at the limit, new ones are closed and counted, until one leaves."""
    kinglet = make_server(settings={"limits.connections": "3"}).start()
    clients = [RawClient.plain(kinglet) for _ in range(3)]
    with RawClient(kinglet.ports["client"]) as refused:
        assert refused.read_to_end() == ""
    assert kinglet.refusals("connections") == 1
    clients.pop().connection.close()
    kinglet.becomes(2, "kinglet_connections")
    with RawClient.plain(kinglet) as accepted:
        assert "<starttls" in accepted.features
    for client in clients:
        client.connection.close()


def test_too_many_resources_are_refused(make_server):
    """RFC 6120 section 7.6.2.1: resource-constraint, and the stream may try again."""
    kinglet = make_server(users=USERS, settings={"limits.resources": "1"}).start()
    with RawClient.logged_in(kinglet, ROMEO, "first") as first, RawClient.secure(kinglet) as second:
        second.log_in(ROMEO)
        second.send(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert "<resource-constraint" in second.read_through("</iq>")
        assert kinglet.refusals("resources") == 1
        first.send("</stream:stream>")
        first.read_to_end()
        assert second.bind("second") == "romeo@example.test/second"


def test_too_many_failed_logins_close_the_connection(make_server):
    """RFC 6120 section 6.4.5: policy-violation after so many attempts."""
    kinglet = make_server(
        users=USERS, settings={"limits.login_attempts": "2", "limits.login_delay": "0s"}).start()
    with RawClient.secure(kinglet) as client:
        assert client.authenticate("PLAIN", b"\0romeo\0guess") == "not-authorized"
        assert client.authenticate("PLAIN", b"\0romeo\0guess again") == "not-authorized"
        assert client.stream_error() == "policy-violation"
    assert kinglet.refusals("login_attempts") == 1
