"""`kinglet federation test` tells the truth: prepared kinds of failure, each with the step and the
reason that it has to name (the table in firmware-notes/federation.md)."""

import contextlib
import json
import threading
from typing import NamedTuple

import pytest

from federated_kinglet import FederatedKinglet
from name_server import SERVFAIL, SILENCE, OddNameServer
from raw_peer import EXTERNAL, RawPeer

OURS = "ours.example"
XMPP_SERVICE = "_xmpp-server._tcp."


class Case(NamedTuple):
    """What `prepare` makes of a domain, and what the test has to say of it."""

    reason: str
    step: str
    prepare: object = None
    # What the other server does with a connection.
    answer: object = None


def log_in(peer, stream):
    stream.take_tls()
    stream.take_log_in()


def keep_silent(peer, stream):
    """The ping comes, and nothing goes back."""
    log_in(peer, stream)
    stream.read_through("<ping[^>]*>")
    # Until the test ends the stream.
    stream.read_through("</stream:stream>")


def refuse_log_in(peer, stream):
    stream.take_tls()
    stream.take_header()
    stream.offer(EXTERNAL)
    stream.read_through("(</auth>|<auth[^>]*/>)")
    stream.send(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/>"
        "<text>in \u009b31mred \u202eeman</text>"
        "</failure></stream:stream>")


def offer_no_tls(peer, stream):
    stream.take_header()
    stream.offer(EXTERNAL)
    with contextlib.suppress(AssertionError, OSError):
        stream.read_through("</stream:stream>")


