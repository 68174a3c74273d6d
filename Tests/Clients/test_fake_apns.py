"""The fake of Apple's service accepts what is right and refuses what is wrong."""

import contextlib
import time

import h2.events
import h2.exceptions
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import push_fakes
from fake_apns import REASONS, FakeAPNs, going_away, reason
from push_clients import AppleClient, apple_token

TOKEN = "ab" * 32
OTHER = "cd" * 32
ALERT = {"aps": {"alert": {"loc-key": "NEW"}, "badge": 1, "mutable-content": 1}}


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stops:
        yield stops


class Apple:
    """The fake, and one connection of a sender with a good token."""

    def __init__(self, authority, stack):
        self._authority, self._stack = authority, stack
        self.fake = stack.enter_context(FakeAPNs(authority))
        self.authorization = f"bearer {apple_token(self.fake)}"
        self.client = self.connect()

    def connect(self, **options):
        return self._stack.enter_context(
            contextlib.closing(AppleClient(self.fake, self._authority, **options)))

    def headers(self, **changes):
        return {"authorization": self.authorization, "apns_topic": "org.example.app",
                "apns_push_type": "alert", **changes}

    def send(self, token=TOKEN, payload=ALERT, **changes):
        return self.client.send(token, payload, **self.headers(**changes))

    def refuses(self, code, *arguments, **changes):
        reply = self.send(*arguments, **changes)
        assert (reply.status, reply.json["reason"]) == (REASONS[code], code)
        assert self.fake.take_violations() == [code]
        assert not self.fake.deliveries()


@pytest.fixture
def apple(push_authority, stack):
    return Apple(push_authority, stack)


def test_apple_takes_what_is_right(apple):
    identifier = "123e4567-e89b-12d3-a456-42661417f000"
    reply = apple.send(
        apns_id=identifier, apns_priority=10, apns_expiration=int(time.time()) + 60,
        apns_collapse_id="x" * 64)
    assert (reply.status, reply.body, reply.headers["apns-id"]) == (200, b"", identifier)
    background = {"apns_push_type": "background", "apns_priority": 5}
    assert apple.send(OTHER, {"aps": {"content-available": 1}}, **background).status == 200
    voip = {"apns_push_type": "voip", "apns_topic": "org.example.app.voip"}
    body = b'{"aps":{},"x":"' + b"x" * 5103 + b'"}'
    assert len(body) == 5120 and apple.send(TOKEN, body, **voip).status == 200
    assert apple.fake.delivered == {TOKEN: 2, OTHER: 1}
    assert apple.fake.deliveries(TOKEN)[0].payload == ALERT
    assert apple.fake.connections == 1
    apple.fake.check()


@pytest.mark.parametrize("code, changes", [
    ("MissingTopic", {"apns_topic": None}),
    ("TopicDisallowed", {"apns_topic": "org.example.other"}),
    ("BadTopic", {"apns_push_type": "voip"}),
    ("InvalidPushType", {"apns_push_type": None}),
    ("InvalidPushType", {"apns_push_type": "loud"}),
    ("InvalidPushType", {"apns_push_type": "background", "apns_priority": 5}),
    ("InvalidPushType", {"payload": {"aps": {"content-available": 1}}}),
    ("BadPriority", {"apns_priority": 7}),
    ("BadPriority", {"apns_push_type": "background", "apns_priority": 10}),
    ("BadPriority", {"apns_push_type": "background"}),
    ("BadExpirationDate", {"apns_expiration": "soon"}),
    ("BadExpirationDate", {"apns_expiration": int(time.time() * 1000)}),
    ("BadCollapseId", {"apns_collapse_id": "x" * 65}),
    ("BadMessageId", {"apns_id": "123e4567e89b12d3a45642661417f000"}),
    ("DuplicateHeaders", {"apns-topic": "org.example.app"}),
    ("MissingDeviceToken", {"token": ""}),
    ("BadPath", {"path": "/3/devices/" + TOKEN}),
    ("MethodNotAllowed", {"method": "PUT"}),
    ("PayloadEmpty", {"payload": b""}),
    ("PayloadEmpty", {"payload": b'{"aps":{"badge":NaN}}'}),
    ("PayloadEmpty", {"payload": {"aps": {"badge": "1"}}}),
    ("PayloadEmpty", {"payload": {"aps": {"badge": -1}}}),
    ("PayloadEmpty", {"payload": {"aps": {"badge": 1, "mutable-content": 2}}}),
    ("PayloadEmpty", {"payload": {"aps": "x"}}),
    ("BadTopic", {"apns_topics": "org.example.app"}),
    ("PayloadTooLarge", {"payload": b'{"aps":{"badge":1},"x":"' + b"x" * 4071 + b'"}'}),
    ("MissingProviderToken", {"authorization": None}),
    ("InvalidProviderToken", {"authorization": "bearer nonsense"}),
])
def test_apple_refuses_what_is_wrong(apple, code, changes):
    apple.refuses(code, **changes)


def test_apple_looks_into_the_token(apple):
    now, fake = time.time(), apple.fake
    fake.add_key("OTHERTEAM0", "SOMEBODY00")
    for code, options in [
        ("ExpiredProviderToken", {"at": now - 3605}),
        ("InvalidProviderToken", {"at": now + 120}),
        ("InvalidProviderToken", {"exp": int(now) + 60}),
        ("InvalidProviderToken", {"iss": "SOMEBODY00"}),
        ("InvalidProviderToken", {"iat": now}),
        ("InvalidProviderToken", {"header": {"kid": "NOBODY0000"}}),
        ("InvalidProviderToken", {"header": {"typ": "JWT"}}),
        ("InvalidProviderToken", {"key": ec.generate_private_key(ec.SECP256R1())}),
    ]:
        apple.refuses(code, authorization=f"bearer {apple_token(fake, **options)}")
    apple.refuses("InvalidProviderToken", authorization=f"Basic {apple_token(fake)}")
    assert apple.send(authorization=f"bearer {apple_token(fake, at=now - 3500)}").status == 200
    fake.check()


