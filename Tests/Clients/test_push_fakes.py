"""The fakes of push services accept what is right and refuse what is wrong: senders from other
people's libraries try them. Apple's and Google's are tried in files of their own."""

import base64
import concurrent.futures
import http.client
import socket
import ssl
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import push_fakes
from certificates import Authority
from fake_gotify import FakeGotify
from fake_ntfy import FakeNtfy, Rate, ntfy_error
from fake_web_push import FakeWebPush, web_push_error
from push_clients import PlainClient, VAPIDKey, encrypted


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
def sender(start_fake):
    return Sender(*start_fake(FakeWebPush))


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
    (401, "vapid", {"claims": {"nbf": 1}}),
    (400, "urgency", {"URGENCY": "high"}),
    (400, "header", {"body": bytes(16) + b"\0\0\0\x7f\x41\x04" + b"x" * 192}),
])
def test_web_push_refuses_what_is_wrong(sender, status, code, changes):
    assert sender.send(**changes).status == status
    assert sender.fake.take_violations() == [code]
    assert not sender.fake.delivered


def test_web_push_looks_into_the_authorization(sender):
    key, fake = VAPIDKey(), sender.fake
    good = sender.key.authorization(fake.url)
    short = base64.urlsafe_b64encode(key.private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)).decode()
    token = jwt.encode(
        {"aud": fake.url, "exp": int(time.time()) + 60, "sub": "mailto:ops@example.org"},
        key.private, "ES256", {"kid": "1"})
    for wrong in (
        good.replace(sender.key.public, key.public), good.replace("k=", "k=AAAA"),
        key.authorization(fake.url).replace(key.public, short), f"vapid t={token}, k={key.public}",
    ):
        assert sender.send(authorization=wrong).status == 401
        assert fake.take_violations() == ["vapid"]
    assert sender.client.post("/push/nobody", b"").status == 404
    assert sender.client.request("PUT", sender.subscription.endpoint).status == 405
    assert sender.client.request("GET", sender.subscription.endpoint).status == 405
    assert fake.take_violations() == ["path", "method", "method"]


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


def test_web_push_says_what_it_is_told(start_fake):
    fake, client = start_fake(FakeWebPush, needs_vapid=False, is_unified_push=True)
    sender = Sender(fake, client)
    assert client.request("GET", sender.subscription.endpoint).json["unifiedpush"] == {"version": 1}
    fake.script(sender.subscription.token, web_push_error(429, retry_after=9))
    assert sender.send(authorization=None).headers["retry-after"] == "9"
    assert sender.send(authorization=None).status == 201
    fake.check()


# ntfy and Gotify


def test_ntfy(start_fake):
    bearer = "tk_" + "a" * 29
    ntfy, client = start_fake(FakeNtfy, bearer=bearer, user=("ops", "secret"))
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
        (40024, "/", ["x"], {}), (40024, "/", {"topic": topic, "tags": [1]}, {}),
        (41301, "/", {"topic": topic, "message": "ü" * 2049}, {}),
        (40024, f"/{topic}", "x", {"x_title": "a", "title": "b"}),
        (40024, f"/{topic}", "x", {"x_cache": "never"}),
        (40006, f"/{topic}", "x", {"x_cache": "no", "x_delay": "1h"}),
    ]:
        reply = client.post(target, body, **{**headers, **more})
        assert (reply.status, reply.json["code"]) == (code // 100, code)
        assert reply.json["http"] == reply.status
        assert ntfy.take_violations() == ([code] if code // 100 in (400, 413) else [])
    for target, authorization in [
        ("/abc", "Basic ???"), ("/abc", "Digest x"), ("/abc?auth=%C3%BC", None)]:
        headers = {"authorization": authorization} if authorization else {}
        assert client.post(target, "x", **headers).json["code"] == 40101
        assert ntfy.take_violations() == [40101]
    assert client.post("/abc", "x").json["code"] == 40101
    auth = base64.urlsafe_b64encode(f"Bearer {bearer}".encode()).decode().rstrip("=")
    assert client.post(f"/abc?auth={auth}", "x").status == 200
    assert client.request("GET", "/abc?up=1").json == {"unifiedpush": {"version": 1}}
    ntfy.check()
    assert client.request("DELETE", "/abc").json["code"] == 40401
    assert ntfy.take_violations() == [40401]
    ntfy.script("abc", ntfy_error(42908))
    assert client.post(f"/abc?auth={auth}", "x").json["code"] == 42908


def test_ntfy_limits_the_rate(start_fake):
    ntfy, client = start_fake(FakeNtfy, rate=Rate(burst=2, pause=5))
    assert [client.post("/abc", "x").status for _ in range(3)] == [200, 200, 429]
    ntfy.clock_offset += 5
    assert [client.post("/abc", "x").status for _ in range(2)] == [200, 429]


def test_gotify(start_fake):
    gotify, client = start_fake(FakeGotify)
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
    for status, method, path, headers in [
        (404, "POST", "/messages", {"x_gotify_key": token}),
        (404, "PUT", "/message", {"x_gotify_key": token}), (401, "POST", "/message", {}),
        (400, "POST", "/message", {"x_gotify_key": token, "content_type": "text/plain"}),
    ]:
        assert client.request(method, path, {"message": "x"}, **headers).status == status
        assert gotify.take_violations() == [status]


# What all can do


@pytest.fixture
def gotify(start_fake):
    """The fake, a sender to it, and the sender's token."""
    fake, client = start_fake(FakeGotify)
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


def test_silence(gotify):
    fake, send, _ = gotify
    assert send().status == 200
    with fake.silence():
        with socket.create_connection(("127.0.0.1", fake.port)) as raw:
            raw.settimeout(0.05)
            raw.sendall(b"\x16\x03\x01")
            with pytest.raises(TimeoutError):
                raw.recv(1)
    with pytest.raises((OSError, http.client.HTTPException)):
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


def test_their_certificate_is_an_authority_s(gotify, tmp_path):
    fake, _, _ = gotify
    with pytest.raises(ssl.SSLError):
        PlainClient(fake, Authority(tmp_path / "other")).post("/message", {"message": "x"})
    assert fake.requests == []