def end_with_an_error(peer, stream):
    log_in(peer, stream)
    stream.send(
        "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        "</stream:error></stream:stream>")


def known(bench, domain, address=None):
    """The domain itself has an address, and no SRV records."""
    bench.names.answers[domain, "A"] = [(domain, "A", address or bench.host(domain).address)]
    bench.names.answers[domain, "AAAA"] = []


def silent_names(bench, domain):
    for name in (domain, f"_xmpps-server._tcp.{domain}", XMPP_SERVICE + domain):
        bench.names.answers[name] = SILENCE


def failing_names(bench, domain):
    for name in (domain, f"_xmpps-server._tcp.{domain}", XMPP_SERVICE + domain):
        bench.names.answers[name] = SERVFAIL


def no_service(bench, domain):
    """RFC 2782: the target "."."""
    known(bench, domain)
    bench.names.answers[XMPP_SERVICE + domain] = [
        (XMPP_SERVICE + domain, "SRV", (0, 0, 0, ""))]


def no_address(bench, domain):
    bench.names.answers[XMPP_SERVICE + domain] = [
        (XMPP_SERVICE + domain, "SRV", (0, 0, 5269, f"xmpp.{domain}"))]
    bench.names.answers[f"xmpp.{domain}"] = []


def private(bench, domain):
    known(bench, domain, "192.168.7.7")


def loopback(bench, domain):
    known(bench, domain, "127.0.0.1")


def nobody_listens(bench, domain):
    known(bench, domain)


def black_hole(bench, domain):
    known(bench, domain)
    bench.network.cut(bench.kinglet.host, bench.host(domain))


def peer(make_pair=lambda authority, domain: authority.issue(domain)):
    def prepare(bench, domain):
        bench.peer(domain, make_pair(bench.authority, domain))

    return prepare


def second(make_pair=lambda authority, domain: authority.issue(domain)):
    """The peer is the second server of its domain; where the first should be, nobody listens."""
    def prepare(bench, domain):
        peer(make_pair)(bench, domain)
        service, target = XMPP_SERVICE + domain, f"xmpp.{domain}"
        known(bench, target, bench.peers[domain].address)
        bench.names.answers[service] = [
            (service, "SRV", (0, 0, 1, target)), (service, "SRV", (1, 0, 5269, target))]

    return prepare


def revoked(authority, domain):
    pair = authority.issue(domain)
    authority.revoke(pair)
    return pair


def forbidden(bench, domain):
    known(bench, domain)
    bench.kinglet.command("federation", "deny", domain)


def one_way(bench, domain):
    peer()(bench, domain)
    bench.kinglet.command("federation", "deny", domain, "--in")


WITHOUT_STREAMS = {
    "no-such-domain": Case("no_such_domain", "dns"),
    "dns-timeout": Case("dns_timeout", "dns", silent_names),
    "dns-failure": Case("dns_failure", "dns", failing_names),
    "no-service": Case("no_service", "dns", no_service),
    "no-address": Case("no_address", "addresses", no_address),
    "private": Case("forbidden_address", "addresses", private),
    "loopback": Case("forbidden_address", "addresses", loopback),
    "refused": Case("connection_refused", "connection", nobody_listens),
    "black-hole": Case("connection_timeout", "connection", black_hole),
    "policy": Case("policy", "policy", forbidden),
}
WITH_STREAMS = {
    "no-tls": Case("no_tls", "tls", peer(), offer_no_tls),
    "expired": Case(
        "certificate_expired", "certificate", peer(lambda authority, d: authority.expired(d)),
        log_in),
    "self-signed": Case(
        "certificate_self_signed", "certificate",
        peer(lambda authority, d: authority.self_signed(d)), log_in),
    "no-chain": Case(
        "certificate_untrusted", "certificate",
        peer(lambda authority, d: authority.issue(d, chain=False)), log_in),
    "wrong-name": Case(
        "certificate_wrong_name", "certificate",
        peer(lambda authority, d: authority.issue("other.example")), log_in),
    "revoked": Case("certificate_revoked", "certificate", peer(revoked), log_in),
    "log-in-refused": Case(
        "authentication_refused", "authentication", peer(), refuse_log_in),
    "ping-unanswered": Case("timeout", "ping", peer(), keep_silent),
    "stream-error": Case("connection_lost", "ping", peer(), end_with_an_error),
    "one-way": Case("policy", "ping", one_way, log_in),
    "second-expired": Case(
        "certificate_expired", "certificate", second(lambda authority, d: authority.expired(d)),
        log_in),
    "second-unanswered": Case("timeout", "ping", second(), keep_silent),
}


class Bench:
    """A Kinglet, a name server that answers from a table, and other domains by hand."""

    def __init__(self, federation):
        self.federation = federation
        self.network = federation.network
        self.authority = federation.authority
        self.names = OddNameServer(self.network.host("odd-names"))
        self.kinglet = federation.add(FederatedKinglet, OURS, settings={
            "federation.nameservers": f"[{self.names.host.address}]",
            "federation.authorities": f"[{self.authority.file}, {self.authority.crl}]"})
        self.peers = {}

    def host(self, domain):
        if domain not in self.network.hosts:
            self.network.host(domain)
        return self.network.hosts[domain]

    def peer(self, domain, pair):
        made = self.federation.add(RawPeer, domain, pair=pair)
        known(self, domain, made.address)
        self.peers[domain] = made

    def test(self, domain):
        done = self.kinglet.command("federation", "test", domain, "--json", check=False)
        assert done.stdout, done.stderr
        return done, json.loads(done.stdout)


@contextlib.contextmanager
def answering(case, peer):
    """The other server, for one connection."""
    def serve():
        # Whatever it is told in the middle, the test is of what the other side says of it.
        with contextlib.suppress(AssertionError, OSError), peer.accept() as stream:
            case.answer(peer, stream)

    thread = threading.Thread(target=serve, daemon=True)
    if peer is not None:
        thread.start()
    yield
    if peer is not None:
        peer.stop()
        thread.join()


def outcomes(federation, cases):
    """What a server says of each case's domain."""
    bench = Bench(federation)
    bench.kinglet.host.ask(bench.names.host.address)
    prepared_later = [name for name in cases if cases[name].prepare in (forbidden, one_way)]
    for name, case in cases.items():
        if case.prepare and name not in prepared_later:
            case.prepare(bench, f"{name}.example")
    for name in prepared_later:
        # Commands need the data that init makes.
        if not bench.kinglet.configuration.exists():
            bench.kinglet.initialize()
        cases[name].prepare(bench, f"{name}.example")
    federation.start()
    found = {}
    for name, case in cases.items():
        domain = f"{name}.example"
        with answering(case, bench.peers.get(domain)):
            found[name] = bench.test(domain)
    return found


def check(cases, found):
    """The failure that decided is the last one, whatever another server of the domain lacks."""
    said = {
        name: (document["reason"], next(
            (step["step"] for step in reversed(document["steps"]) if step.get("reason")), None))
        for name, (_, document) in found.items()}
    assert said == {name: (case.reason, case.step) for name, case in cases.items()}
    for name, (done, document) in found.items():
        assert done.returncode == 1 and done.stderr.count("\n") == 1, name
        assert document["ok"] is False and document["text"] and document["advice"], name
        assert document["reason"] in done.stderr, name


def test_names_and_connections(federation):
    """RFC 2782, RFC 6120 section 3.2; private addresses are an option's."""
    check(WITHOUT_STREAMS, outcomes(federation, WITHOUT_STREAMS))


def test_streams(federation):
    """RFC 7590 section 3.4, RFC 6120 sections 5, 6 and 13.7, XEP-0199."""
    found = outcomes(federation, WITH_STREAMS)
    check(WITH_STREAMS, found)
    certificate, = (
        step for step in found["expired"][1]["steps"]
        if step["step"] == "certificate" and "reason" not in step)
    assert certificate["ok"] is False and "expired.example" in certificate["detail"]
    # Their words, but nothing that a terminal obeys.
    assert "(in ?31mred ?eman)" in found["log-in-refused"][0].stderr


@pytest.mark.parametrize("answer", ["result", "error"])
def test_a_domain_that_is_reached(federation, answer):
    """An error is an answer, too; it comes on a stream of theirs (RFC 6120 section 10.4). Nothing
    else is sent, and the stream is closed."""
    bench = Bench(federation)
    bench.peer("there.example", bench.authority.issue("there.example"))
    federation.start()
    peer = bench.peers["there.example"]
    seen = []

    def reply(peer, stream):
        log_in(peer, stream)
        ping = stream.read_through("</iq>")
        number = ping.partition("id=")[2][1:].partition(ping.partition("id=")[2][0])[0]
        with peer.logged_in(bench.kinglet) as back:
            back.send(
                f"<iq type='{answer}' id='{number}' from='there.example' to='{OURS}'/>")
            seen.append(stream.read_through("</stream:stream>"))

    with answering(Case("", "", answer=reply), peer):
        done, document = bench.test("there.example")
    assert done.returncode == 0, done.stderr
    assert document["ok"] is True and "reason" not in document
    assert [step["step"] for step in document["steps"]] == [
        "policy", "dns", "addresses", "connection", "tls", "certificate", "authentication", "ping"]
    assert all(step["ok"] for step in document["steps"])
    rest, = seen
    assert "<message" not in rest and "<presence" not in rest
