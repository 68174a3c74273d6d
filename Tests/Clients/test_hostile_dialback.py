"""XEP-0220 as nobody should use it: keys that are replayed or made up, names of others, questions
by the thousand. Where the owner has not allowed it, none of it works at all."""

import re

import pytest

from server_peer import DIALBACK, EXTERNAL, START_TLS, chat, peer_world

LOCAL = "romeo@example.test"


@pytest.fixture(scope="module")
def dialling(tmp_path_factory):
    """A Kinglet whose owner has allowed dialback."""
    with peer_world(
            tmp_path_factory.mktemp("dialback"), {"federation.dialback": "true"}) as world:
        yield world


@pytest.fixture
def world(dialling):
    yield dialling
    dialling.end_test()


def without_certificate(world):
    """A domain that can only prove itself by dialback, and that answers for its keys."""
    return world.domain(pair=world.authority.self_signed(world.name())).listen()


def result(stream, key, from_=None, to="example.test"):
    stream.send(f"<db:result from='{from_ or stream.domain}' to='{to}'>{key}</db:result>")


def verdict(stream):
    """What Kinglet says of the last key: `valid`, `invalid`, or the condition of an error."""
    text = stream.read_through(r"<db:result[^>]*type='(in)?valid'[^>]*>|</db:result>")
    found = re.search(r"type='(valid|invalid)'", text)
    return found[1] if found else re.search(r"<error[^>]*><([a-z-]+)", text)[1]


def answer_question(eve, says):
    """The domain's own server says of a key what it is told to; the key and the stream's id."""
    with eve.next_stream() as stream:
        stream.greet(START_TLS)
        stream.give_tls()
        stream.greet(DIALBACK)
        question = stream.read_through("</db:verify>")
        found = re.search(r"id='([^']*)'[^>]*>([^<]*)<", question)
        stream.send(
            f"<db:verify from='{eve.name}' to='example.test' id='{found[1]}' type='{says}'/>")
        return found[1], found[2]


def test_a_right_key(world):
    """XEP-0220 section 2.1, so that the others fail for one reason alone."""
    eve = without_certificate(world)
    with eve.secure() as stream, world.romeo() as romeo:
        identifier = re.search(r" id='([^']*)'", stream.features)[1]
        result(stream, "the-key")
        assert answer_question(eve, "valid") == (identifier, "the-key")
        assert verdict(stream) == "valid"
        stream.message(LOCAL, "hello")
        assert "<body>hello</body>" in romeo.read_through("</message>")


def test_a_replayed_key(world):
    """XEP-0220 section 2.4: each stream has an id of its own, so that the domain's server is asked
    about another stream than the one that the key was made for."""
    eve = without_certificate(world)
    identifiers = set()
    for says in ("valid", "invalid"):
        with eve.secure() as stream:
            result(stream, "the-same-key")
            identifiers.add(answer_question(eve, says)[0])
            assert verdict(stream) == says
            if says == "invalid":
                assert stream.stream_error() == "not-authorized"
    assert len(identifiers) == 2


def test_a_key_of_ours_is_good_for_one_stream(world):
    """XEP-0185: a key is bound to both domains and to the stream's id; anybody may ask."""
    eve = world.domain().listen()
    with world.romeo() as romeo:
        chat(romeo, eve.user, "dial me")
        with eve.next_stream() as stream:
            stream.greet(START_TLS)
            stream.give_tls()
            stream.greet(DIALBACK)
            key = re.search(r">([^<]*)</db:result>", stream.read_through("</db:result>"))[1]
            identifier = stream.stream_id

            def is_valid(key=key, identifier=identifier, from_=eve.name, to="example.test"):
                with eve.secure() as asking:
                    asking.send(
                        f"<db:verify from='{from_}' to='{to}' id='{identifier}'>{key}</db:verify>")
                    return re.search(
                        r"<db:verify[^>]*type='([a-z]*)'",
                        asking.read_through("<db:verify[^>]*>"))[1]

            assert is_valid() == "valid"
            assert is_valid(identifier="another") == "invalid"
            assert is_valid(from_="other.example") == "invalid"
            assert is_valid(key=key[:-1]) == "invalid"
            assert is_valid(key="") == "invalid"
            assert is_valid(to="elsewhere.example") == "error"
            stream.send(
                f"<db:result from='{eve.name}' to='example.test' type='valid'/>")
            assert stream.body() == "dial me"
            # Without acknowledgements an answer behind it says that it arrived.
            ping = stream.read_through("</iq>|<iq[^>]*/>")
            assert "urn:xmpp:ping" in ping


