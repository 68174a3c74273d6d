"""Name servers that answer as none should, and names that lead where no server of a stranger's is
(RFC 6120 section 3.2, RFC 1035; what is called rebinding, and forged requests within a network)."""

import contextlib
import socket

import pytest

from name_server import GARBAGE, REFUSED, SERVFAIL, SILENCE
from server_peer import ask, chat, peer_world, refusal

GIVEN_UP, LATER = "remote-server-not-found", "remote-server-timeout"


def fails(peers, romeo, domain, reason, condition):
    """A request goes back; the failure is counted and logged once; what the sender is told."""
    with peers.failure("out", reason):
        ask(romeo, domain)
        found, text = refusal(romeo)
    assert found == condition, text
    assert domain in text, text
    assert len(peers.lines(domain)) == 1, peers.lines(domain)
    romeo.expect_answer()
    return text


def test_name_servers_that_do_not_help(peers, romeo):
    """RFC 1035 section 4.1.1: that is no word on whether the domain exists, so requests go back for
    now and messages wait; others are looked up meanwhile."""
    answers = {
        SILENCE: "dns_timeout", GARBAGE: "dns_timeout", SERVFAIL: "dns_failure",
        REFUSED: "dns_failure"}
    names = {answer: peers.name() for answer in answers}
    eve = peers.domain().listen()
    with peers.failure("out", "dns_timeout", 2), peers.failure("out", "dns_failure", 2):
        for answer, name in names.items():
            peers.names.answers[f"_xmpp-server._tcp.{name}"] = answer
            peers.names.answers[f"_xmpps-server._tcp.{name}"] = answer
            ask(romeo, name)
        chat(romeo, eve.user, "meanwhile")
        with eve.accept() as stream:
            assert stream.body() == "meanwhile"
            stream.acknowledge(1)
        texts = [refusal(romeo) for _ in answers]
    assert {condition for condition, _ in texts} == {LATER}
    for answer, name in names.items():
        assert sum(name in text for _, text in texts) == 1
        assert len(peers.lines(name)) == 1, peers.lines(name)
    chat(romeo, f"eve@{names[SERVFAIL]}", "in the end")
    with peers.domain(names[SERVFAIL]).listen().accept() as stream:
        assert stream.body() == "in the end"
        stream.acknowledge(1)
    peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")


def test_a_domain_that_does_not_exist(peers, romeo):
    text = fails(peers, romeo, peers.name(), "no_such_domain", GIVEN_UP)
    assert "does not exist" in text


@pytest.mark.parametrize("service", [True, False], ids=["of the service", "of the host"])
def test_aliases_in_a_loop(peers, romeo, service):
    """RFC 1034 section 3.6.2: a loop ends in an error, and not in questions without end."""
    name = peers.name()
    if service:
        peers.names.loop(f"_xmpp-server._tcp.{name}", f"other.{name}")
    else:
        peers.publish(name, 5269)
        peers.names.loop(f"xmpp.{name}", f"other.{name}")
        peers.names.answers[f"xmpp.{name}", "A"] = peers.names.answers[f"xmpp.{name}"]
        peers.names.answers[f"xmpp.{name}", "AAAA"] = peers.names.answers[f"xmpp.{name}"]
    ask(romeo, name)
    condition, text = refusal(romeo)
    assert condition in (GIVEN_UP, LATER) and name in text
    asked = sum(name in question for question, _ in peers.names.questions)
    assert asked <= 12, peers.names.questions
    romeo.expect_answer()


# Addresses


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A Kinglet on a machine with a public address, which everybody's names may lead to."""
    with peer_world(
            tmp_path_factory.mktemp("strict"),
            {"federation.allow_private_addresses": "false"}) as world:
        yield world


class Trap:
    """Listens at one port of everything that is this machine, and hears of nobody."""

    def __init__(self):
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._sockets[0].getsockname()[1]
        with contextlib.suppress(OSError):
            self._sockets.append(
                socket.create_server(("::1", self.port), family=socket.AF_INET6))

    def is_untouched(self):
        for trap in self._sockets:
            trap.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                trap.accept()[0].close()
                return False
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for trap in self._sockets:
            trap.close()


ADDRESSES = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0",
    "169.254.169.254", "224.0.0.1", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1", "fd00::1", "fec0::1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_no_stranger_may_lead_to(strict, address):
    """federation.allow_private_addresses is off: not a packet goes there, whichever form it has."""
    with Trap() as trap, strict.romeo() as romeo:
        name = strict.name()
        strict.publish(name, trap.port, address)
        text = fails(strict, romeo, name, "forbidden_address", GIVEN_UP)
        assert address in text or "127.0.0.1" in text or "169.254" in text, text
        assert trap.is_untouched()


@pytest.mark.parametrize("domain", ["127.0.0.1", "[::1]", "10.0.0.1", "169.254.169.254"])
def test_a_domain_that_is_such_an_address(strict, domain):
    """RFC 6120 section 3.2: no name server is asked for it, and nothing is sent."""
    with Trap() as trap, strict.romeo() as romeo:
        ask(romeo, domain)
        assert refusal(romeo)[0] == GIVEN_UP
        assert trap.is_untouched()


def test_a_name_that_leads_elsewhere_the_second_time(strict):
    """Rebinding: each attempt looks at the addresses that it goes to, and each address counts for
    itself."""
    with Trap() as trap, strict.romeo() as romeo:
        name = strict.name()
        # A public one that leads nowhere, among others.
        strict.publish(name, trap.port, "2001:db8::1", "::1", "127.0.0.1")
        target = f"xmpp.{name}"
        for kind in ("A", "AAAA"):
            strict.names.answers[target, kind] = [
                (*record, 0) for record in strict.names.answers[target, kind]]
        ask(romeo, name)
        assert "not on the internet" not in refusal(romeo)[1]
        strict.publish(name, trap.port, "127.0.0.1")
        chat(romeo, f"eve@{name}", "where to?")
        condition, text = refusal(romeo, "message")
        assert condition == GIVEN_UP and "127.0.0.1" in text
        assert trap.is_untouched()


def test_thousands_of_names_that_do_not_exist(peers, romeo):
    """RFC 6120 section 13.12: whoever writes to made-up domains costs no memory for long."""
    number = 2000
    with peers.bounded_memory(8), peers.juliet() as juliet:
        for index in range(number):
            juliet.send(
                f"<iq type='get' id='n{index}' to='n{index}.nowhere.example'>"
                "<ping xmlns='urn:xmpp:ping'/></iq>")
        romeo.expect_answer()
        for _ in range(number):
            assert "not-found" in juliet.read_through("</iq>")
