"""The fakes of push services accept what is right and refuse what is wrong: senders from other
people's libraries try them."""

import concurrent.futures
import contextlib
import http.client
import ssl
import time

import h2.events
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import push_fakes
from certificates import Authority
from fake_apns import REASONS, FakeAPNs, going_away, reason
from fake_fcm import ERRORS, OAUTH, FakeFCM, fcm_error, invalid_token
from fake_gotify import FakeGotify
from fake_ntfy import FakeNtfy, Rate, ntfy_error
from fake_web_push import FakeWebPush, web_push_error
from push_clients import (
    AppleClient, PlainClient, VAPIDKey, apple_token, encrypted, google_assertion, google_grant)

TOKEN = "ab" * 32
OTHER = "cd" * 32
ALERT = {"aps": {"alert": {"loc-key": "NEW"}, "badge": 1, "mutable-content": 1}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stops:
        yield stops


@pytest.fixture
def start(authority, stack):
    """A fake, and a client of HTTP/1.1 for it."""

    def make(kind, **options):
        fake = stack.enter_context(kind(authority, **options))
        return fake, stack.enter_context(contextlib.closing(PlainClient(fake, authority)))

    return make


# Apple


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
def apple(authority, stack):
    return Apple(authority, stack)


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
    ("MissingDeviceToken", {"token": ""}),
    ("BadPath", {"path": "/3/devices/" + TOKEN}),
    ("MethodNotAllowed", {"method": "PUT"}),
    ("PayloadEmpty", {"payload": b""}),
    ("PayloadEmpty", {"payload": b'{"aps":{"badge":NaN}}'}),
    ("PayloadEmpty", {"payload": {"aps": {"badge": "1"}}}),
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


# Google


def authorized(fcm, client):
    reply = google_grant(client, google_assertion(fcm))
    assert reply.status == 200 and reply.json["token_type"] == "Bearer"
    return f"Bearer {reply.json['access_token']}"


def push(fcm, client, bearer, message, **more):
    return client.post(
        f"/v1/projects/{fcm.project}/messages:send", {"message": message, **more},
        authorization=bearer)


def test_google_takes_what_is_right(start):
    fcm, client = start(FakeFCM)
    bearer = authorized(fcm, client)
    reply = push(fcm, client, bearer, {
        "token": TOKEN, "data": {"account": "1f", "filler": "x" * 4081},
        "android": {"priority": "HIGH", "ttl": "2419200s", "collapse_key": "k1"}})
    assert (reply.status, list(reply.json)) == (200, ["name"])
    assert push(fcm, client, bearer, {"token": TOKEN, "data": {"a": "b"}},
                validate_only=True).status == 200
    fcm.check()
    assert (fcm.delivered, fcm.grants, fcm.connections) == ({TOKEN: 1}, 1, 1)
    assert fcm.deliveries(TOKEN)[0].payload["android"]["priority"] == "HIGH"


@pytest.mark.parametrize("code, message", [
    ("message.data[0].value", {"data": {"count": 3}}),
    ("message.data", {"data": ["x"]}),
    ("data", {"data": {"from": "x"}}),
    ("data", {"data": {"google.x": "x"}}),
    ("size", {"data": {"a": "x" * 4096}}),
    ("message", {"data": {"a": "b"}, "topic": "news"}),
    ("message", {}),
    ("message", {"data": {"a": "b"}, "to": "x"}),
    ("message.android.priority", {"data": {"a": "b"}, "android": {"priority": "high"}}),
    ("message.android.ttl", {"data": {"a": "b"}, "android": {"ttl": "2419201s"}}),
    ("message.android.ttl", {"data": {"a": "b"}, "android": {"ttl": "60"}}),
    ("message.android", {"data": {"a": "b"}, "android": {"collapseKey": "x"}}),
])
def test_google_refuses_what_is_wrong(start, code, message):
    fcm, client = start(FakeFCM)
    reply = push(fcm, client, authorized(fcm, client), {"token": TOKEN, **message})
    assert (reply.status, reply.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert reply.json["error"]["details"][0]["errorCode"] == "INVALID_ARGUMENT"
    assert fcm.take_violations() == [code]
    assert not fcm.delivered


def test_google_looks_into_the_assertion(start):
    fcm, client = start(FakeFCM)
    now = int(time.time())
    for code, options in [
        ("invalid_grant", {"exp": now + 3700}), ("invalid_grant", {"iat": now - 7200}),
        ("invalid_grant", {"iat": now - 4000, "exp": now - 400}),
        ("invalid_grant", {"aud": "https://oauth2.example.org/token"}),
        ("invalid_grant", {"iss": "nobody@example.org"}), ("invalid_grant", {"sub": "x"}),
        ("invalid_grant", {"header": {"kid": "another"}}),
        ("invalid_scope", {"scope": "https://www.googleapis.com/auth/cloud-platform"}),
    ]:
        reply = google_grant(client, google_assertion(fcm, **options))
        assert (reply.status, reply.json["error"]) == (400, code)
        assert fcm.take_violations() == [code]
    reply = google_grant(client, google_assertion(fcm), grant_type="password")
    assert reply.json["error"] == "unsupported_grant_type"
    assert fcm.grants == 0
    fcm.clock_offset = -86400
    reply = google_grant(client, google_assertion(fcm))
    assert "reasonable timeframe" in reply.json["error_description"]


def test_google_wants_an_access_token_that_is_good(start):
    fcm, client = start(FakeFCM)
    message = {"token": TOKEN, "data": {"a": "b"}}
    bearer = authorized(fcm, client)
    fcm.revoke_access()
    assert push(fcm, client, bearer, message).json["error"]["status"] == "UNAUTHENTICATED"
    bearer = authorized(fcm, client)
    assert push(fcm, client, bearer, message).status == 200
    fcm.check()
    assert push(fcm, client, bearer.lower(), message).status == 401
    assert client.post("/v1/projects/other/messages:send", {"message": message},
                       authorization=bearer).json["error"]["status"] == "PERMISSION_DENIED"
    assert fcm.take_violations() == ["bearer", "PERMISSION_DENIED"]


def test_google_says_every_error(start):
    fcm, client = start(FakeFCM)
    bearer = authorized(fcm, client)
    for code, (status, name, _) in ERRORS.items():
        fcm.script(TOKEN, fcm_error(code, retry_after=7))
        reply = push(fcm, client, bearer, {"token": TOKEN, "data": {"a": "b"}})
        error = reply.json["error"]
        assert (reply.status, error["code"], error["status"]) == (status, status, name)
        assert (error["details"][0]["errorCode"], reply.headers["retry-after"]) == (code, "7")
    assert invalid_token(True).body["error"]["details"][1]["fieldViolations"]
    fcm.unregister(TOKEN)
    assert push(fcm, client, bearer, {"token": TOKEN, "data": {"a": "b"}}).status == 404
    assert fcm.delivered == {}
    fcm.script(OAUTH, push_fakes.Answer(503))
    assert google_grant(client, google_assertion(fcm)).status == 503
    for key in range(4):
        push(fcm, client, bearer, {
            "token": OTHER, "data": {"a": "b"}, "android": {"collapse_key": str(key)}})
    fcm.check()
    push(fcm, client, bearer, {
        "token": OTHER, "data": {"a": "b"}, "android": {"collapse_key": "5"}})
    assert fcm.take_violations() == ["collapse_key"]


# Web Push


class Sender:
    """A sender of Web Push with a subscription."""

    def __init__(self, fake, client):
        self.fake, self.client, self.key = fake, client, VAPIDKey()
        self.subscription = fake.subscribe()

    def send(self, body=None, claims=None, **changes):
        headers = {
            "ttl": 60, "content_encoding": "aes128gcm", "urgency": "high", "topic": "t-1_A",
            "content_type": "application/octet-stream",
            "authorization": self.key.authorization(self.fake.url, **(claims or {})), **changes}
        return self.client.post(
            self.subscription.endpoint,
            encrypted(self.subscription, b"wake up") if body is None else body,
            **{name: value for name, value in headers.items() if value is not None})


@pytest.fixture
def sender(start):
    return Sender(*start(FakeWebPush))


def test_web_push_takes_what_is_right(sender):
    reply = sender.send()
    assert reply.status == 201 and reply.headers["location"].startswith(sender.fake.url)
    assert sender.send(encrypted(sender.subscription, b"x" * 3993)).status == 201
    sender.fake.check()
    token = sender.subscription.token
    assert sender.fake.delivered == {token: 2}
    assert sender.fake.deliveries(token)[0].payload == b"wake up"
    sender.subscription = sender.fake.subscribe(vapid_key=sender.key.public)
    assert sender.send().status == 201
    sender.key = VAPIDKey()
    assert sender.send().status == 403
    sender.fake.unsubscribe(sender.subscription)
    assert sender.send(authorization=None).status == 401
    sender.subscription = sender.fake.subscribe()
    sender.fake.unsubscribe(sender.subscription, 404)
    assert sender.send().status == 404


@pytest.mark.parametrize("status, code, changes", [
    (400, "ttl", {"ttl": None}), (400, "ttl", {"ttl": -1}),
    (400, "urgency", {"urgency": "urgent"}),
    (400, "topic", {"topic": "x" * 33}), (400, "topic", {"topic": "a.b"}),
    (400, "content-encoding", {"content_encoding": "aesgcm"}),
    (400, "content-encoding", {"content_encoding": None}),
    (400, "content-type", {"content_type": "application/json"}),
    (400, "encryption", {"crypto_key": "p256ecdsa=x"}),
    (413, "size", {"body": b"x" * 4097}),
    (400, "header", {"body": b"x" * 200}),
    (201, "encryption", {"body": bytes(16) + b"\0\0\x10\0\x41\x04" + b"x" * 164}),
    (401, "vapid", {"authorization": None}),
    (401, "vapid", {"authorization": "WebPush x.y.z"}),
    (401, "vapid", {"claims": {"aud": "https://localhost"}}),
    (401, "vapid", {"claims": {"exp": int(time.time()) + 90000}}),
    (401, "vapid", {"claims": {"exp": int(time.time()) - 1}}),
    (401, "vapid", {"claims": {"sub": "ops@example.org"}}),
    (401, "vapid", {"claims": {"sub": "mailto:ops@localhost"}}),
])
def test_web_push_refuses_what_is_wrong(sender, status, code, changes):
    assert sender.send(**changes).status == status
    assert sender.fake.take_violations() == [code]
    assert not sender.fake.delivered


def test_web_push_wants_fresh_keys(sender):
    other = sender.fake.subscribe()
    key = ec.generate_private_key(ec.SECP256R1())
    sender.send(encrypted(sender.subscription, b"1", b"s" * 16, key))
    sender.fake.check()
    sender.send(encrypted(sender.subscription, b"2", b"s" * 16, key))
    assert sender.fake.take_violations() == ["reuse", "reuse"]
    # What was meant for another device.
    sender.send(encrypted(other, b"3"))
    assert sender.fake.take_violations() == ["encryption"]


def test_web_push_says_what_it_is_told(start):
    fake, client = start(FakeWebPush, needs_vapid=False, is_unified_push=True)
    sender = Sender(fake, client)
    assert client.request("GET", sender.subscription.endpoint).json["unifiedpush"] == {"version": 1}
    fake.script(sender.subscription.token, web_push_error(429, retry_after=9))
    assert sender.send(authorization=None).headers["retry-after"] == "9"
    assert sender.send(authorization=None).status == 201
    fake.check()


# ntfy and Gotify


def test_ntfy(start):
    bearer = "tk_" + "a" * 29
    ntfy, client = start(FakeNtfy, bearer=bearer, user=("ops", "secret"))
    headers = {"authorization": f"Bearer {bearer}"}
    topic, up = ntfy.new_topic(), ntfy.new_topic(is_unified_push=True)
    assert client.post(
        f"/{topic}", "Hi", x_title="New", x_priority=5, x_tags="a,b", x_cache="no",
        x_firebase="no", **headers).status == 200
    assert client.request("PUT", f"/{topic}", "Hi", authorization="Basic b3BzOnNlY3JldA=="
                          ).status == 200
    assert client.post("/", {
        "topic": topic, "message": "Hi", "priority": 4, "tags": ["a"]}, **headers).status == 200
    assert client.post(f"/{up}", b"\xff\xfe", x_unifiedpush=1, **headers).status == 200
    ntfy.check()
    assert ntfy.delivered == {topic: 3, up: 1}
    assert ntfy.deliveries(topic)[0].payload == {
        "message": "Hi", "title": "New", "priority": 5, "tags": ["a", "b"], "cache": False,
        "firebase": False}
    assert ntfy.deliveries(up)[0].payload["body"] == b"\xff\xfe"
    ntfy.deserted.add(up)
    ntfy.forbidden.add(topic)
    for code, target, body, more in [
        (50701, f"/{up}", "x", {}), (40301, f"/{topic}", "x", {}),
        (40101, f"/{topic}", "x", {"authorization": "Bearer tk_b"}),
        (40007, f"/{topic}", "x", {"x_priority": 6}), (41301, f"/{topic}", "x" * 4097, {}),
        (41301, f"/{topic}", b"\xff", {}), (40024, f"/{topic}", "x", {"x_color": "red"}),
        (40009, "/a.b", "x", {}), (40007, "/", {"topic": topic, "priority": 6}, {}),
        (40024, "/", {"topic": topic, "priority": "5"}, {}), (40009, "/", {"message": "x"}, {}),
    ]:
        reply = client.post(target, body, **{**headers, **more})
        assert (reply.status, reply.json["code"]) == (code // 100, code)
        assert reply.json["http"] == reply.status
        assert ntfy.take_violations() == ([code] if code in (40007, 40009, 40024, 41301) else [])
    ntfy.script(topic, ntfy_error(42908))
    assert client.post(f"/{topic}", "x", **headers).json["code"] == 42908


def test_ntfy_limits_the_rate(start):
    ntfy, client = start(FakeNtfy, rate=Rate(burst=2, pause=5))
    assert [client.post("/abc", "x").status for _ in range(3)] == [200, 200, 429]
    ntfy.clock_offset += 5
    assert [client.post("/abc", "x").status for _ in range(2)] == [200, 429]


def test_gotify(start):
    gotify, client = start(FakeGotify)
    token = gotify.add_application(priority=4)
    reply = client.post("/message", {
        "message": "Hi", "title": "New", "priority": None,
        "extras": {"client::display": {"contentType": "text/plain"}}}, x_gotify_key=token)
    assert (reply.status, reply.json["priority"], reply.json["appid"]) == (200, 4, 1)
    assert client.post(f"/message?token={token}", {"message": "Hi"}).status == 200
    assert client.post(
        "/message", {"message": "Hi"}, authorization=f"Bearer {token}").status == 200
    gotify.check()
    assert gotify.delivered == {token: 3}
    assert client.post("/message", {"message": "x"}, x_gotify_key="Axxx").status == 401
    gotify.check()
    for status, body in [
        (400, {"title": "x"}), (400, {"message": ""}), (400, {"message": "x", "priority": "5"}),
        (400, {"message": "x", "extras": {"display": {}}}), (400, b"{}"), (400, ["x"]),
        (400, {"message": "x", "loud": True}),
    ]:
        reply = client.post("/message", body, x_gotify_key=token)
        assert (reply.status, reply.json["errorCode"]) == (status, status)
        assert gotify.take_violations() == [status]


# What all can do


@pytest.fixture
def gotify(start):
    """The fake, a sender to it, and the sender's token."""
    fake, client = start(FakeGotify)
    token = fake.add_application()
    return fake, lambda: client.post("/message", {"message": "x"}, x_gotify_key=token), token


def test_connections_are_kept(gotify):
    fake, send, _ = gotify
    assert {send().status for _ in range(5)} == {200}
    assert (fake.connections, fake.open_connections) == (1, 1)
    fake.drop_connections()
    with pytest.raises((OSError, http.client.HTTPException)):
        send()
    assert (send().status, fake.connections) == (200, 2)


def test_outages(gotify):
    fake, send, _ = gotify
    assert send().status == 200
    for _ in range(2):
        with fake.outage():
            for _ in range(3):
                with pytest.raises(OSError):
                    send()
        assert send().status == 200


def test_faults(gotify):
    fake, send, token = gotify
    fake.script(token, push_fakes.garbage(), push_fakes.reset(), push_fakes.hang_up())
    fake.script(push_fakes.ANY, push_fakes.huge_headers(), push_fakes.reset(delivers=True))
    for _ in range(5):
        with pytest.raises((OSError, http.client.HTTPException)):
            send()
    # The header came after success, as far as the service knows.
    assert fake.delivered == {token: 2}
    fake.script(token, push_fakes.redirect("/elsewhere"), push_fakes.error_inside({"error": "x"}))
    assert send().headers["location"] == "/elsewhere"
    assert (send().status, fake.delivered) == (200, {token: 2})
    fake.quota = 2
    assert [send().status for _ in range(3)] == [200, 200, 429]
    fake.quota = None
    fake.always(token, push_fakes.Answer(503))
    assert [send().status for _ in range(2)] == [503, 503]
    fake.always(token, None)
    assert send().status == 200


def test_answers_that_are_late(gotify):
    fake, send, token = gotify
    gate = push_fakes.Gate()
    fake.script(token, push_fakes.held(gate), push_fakes.slow(0.05), push_fakes.never())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        reply = pool.submit(send)
        fake.wait_for_deliveries(1, token)
        assert not reply.done()
        gate.open()
        assert reply.result().status == 200
        began = time.monotonic()
        assert send().status == 200 and time.monotonic() - began >= 0.05
        reply = pool.submit(send)
        fake.wait_for_requests(3)
        fake.drop_connections()
        with pytest.raises((OSError, http.client.HTTPException)):
            reply.result()


def test_their_certificate_is_an_authority_s(gotify, authority, tmp_path, start):
    fake, _, _ = gotify
    with pytest.raises(ssl.SSLError):
        PlainClient(fake, Authority(tmp_path / "other")).post("/message", {"message": "x"})
    assert fake.requests == []