def test_apple_throttles_new_tokens(apple):
    assert apple.send().status == 200
    first, apple.authorization = apple.authorization, f"bearer {apple_token(apple.fake, at=1e9)}"
    apple.fake.clock_offset = 1e9 - time.time() + 60
    assert apple.send().json == {"reason": "TooManyProviderTokenUpdates"}
    assert apple.fake.take_violations() == ["TooManyProviderTokenUpdates"]
    apple.fake.forget_provider_tokens()
    assert apple.send().status == 200
    apple.fake.clock_offset += 3600
    apple.authorization = first
    assert apple.send().json["reason"] == "InvalidProviderToken"


def test_apple_wants_a_key_of_its_environment(apple):
    apple.fake.add_key("SANDBOXKEY", environment="sandbox")
    token = f"bearer {apple_token(apple.fake, 'SANDBOXKEY')}"
    assert apple.send(authorization=token).json == {"reason": "BadEnvironmentKeyInToken"}


@pytest.mark.parametrize("code", REASONS)
def test_apple_says_every_reason(apple, code):
    apple.fake.script(TOKEN, reason(code, 1_700_000_000.5 if REASONS[code] == 410 else None))
    assert apple.send(OTHER).status == 200
    reply = apple.send()
    assert (reply.status, reply.json["reason"]) == (REASONS[code], code)
    assert reply.json.get("timestamp") == (1_700_000_000_500 if reply.status == 410 else None)
    assert apple.send().status == 200
    assert apple.fake.delivered == {OTHER: 1, TOKEN: 1}


def test_apple_knows_devices_that_are_gone(apple):
    apple.fake.unregister(TOKEN, 1_700_000_000)
    assert apple.send().json == {"reason": "Unregistered", "timestamp": 1_700_000_000_000}
    apple.fake.register(TOKEN)
    assert apple.send().status == 200
    assert apple.send("ab").json == {"reason": "BadDeviceToken"}
    apple.fake.is_elsewhere(OTHER, "DeviceTokenNotForTopic")
    assert apple.send(OTHER).status == 400


def test_apple_allows_one_stream_at_first(apple):
    gate = push_fakes.Gate()
    apple.fake.script(TOKEN, push_fakes.held(gate))
    first = apple.client.begin(TOKEN, ALERT, **apple.headers())
    apple.fake.wait_for_requests()
    # Before SETTINGS are known, a hasty sender may not see the limit.
    second = apple.client.begin(OTHER, ALERT, **apple.headers())
    assert isinstance(apple.client.finish(second), h2.events.StreamReset) \
        or apple.fake.violations
    assert apple.fake.take_violations() == ["streams"]
    gate.open()


def test_apple_allows_many_streams_after_the_first_success(apple):
    assert apple.send().status == 200
    gate = push_fakes.Gate()
    apple.fake.always(push_fakes.ANY, push_fakes.held(gate))
    streams = [apple.client.begin(TOKEN, ALERT, **apple.headers()) for _ in range(20)]
    apple.fake.wait_for_requests(21)
    gate.open()
    assert {apple.client.finish(stream).status for stream in streams} == {200}
    apple.fake.check()


def test_apple_answers_pings(apple):
    apple.client.http.ping(b"are you?")
    apple.client.http.prioritize(1, weight=8)
    apple.client.flush()
    apple.client.until(h2.events.PingAckReceived)
    assert apple.send().status == 200
    assert (apple.fake.pings, apple.fake.priority_frames) == (1, 1)


@pytest.mark.parametrize("code", [None, "Shutdown"])
def test_apple_goes_away(apple, code):
    apple.fake.script(TOKEN, going_away(code))
    end = apple.send()
    assert isinstance(end, h2.events.ConnectionTerminated)
    assert end.additional_data == (b'{"reason": "Shutdown"}' if code else None)
    assert (end.last_stream_id, apple.fake.delivered) == (0, {})
    apple.client = apple.connect()
    apple.fake.script(TOKEN, going_away(code, answers=True))
    assert apple.send().status == 200
    assert apple.client.until(h2.events.ConnectionTerminated).last_stream_id == 1
    apple.client = apple.connect()
    assert apple.send().status == 200
    apple.fake.go_away(code)
    apple.client.until(h2.events.ConnectionTerminated)
    assert apple.fake.delivered == {TOKEN: 2}


def test_apple_fails_in_all_ways(apple):
    fake = apple.fake
    fake.script(TOKEN, push_fakes.garbage(), push_fakes.reset(), push_fakes.hang_up())
    for _ in range(3):
        with pytest.raises((h2.exceptions.ProtocolError, OSError)):
            apple.send()
        apple.client = apple.connect()
    fake.script(TOKEN, push_fakes.huge_headers(), push_fakes.never(), push_fakes.redirect("/x"))
    with pytest.raises((h2.exceptions.ProtocolError, OSError)):
        apple.send()
    apple.client = apple.connect()
    apple.client.begin(TOKEN, ALERT, **apple.headers())
    fake.wait_for_requests(5)
    apple.client = apple.connect()
    assert apple.send().headers["location"] == "/x"
    with pytest.raises(AssertionError, match="alpn"):
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            apple.client = apple.connect(alpn="http/1.1")
            apple.send()
        fake.check()
