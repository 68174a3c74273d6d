"""A fake of a Web Push service (RFC 8030), which checks VAPID (RFC 8292) and opens what it gets
(RFC 8291), as UnifiedPush's services and the devices behind them do."""

import base64
import os
import re
import secrets
import urllib.parse

import http_ece
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from push_fakes import Answer, PushFake, Refused

URGENCIES = ("very-low", "low", "normal", "high")
# Bytes of a body.
MOST_BODY = 4096
_OLD_HEADERS = {"encryption", "crypto-key", "encryption-key"}


def web_push_error(status, text="", errno=None, **headers):
    """In the form of Mozilla's service; others have none."""
    body = {"code": status, "errno": errno or status, "error": text, "message": text}
    return Answer(
        status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class Subscription:
    """A device's end. Its token is the last part of its endpoint."""

    def __init__(self, url, vapid_key=None):
        self.token = secrets.token_urlsafe(20)
        self.endpoint = f"{url}/push/{self.token}"
        self.vapid_key = vapid_key
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.secret = os.urandom(16)
        self.p256dh = _base64url(self.private_key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint))
        self.auth = _base64url(self.secret)

    def open(self, body):
        """What was meant for the device; raises if it was not."""
        return http_ece.decrypt(
            body, private_key=self.private_key, auth_secret=self.secret, version="aes128gcm")


class FakeWebPush(PushFake):
    """With `needs_vapid`, who sends has to say who that is. `is_unified_push` answers GET."""

    def __init__(self, authority, name="localhost", needs_vapid=True, is_unified_push=False):
        super().__init__(authority, name)
        self.needs_vapid = needs_vapid
        self.is_unified_push = is_unified_push
        self.subscriptions = {}
        # The different tokens that senders showed.
        self.vapid_tokens = set()
        self._gone = {}
        self._used = set()

    def subscribe(self, vapid_key=None):
        """With the base64url of a sender's public key, nobody else may send."""
        made = Subscription(self.url, vapid_key)
        self.subscriptions[made.token] = made
        return made

    def unsubscribe(self, subscription, status=410):
        """It is gone: 410, or 404."""
        self._gone[subscription.token] = web_push_error(status, "gone", 106)

    # Rules

    def check_rules(self, request):
        path = re.fullmatch(r"/push/([\w-]+)", request.path)
        if path:
            request.token = path[1]
        if request.token not in self.subscriptions or request.query:
            _refuse(404, "path", f"there is no {request.target}")
        if request.method == "GET":
            if self.is_unified_push:
                raise Refused(Answer(200, {"unifiedpush": {"version": 1}}, delivers=False))
            _refuse(405, "method", "GET")
        if request.method != "POST":
            _refuse(405, "method", request.method)
        self._check_headers(request)
        self._check_vapid(request)
        self._check_body(request)

    def _check_headers(self, request):
        names = [name for name, _ in request.headers]
        for name in names:
            if names.count(name) > 1:
                _refuse(400, name, "twice")
        if old := _OLD_HEADERS & set(names):
            _refuse(400, "encryption", f"a draft's headers: {old}")
        ttl = request.header("ttl")
        if ttl is None or not re.fullmatch(r"\d{1,10}", ttl):
            _refuse(400, "ttl", f"TTL is {ttl!r}", 111)
        if request.header("urgency", "normal") not in URGENCIES:
            _refuse(400, "urgency", request.header("urgency"))
        topic = request.header("topic")
        if topic is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", topic):
            _refuse(400, "topic", topic, 113)
        kind = request.header("content-type", "application/octet-stream")
        if kind != "application/octet-stream":
            _refuse(400, "content-type", kind)
        if request.body and request.header("content-encoding") != "aes128gcm":
            _refuse(400, "content-encoding", str(request.header("content-encoding")), 110)

    def _check_vapid(self, request):
        value = request.header("authorization")
        subscription = self.subscriptions[request.token]
        if value is None:
            if self.needs_vapid or subscription.vapid_key:
                _refuse(401, "vapid", "there is no authorization", 109)
            return
        parts = re.fullmatch(r"vapid t=([\w.-]+), ?k=([\w-]+)", value)
        if not parts:
            _refuse(401, "vapid", f"the authorization is {value}", 109)
        token, key = parts.groups()
        try:
            point = _unbase64url(key)
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, public, ["ES256"], options={
                "verify_iat": False, "verify_exp": False, "verify_aud": False})
        except (ValueError, jwt.PyJWTError) as error:
            _refuse(401, "vapid", f"its signature: {error}", 109)
        if len(point) != 65:
            _refuse(401, "vapid", f"a key of {len(point)} bytes", 109)
        if header.pop("typ", "JWT") != "JWT" or header != {"alg": "ES256"}:
            _refuse(401, "vapid", f"its header is {header}", 109)
        if claims.keys() - {"iat"} != {"aud", "exp", "sub"}:
            _refuse(401, "vapid", f"its claims are {claims}", 109)
        if claims["aud"] != self.url:
            _refuse(401, "vapid", f"aud is {claims['aud']!r}", 109)
        end = claims["exp"]
        if type(end) is not int or not self.now < end <= self.now + 86400:
            _refuse(401, "vapid", f"exp is {end!r} at {self.now:.0f}", 109)
        if not _is_contact(claims["sub"]):
            _refuse(401, "vapid", f"sub is {claims['sub']!r}", 109)
        if subscription.vapid_key not in (None, key):
            raise Refused(web_push_error(403, "another sender's", 109))
        self.vapid_tokens.add(token)

    def _check_body(self, request):
        """What the service sees: the header of RFC 8188 section 2.1. What the device sees is its
        own matter, and the service accepts it."""
        body = request.body
        if len(body) > MOST_BODY:
            _refuse(413, "size", f"{len(body)} bytes", 104)
        if not body:
            request.payload = b""
            return
        if len(body) < 21 + 65 + 17 or body[20] != 65:
            _refuse(400, "header", f"the identifier of the key: {body[:21].hex()}", 110)
        if int.from_bytes(body[16:20], "big") < len(body) - 86:
            _refuse(400, "header", "it is more than one record", 110)
        try:
            request.payload = self.subscriptions[request.token].open(body)
        except (http_ece.ECEException, ValueError) as error:
            raise Refused(
                Answer(201, delivers=False), "encryption", f"nobody can read it: {error}") from None
        # A fresh salt and a fresh key for every message.
        for part in (body[:16], body[21:86]):
            if part in self._used:
                self.violate("reuse", part.hex(), request)
            self._used.add(part)

    # Answers

    def serve(self, request):
        gone = self._gone.get(request.token)
        return gone or Answer(201, headers={
            "location": f"{self.url}/message/{secrets.token_urlsafe(16)}",
            "ttl": request.header("ttl")})

    def over_quota(self):
        return web_push_error(429, "too many requests", 201, retry_after=60)


def _is_contact(sub):
    if not isinstance(sub, str):
        return False
    address = urllib.parse.urlsplit(sub)
    host = address.path.rpartition("@")[2] if address.scheme == "mailto" else address.hostname
    return (
        address.scheme in ("mailto", "https") and bool(host) and "." in host
        and not host.endswith((".localhost", "localhost.localdomain")))


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refuse(status, code, text, errno=None):
    raise Refused(web_push_error(status, text, errno), code, text)
