"""Servers that Kinglet connects to and that do what none should (RFC 6120 sections 4 to 6 and 10.4,
XEP-0178, XEP-0198): senders hear why, what can wait waits, and the next right stream works."""

import re
import socket
import time

import pytest

from server_peer import MANAGEMENT, START_TLS, SUCCESS, ask, chat, old_tls, refusal
from waiting import eventually

# What goes back at once, and what waits for another attempt (RFC 6120 sections 8.3.3.16 and 17).
GIVEN_UP, LATER = "remote-server-not-found", "remote-server-timeout"


def works_again(peers, eve, *bodies, romeo=None):
    """The next right stream gets what waits, in order and once. That the domain shows itself makes
    the next attempt come at once."""
    eve.established().connection.close()
    with eve.accept() as stream:
        for body in bodies:
            assert stream.body() == body
        if romeo is not None:
            chat(romeo, eve.user, "and on it goes")
            assert stream.body() == "and on it goes"
        stream.acknowledge(len(bodies) + (romeo is not None))
        peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")


def fails_for_good(peers, romeo, eve, reason, *words, script=None):
    """A message goes back at once, and says why; the failure is counted and logged once."""
    before = len(peers.lines(eve.name))
    with peers.failure("out", reason):
        chat(romeo, eve.user, "first")
        with eve.next_stream() as stream:
            if script:
                script(stream)
            condition, text = refusal(romeo, "message")
    assert condition == GIVEN_UP, text
    for word in (eve.name, *words):
        assert word in text, text
    # The answer may be here before the line of the log is.
    eventually(lambda: len(peers.lines(eve.name)) > before, f"a line about {eve.name}")
    assert len(peers.lines(eve.name)) == before + 1, peers.lines(eve.name)
    romeo.expect_answer()


def fails_for_now(peers, romeo, eve, reason, *words, script=None):
    """A request goes back at once and says why; a message waits, and arrives once all is well."""
    before = len(peers.lines(eve.name))
    with peers.failure("out", reason):
        chat(romeo, eve.user, "it can wait")
        ask(romeo, eve.user)
        with eve.next_stream() as stream:
            script(stream)
            condition, text = refusal(romeo)
    assert condition == LATER, text
    for word in (eve.name, *words):
        assert word in text, text
    # The answer may be here before the line of the log is.
    eventually(lambda: len(peers.lines(eve.name)) > before, f"a line about {eve.name}")
    assert len(peers.lines(eve.name)) == before + 1, peers.lines(eve.name)
    romeo.expect_answer()
    works_again(peers, eve, "it can wait")


# Certificates


@pytest.mark.parametrize("verdict, words", [
    ("expired", "expired on"), ("not_yet_valid", "not valid before"),
    ("self_signed", "signed by itself"), ("wrong_name", "is for other."),
    ("untrusted", "not trusted"), ("revoked", "revoked"), ("revoked_above", "revoked")])
def test_a_certificate_that_proves_nothing(peers, romeo, verdict, words):
    """RFC 6120 section 13.7.2, RFC 5280 section 6: nothing is said to such a server, not even who
    we are."""
    eve = peers.with_certificate(verdict).listen()
    verdict = verdict.removesuffix("_above")

    def script(stream):
        stream.secure()
        assert stream.stream_error() == "not-authorized"

    fails_for_good(peers, romeo, eve, f"certificate_{verdict}", words, script=script)


# TLS


def no_tls(stream):
    stream.greet("")


def no_version(stream):
    stream.greet(None, version=None)


def refused_tls(stream):
    stream.greet(START_TLS)
    stream.read_through("<starttls[^>]*>")
    stream.send("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")


@pytest.mark.parametrize("script", [no_tls, no_version, refused_tls])
def test_a_server_without_tls(peers, romeo, script):
    """RFC 7590 section 3.1: nothing goes there in clear."""
    fails_for_good(peers, romeo, peers.domain().listen(), "no_tls", "TLS", script=script)


def test_tls_1_1_only(peers, romeo):
    """RFC 8996."""
    def script(stream):
        stream.greet(START_TLS)
        with pytest.raises(OSError):
            stream.give_tls(old_tls(stream.server_context()))

    fails_for_now(peers, romeo, peers.domain().listen(), "tls", script=script)


def test_garbage_instead_of_tls(peers, romeo):
    def script(stream):
        stream.greet(START_TLS)
        stream.read_through("<starttls[^>]*>")
        stream.send(
            b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + b"HTTP/1.1 400 Bad Request")
        stream.read_through("\x16")
        stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
        stream.read_raw_end()

    fails_for_now(peers, romeo, peers.domain().listen(), "tls", script=script)


