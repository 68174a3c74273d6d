"""The network, its name servers and the dialogue by which federation is tested: what they do
without Kinglet."""

import os
import socket
import threading
import time

import aiodns
import pytest

from federation_dialogue import converse
from name_server import SERVFAIL, SILENCE, OddNameServer
from other_servers import Ejabberd, Prosody
from raw_peer import RawPeer
from waiting import LONG

needs_rivals = pytest.mark.skipif(
    "RIVALS" not in os.environ, reason="RIVALS=1 lets the others talk without us")


def reaches(host, address, port, timeout=LONG):
    try:
        host.do(socket.create_connection, (address, port), timeout).close()
        return True
    except OSError:
        return False


def test_packets_between_two_hosts_are_dropped(federation):
    """The others still hear both; and all is well again afterwards."""
    network = federation.network
    one, other, third = (network.host(name) for name in ("one", "other", "third"))
    with other.listen() as listener, other.listen(family=socket.AF_INET6) as listener6:
        port, port6 = (each.getsockname()[1] for each in (listener, listener6))
        assert reaches(one, other.address, port) and reaches(one, other.address6, port6)
        network.cut(one, other)
        assert not reaches(one, other.address, port, 0.3)
        assert not reaches(one, other.address6, port6, 0.3)
        assert reaches(third, other.address, port) and reaches(third, other.address6, port6)
        network.mend(one, other)
        assert reaches(one, other.address, port)
        network.cut(one, other, 6)
        assert reaches(one, other.address, port)
        assert not reaches(one, other.address6, port6, 0.3)
        network.mend(one, other, 6)
        network.unplug(other)
        assert not reaches(one, other.address, port, 0.3)
        network.plug(other)
        assert reaches(one, other.address, port)


def test_a_connection_outlives_an_outage(federation):
    """What was sent meanwhile arrives: packets were dropped, and nothing was refused."""
    network = federation.network
    one, other = network.host("one"), network.host("other")
    with other.listen() as listener:
        with one.do(socket.create_connection, listener.getsockname(), LONG) as sender:
            receiver, _ = listener.accept()
            with receiver:
                receiver.settimeout(0.3)
                network.cut(one, other)
                sender.sendall(b"meanwhile")
                with pytest.raises(TimeoutError):
                    receiver.recv(100)
                network.mend(one, other)
                receiver.settimeout(LONG)
                assert receiver.recv(100) == b"meanwhile"


def test_packets_are_late(federation):
    """A connection takes the cable's delay twice; nothing is lost of what comes after."""
    network = federation.network
    near, far = network.host("near"), network.host("far", delay=0.05)
    with far.listen() as listener:
        for delay in (0.05, 0.2):
            far.cable.delay = delay
            began = time.monotonic()
            sender = near.do(socket.create_connection, listener.getsockname(), LONG)
            assert time.monotonic() - began >= 2 * delay
            receiver, _ = listener.accept()
            with sender, receiver:
                data = os.urandom(100_000)
                threading.Thread(target=sender.sendall, args=(data,), daemon=True).start()
                receiver.settimeout(LONG)
                received = b""
                while len(received) < len(data):
                    received += receiver.recv(65_536)
                assert received == data


