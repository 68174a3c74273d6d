"""The fake of Firebase accepts what is right and refuses what is wrong."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import push_fakes
from fake_fcm import ERRORS, OAUTH, FakeFCM, fcm_error, invalid_token
from push_clients import google_assertion, google_grant

TOKEN = "dQw4w9WgXcQ:APA91b" + "x" * 134
OTHER = "dQw4w9WgXcR:APA91b" + "y" * 134


def authorized(fcm, client):
    reply = google_grant(client, google_assertion(fcm))
    assert reply.status == 200 and reply.json["token_type"] == "Bearer"
    return f"Bearer {reply.json['access_token']}"


def push(fcm, client, bearer, message, **more):
    return client.post(
        f"/v1/projects/{fcm.project}/messages:send", {"message": message, **more},
        authorization=bearer)


def test_google_takes_what_is_right(start_fake):
    fcm, client = start_fake(FakeFCM)
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
def test_google_refuses_what_is_wrong(start_fake, code, message):
    fcm, client = start_fake(FakeFCM)
    reply = push(fcm, client, authorized(fcm, client), {"token": TOKEN, **message})
    assert (reply.status, reply.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert reply.json["error"]["details"][0]["errorCode"] == "INVALID_ARGUMENT"
    assert fcm.take_violations() == [code]
    assert not fcm.delivered


def test_google_looks_into_the_assertion(start_fake):
    fcm, client = start_fake(FakeFCM)
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
    reply = google_grant(client, google_assertion(
        fcm, key=rsa.generate_private_key(65537, 2048)))
    assert reply.json == {
        "error": "invalid_grant", "error_description": "Invalid JWT Signature."}
    reply = google_grant(client, google_assertion(fcm), scope="x")
    assert (reply.status, reply.json["error"]) == (400, "invalid_request")
    assert client.post("/token", {"assertion": "x"}).json["error"] == "invalid_request"
    assert fcm.take_violations() == [
        "unsupported_grant_type", "invalid_grant", "invalid_request", "invalid_request"]
    assert fcm.grants == 0
    fcm.clock_offset = -86400
    reply = google_grant(client, google_assertion(fcm))
    assert "reasonable timeframe" in reply.json["error_description"]


def test_google_wants_an_access_token_that_is_good(start_fake):
    fcm, client = start_fake(FakeFCM)
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
    target = f"/v1/projects/{fcm.project}/messages:send"
    for status, method, path, body, kind in [
        (404, "PUT", target, {"message": message}, "application/json"),
        (404, "POST", "/batch", {"message": message}, "application/json"),
        (400, "POST", target, {"message": message}, "text/plain"),
        (400, "POST", target, {"message": message, "validateOnly": True}, "application/json"),
        (400, "POST", target, {"message": [message]}, "application/json"),
    ]:
        reply = client.request(method, path, body, authorization=bearer, content_type=kind)
        assert reply.status == status
        assert fcm.take_violations() == ["NOT_FOUND" if status == 404 else "body"]


def test_google_says_every_error(start_fake):
    fcm, client = start_fake(FakeFCM)
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