# XMPP


def test_http_on_the_port(peers, romeo):
    def script(stream):
        stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        stream.read_raw_end()

    fails_for_now(peers, romeo, peers.domain().listen(), "protocol_error", script=script)


def test_a_server_that_answers_for_another_domain(peers, romeo):
    """RFC 6120 section 4.7.1."""
    def script(stream):
        stream.greet(START_TLS, from_="other.example")
        assert stream.stream_error() == "invalid-from"

    fails_for_now(
        peers, romeo, peers.domain().listen(), "protocol_error", "other.example", script=script)


@pytest.mark.parametrize("changes", [
    {"xmlns": "jabber:client"}, {"xmlns__stream": "urn:example:other"}], ids=["content", "stream"])
def test_wrong_namespaces(peers, romeo, changes):
    """RFC 6120 section 4.8."""
    def script(stream):
        stream.greet(START_TLS, **changes)
        assert stream.stream_error() == "invalid-namespace"

    fails_for_now(peers, romeo, peers.domain().listen(), "protocol_error", script=script)


def test_features_without_end(peers, romeo):
    """RFC 6120 section 13.12: limits.stanza_unauthenticated."""
    def script(stream):
        stream.greet(None)
        stream.send("<stream:features>" + "<a xmlns='urn:example:a'/>" * 100_000)
        stream.read_raw_end()

    with peers.bounded_memory(4):
        fails_for_now(peers, romeo, peers.domain().listen(), "protocol_error", script=script)


@pytest.mark.parametrize("condition", ["host-unknown", "not-authorized", "policy-violation"])
def test_a_server_that_does_not_want_us(peers, romeo, condition):
    """RFC 6120 section 4.9.3: its reason reaches the sender."""
    def script(stream):
        stream.greet(None)
        stream.send(
            f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>for a reason&#xA;of mine</text>"
            "</stream:error></stream:stream>")

    fails_for_good(
        peers, romeo, peers.domain().listen(), "stream_error", condition, "for a reason of mine",
        script=script)