@pytest.mark.parametrize("from_, to, condition", [
    ("example.test", "example.test", "forbidden"),
    ("other.example", "elsewhere.example", "item-not-found")])
def test_names_that_are_not_the_peers(world, from_, to, condition):
    """XEP-0220 section 2.4: nobody is a domain of ours, and nobody reaches others through us."""
    with without_certificate(world).secure() as stream:
        result(stream, "key", from_, to)
        assert verdict(stream) == condition


def test_who_proved_one_name_is_not_another(world):
    """XEP-0220 section 2.5, XEP-0288: the header may say anything. Neither stanzas in the name that
    it says are believed, nor is what waits for that name handed over."""
    victim, eve = world.domain().listen(), without_certificate(world)
    with world.romeo() as romeo, eve.connect() as stream:
        stream.domain = victim.name
        stream.open_stream()
        stream.ask_for_tls()
        stream.open_stream()
        stream.send("<bidi xmlns='urn:xmpp:bidi'/>")
        result(stream, "key", eve.name)
        answer_question(eve, "valid")
        assert verdict(stream) == "valid"
        stream.message(LOCAL, "hello", eve.user)
        romeo.read_through("</message>")
        chat(romeo, victim.user, "a secret")
        with victim.next_stream() as right:
            right.greet(START_TLS)
            right.give_tls()
            right.greet(EXTERNAL)
            right.read_through("</auth>")
            right.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            right.greet("")
            assert right.body() == "a secret"
        stream.message(LOCAL, "in the name of another", victim.user)
        assert stream.condition() == "invalid-from"


def test_a_thousand_keys(world):
    """RFC 6120 section 13.12: a few are asked about at a time, the others are refused, and not
    passed on as questions to whoever is named."""
    eve = without_certificate(world)
    with world.bounded_memory(6), eve.secure() as stream:
        stream.send("".join(
            f"<db:result from='n{number}.{eve.name}' to='example.test'>key</db:result>"
            for number in range(1000)))
        conditions = [verdict(stream) for _ in range(1000)]
    assert conditions.count("resource-constraint") > 900, conditions
    assert sum("nowhere" in name or eve.name in name for name, _ in world.names.questions) < 100


def test_a_server_that_never_answers_the_question(make_peers):
    """XEP-0220 section 2.4.2: the key stays unproved until the time is up."""
    peers = make_peers(**{"federation.dialback": "true", "limits.negotiation": "1s"})
    eve = without_certificate(peers)
    with eve.secure() as stream:
        result(stream, "key")
        silent = eve.next_stream()
        silent.read_through("<stream:stream[^>]*>")
        assert stream.stream_error() == "connection-timeout"
    peers.kinglet.becomes(0, "kinglet_server_streams", direction="in")


def test_without_the_owners_consent(peers):
    """federation.dialback is off: it is not offered, keys are not asked about, and whoever asks
    about one hears that there are none."""
    eve = peers.domain().listen()
    with eve.secure() as stream:
        assert "dialback" not in stream.features.partition("<stream:features>")[2]
        result(stream, "key")
        assert verdict(stream) == "not-authorized"
        stream.send(f"<db:verify from='{eve.name}' to='example.test' id='1'>key</db:verify>")
        assert "type='error'" in stream.read_through("</db:verify>")
    assert eve.is_left_alone()