async def test_programs_on_a_host_ask_the_name_server_of_the_network(federation):
    """Each host has a resolv.conf of its own; records change while it runs."""
    names, host = federation.name_server, federation.network.host("one")
    names.domain("münchen.example", host)
    names.alias("alias.example", "xmpp.münchen.example")
    names.service("_xmpp-server._tcp.none.example")
    names.reload()
    resolver = aiodns.DNSResolver(nameservers=[names.host.address], timeout=1, tries=2)
    (found,) = (await resolver.query_dns(
        "_xmpp-server._tcp.xn--mnchen-3ya.example", "SRV")).answer
    assert (found.data.target, found.data.port) == ("xmpp.xn--mnchen-3ya.example", 5269)
    (found,) = (await resolver.query_dns(found.data.target, "AAAA")).answer
    assert (found.data.addr, found.ttl) == (host.address6, 60)
    found = (await resolver.query_dns("alias.example", "A")).answer
    assert found[-1].data.addr == host.address
    (found,) = (await resolver.query_dns("_xmpp-server._tcp.none.example", "SRV")).answer
    assert found.data.target in ("", "."), "the service is not there (RFC 2782)"
    with pytest.raises(aiodns.error.DNSError, match="not found"):
        await resolver.query_dns("nobody.example", "A")
    script = "import socket; print(socket.gethostbyname('xmpp.other.example'))"
    names.address("xmpp.other.example", "203.0.113.99")
    names.reload()
    assert host.run(*host.program, "python3", "-c", script).strip() == "203.0.113.99"


async def test_a_name_server_answers_as_nobody_should(federation):
    """Silence, failure, loops, and addresses of the asker's own machine."""
    odd = OddNameServer(federation.network.host("odd"))
    odd.loop("one.example", "two.example")
    odd.answers |= {
        "failing.example": SERVFAIL, "silent.example": SILENCE,
        ("inside.example", "A"): [("inside.example", "A", "127.0.0.1")]}
    resolver = aiodns.DNSResolver(nameservers=[odd.host.address], timeout=0.2, tries=1)
    for name, words in (("failing.example", "general failure"), ("silent.example", "Timeout")):
        with pytest.raises(aiodns.error.DNSError, match=words):
            await resolver.query_dns(name, "A")
    (found,) = (await resolver.query_dns("two.example", "A")).answer
    assert found.data.cname == "one.example"
    (found,) = (await resolver.query_dns("inside.example", "A")).answer
    assert found.data.addr == "127.0.0.1"
    assert ("silent.example", "A") in odd.questions
    odd.stop()


@needs_rivals
@pytest.mark.parametrize(
    "kinds", [(Prosody, Ejabberd), (Ejabberd, Prosody), (Prosody, Prosody), (Ejabberd, Ejabberd)])
async def test_rivals_talk_with_each_other(federation, kinds):
    """So what fails between Kinglet and one of them is not the bench's fault."""
    servers = [
        federation.add(kind, domain)
        for kind, domain in zip(kinds, ("first.example", "second.example"))]
    federation.start()
    await converse(federation.network, *servers)


@needs_rivals
@pytest.mark.parametrize("kind", [Prosody, Ejabberd])
def test_a_peer_by_hand_talks_with_rivals(federation, kind):
    """It gets in with its certificate, and what it asks is answered on a stream of the other's."""
    server = federation.add(kind, "first.example")
    peer = federation.add(RawPeer, "second.example")
    federation.start()
    with peer.logged_in(server) as stream:
        stream.send(
            "<iq type='get' id='ping' from='second.example' to='first.example'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>")
        with peer.accept_logged_in() as answers:
            answer = answers.read_through("<iq[^>]*>")
            assert "result" in answer and "ping" in answer, answer


def gets_in(peer, server):
    try:
        with peer.logged_in(server):
            return True
    except (AssertionError, OSError):
        return False


@needs_rivals
@pytest.mark.parametrize("kind", [Prosody, Ejabberd])
def test_rivals_refuse_bad_certificates(federation, kind):
    """RFC 6120 section 13.7: the certificates of the bench are as bad as they are to be."""
    server = federation.add(kind, "first.example")
    peer = federation.add(RawPeer, "second.example")
    federation.start()
    good, issue = peer.pair, federation.authority
    for bad in (
        issue.expired("second.example", name="expired"),
        issue.self_signed("second.example"),
        issue.issue("third.example"),
        issue.issue("second.example", chain=False, name="no chain"),
    ):
        peer.pair = bad
        assert not gets_in(peer, server), bad
    peer.pair = good
    assert gets_in(peer, server)