def test_see_other_host_is_not_followed(peers, romeo):
    """RFC 6120 section 4.9.3.19: where a domain's server is says DNS, and not a stranger."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        def script(stream):
            stream.greet(None)
            stream.send(
                "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>"
                f"127.0.0.1:{trap.getsockname()[1]}</see-other-host></stream:error>")

        fails_for_good(
            peers, romeo, peers.domain().listen(), "stream_error", "see-other-host",
            script=script)
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_a_server_that_offers_no_authentication(peers, romeo):
    """XEP-0178: without EXTERNAL, and dialback off, there is no way to prove a name."""
    fails_for_good(
        peers, romeo, peers.domain().listen(), "no_authentication",
        script=lambda stream: stream.secure(""))


def test_a_server_that_refuses_external(peers, romeo):
    """RFC 6120 section 6.5.10."""
    def script(stream):
        stream.secure()
        stream.read_through("</auth>")
        stream.send(
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>")

    fails_for_good(
        peers, romeo, peers.domain().listen(), "authentication_refused", "not-authorized",
        script=script)


def test_challenges_without_end(peers, romeo):
    """RFC 6120 section 6.4.3: EXTERNAL has one answer, and it was given."""
    def script(stream):
        stream.secure()
        stream.read_through("</auth>")
        for _ in range(2):
            stream.send("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        stream.read_raw_end()

    fails_for_now(peers, romeo, peers.domain().listen(), "protocol_error", script=script)


# Connections that break


def closed_at_once(stream):
    stream.connection.close()


def closed_in_tls(stream):
    stream.greet(START_TLS)
    stream.read_through("<starttls[^>]*>")
    stream.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    # Not at once: what has come and was not read would make a reset of the end.
    stream.connection.shutdown(socket.SHUT_WR)
    while stream.connection.recv(4096):
        pass
    stream.connection.close()


def closed_in_authentication(stream):
    stream.secure()
    stream.read_through("</auth>")
    stream.connection.close()


def closed_after_success(stream):
    stream.secure()
    stream.read_through("</auth>")
    stream.send(SUCCESS)
    stream.connection.close()


@pytest.mark.parametrize("script, reason", [
    (closed_at_once, "connection_lost"), (closed_in_tls, "tls"),
    (closed_in_authentication, "connection_lost"), (closed_after_success, "connection_lost")])
def test_closed_in_the_middle(peers, romeo, script, reason):
    """RFC 6120 section 4.4."""
    fails_for_now(peers, romeo, peers.domain().listen(), reason, script=script)


def test_a_port_that_nobody_listens_on(peers, romeo):
    """RFC 6120 section 8.3.3.17: a server that is away may come back."""
    eve = peers.domain().listen()
    port = eve.port
    eve.close()
    peers.publish(eve.name, port)
    with peers.failure("out", "connection_refused"):
        ask(romeo, eve.user)
        condition, text = refusal(romeo)
    assert condition == LATER and "refused" in text


def test_the_end_of_a_stream_before_an_acknowledgement(peers, romeo):
    """XEP-0198 section 4: what was not acknowledged goes to the next stream, and only that."""
    eve = peers.domain().listen()
    for body in ("one", "two", "three"):
        chat(romeo, eve.user, body)
    with peers.failure("out", "connection_lost"), eve.accept() as stream:
        assert [stream.body() for _ in range(3)] == ["one", "two", "three"]
        stream.acknowledge(1)
        peers.kinglet.becomes(2, "kinglet_server_queue_stanzas")
    works_again(peers, eve, "two", "three", romeo=romeo)


def test_no_acknowledgement_ever(peers, romeo):
    """XEP-0198 section 4: after limits.acknowledgement the stream is taken for dead, and the
    message goes to the next."""
    eve = peers.domain().listen()
    chat(romeo, eve.user, "are you there?")
    with peers.failure("out", "timeout"), eve.accept() as stream:
        assert stream.body() == "are you there?"
        assert stream.condition() == "connection-timeout"
    works_again(peers, eve, "are you there?", romeo=romeo)


def test_an_acknowledgement_of_more_than_was_sent(peers, romeo):
    """XEP-0198 section 4: the stream ends with the numbers, and nothing counts as arrived."""
    eve = peers.domain().listen()
    chat(romeo, eve.user, "one alone")
    with peers.failure("out", "protocol_error"), eve.accept() as stream:
        assert stream.body() == "one alone"
        stream.acknowledge(5)
        error = stream.read_through("</stream:error>")
        assert "handled-count-too-high" in error and "send-count='1'" in error
    works_again(peers, eve, "one alone", romeo=romeo)


@pytest.mark.parametrize("stanza", [
    "<message from='eve@{0}' to='romeo@example.test'><body>uninvited</body></message>",
    "<iq from='{0}' to='example.test' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<enable xmlns='urn:xmpp:sm:3'/>", "<made-up xmlns='urn:example:made-up'/>"],
    ids=["message", "iq", "enable", "unknown"])
def test_stanzas_on_a_stream_of_ours(peers, romeo, stanza):
    """RFC 6120 section 4.5: that stream is for our stanzas; what came on it is not delivered."""
    eve = peers.domain().listen()
    chat(romeo, eve.user, "good day")
    with peers.failure("out", "protocol_error"), eve.accept() as stream:
        assert stream.body() == "good day"
        stream.send(stanza.format(eve.name))
        stream.read_through("</stream:error>")
    works_again(peers, eve, "good day", romeo=romeo)


def test_a_flood_on_a_stream_of_ours(peers, romeo):
    """XEP-0198: `<r/>` by the hundred thousand, and the answers are read; others are served."""
    eve = peers.domain().listen()
    chat(romeo, eve.user, "good day")
    with peers.bounded_memory(4), eve.accept() as stream:
        assert stream.body() == "good day"
        for _ in range(50):
            stream.send("<r xmlns='urn:xmpp:sm:3'/>" * 1000)
            for _ in range(1000):
                stream.read_through("<a [^>]*>")
        romeo.expect_answer()
        stream.acknowledge(1)
        peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")


def test_a_server_that_reads_and_acknowledges_nothing(peers, romeo):
    """RFC 6120 section 13.12: what waits for it is bounded by federation.queue_stanzas; further
    messages go back, and those that were taken arrive in order on the next stream."""
    eve = peers.domain().listen()
    number, limit = 2500, 2000
    with peers.bounded_memory(6):
        romeo.send("".join(
            f"<message to='{eve.user}' type='chat' id='m{index}'><body>{index}</body></message>"
            for index in range(number)))
        romeo.send("<iq type='get' id='behind'><ping xmlns='urn:xmpp:ping'/></iq>")
        with eve.accept():
            answers = romeo.read_through("<iq[^>]*id='behind'[^>]*>")
        refused = set(re.findall(r"<message[^>]*type='error'[^>]*id='m(\d+)'", answers))
        assert answers.count("<resource-constraint") == len(refused)
        # Some are let in while those before them are being stored.
        assert limit <= number - len(refused) <= limit + 256
        taken = [str(index) for index in range(number) if str(index) not in refused]
        with eve.accept() as stream:
            assert [stream.body() for _ in taken] == taken
            stream.acknowledge(len(taken))
            peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")
            peers.kinglet.becomes(0, "kinglet_server_queue_bytes")


def test_a_server_that_has_only_a_part_is_not_asked_at_once_again(peers, romeo):
    """XEP-0198 section 4 wants an answer at once, also while the other disk is at work: to ask
    again with each one would keep both busy."""
    eve = peers.domain().listen()
    romeo.send(f"<message to='{eve.user}' type='chat' id='part'><body>part</body></message>")
    with eve.accept() as stream:
        assert stream.body() == "part"
        stream.read_through("<r [^>]*>")
        answered = time.monotonic()
        stream.acknowledge(0)
        stream.read_through("<r [^>]*>")
        assert time.monotonic() - answered > 0.5
        stream.acknowledge(1)
        peers.kinglet.becomes(0, "kinglet_server_queue_stanzas")


def test_one_bad_domain_does_not_hold_up_another(peers, romeo):
    """RFC 6120 section 10.4: while one says nothing, others get what is theirs."""
    silent, eve = peers.domain().listen(), peers.domain().listen()
    chat(romeo, silent.user, "hello?")
    with silent.next_stream() as stream:
        stream.read_through("<stream:stream[^>]*>")
        chat(romeo, eve.user, "at once")
        works = eve.accept()
        assert works.body() == "at once"
        works.acknowledge(1)
        peers.kinglet.becomes(1, "kinglet_server_queue_stanzas")
    works_again(peers, silent, "hello?")


def test_many_silent_domains_do_not_hold_up_another(peers, romeo):
    """RFC 6120 section 10.4: more than federation.connecting of them; they make way long before
    they are given up."""
    silent, eve = [peers.domain().listen() for _ in range(20)], peers.domain().listen()
    for domain in silent:
        ask(romeo, domain.user)
    streams = [domain.next_stream() for domain in silent[:16]]
    assert silent[16].is_left_alone()
    chat(romeo, eve.user, "in time")
    with eve.accept() as stream:
        assert stream.body() == "in time"
        stream.acknowledge(1)
        peers.kinglet.becomes(4 + 16, "kinglet_server_queue_stanzas")
    streams += [domain.next_stream() for domain in silent[16:]]
    for stream in streams:
        stream.connection.close()
    for _ in silent:
        assert refusal(romeo)[0] == LATER


def test_silence(make_peers):
    """RFC 6120 section 4.9.3.4: at each step, after limits.negotiation; the request goes back, the
    message waits."""
    peers = make_peers(**{"limits.negotiation": "1s"})

    def nothing(stream):
        pass

    def no_features(stream):
        stream.greet(None)

    def no_proceed(stream):
        stream.greet(START_TLS)
        stream.read_through("<starttls[^>]*>")

    def no_handshake(stream):
        no_proceed(stream)
        stream.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")

    def no_secure_features(stream):
        stream.greet(START_TLS)
        stream.give_tls()

    def no_verdict(stream):
        stream.secure()
        stream.read_through("</auth>")

    def no_header(stream):
        no_verdict(stream)
        stream.send(SUCCESS)

    def no_enabled(stream):
        no_header(stream)
        stream.greet(MANAGEMENT)

    steps = [
        nothing, no_features, no_proceed, no_handshake, no_secure_features, no_verdict, no_header,
        no_enabled]
    with peers.romeo() as romeo, peers.failure("out", "timeout", len(steps)):
        domains = [peers.domain().listen() for _ in steps]
        for eve in domains:
            ask(romeo, eve.user)
        streams = [eve.next_stream() for eve in domains]
        for step, stream in zip(steps, streams):
            step(stream)
        for _ in steps:
            condition, text = refusal(romeo)
            assert condition == LATER and "did not answer in time" in text
        for eve in domains:
            eventually(lambda eve=eve: peers.lines(eve.name), f"a line about {eve.name}")
            assert len(peers.lines(eve.name)) == 1, peers.lines(eve.name)
        chat(romeo, domains[0].user, "later")
        works_again(peers, domains[0], "later")
