"""Senders that do it right, from other people's libraries, to try the fakes of push services with.
"""

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.parse
from typing import NamedTuple

import h2.connection
import h2.events
import http_ece
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from waiting import LONG


class Reply(NamedTuple):
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class PlainClient:
    """One connection of HTTP/1.1, which is kept, and made anew after it was closed."""

    def __init__(self, fake, authority):
        self._connection = http.client.HTTPSConnection(
            "localhost", fake.port, timeout=LONG,
            context=ssl.create_default_context(cafile=authority.file))

    def close(self):
        self._connection.close()

    def request(self, method, target, body=None, **headers):
        """Objects are sent as JSON, and names such as `x_title` for X-Title."""
        fields = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        if not isinstance(body, (bytes, str, type(None))):
            body = json.dumps(body)
            fields.setdefault("content-type", "application/json")
        path = target if target.startswith("/") else urllib.parse.urlsplit(target).path
        try:
            self._connection.request(method, path if "?" not in target else target, body, fields)
            answer = self._connection.getresponse()
            return Reply(
                answer.status, {name.lower(): value for name, value in answer.getheaders()},
                answer.read())
        except BaseException:
            self.close()
            raise

    def post(self, target, body=None, **headers):
        return self.request("POST", target, body, **headers)


class AppleClient:
    """One connection of HTTP/2. `begin` opens a stream, `finish` waits for its end: a reply, or
    the event that ended it or the connection."""

    def __init__(self, fake, authority, alpn="h2"):
        context = ssl.create_default_context(cafile=authority.file)
        context.set_alpn_protocols([alpn])
        raw = socket.create_connection(("127.0.0.1", fake.port), timeout=LONG)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(raw, server_hostname="localhost")
        self._authority = f"localhost:{fake.port}"
        self.http = h2.connection.H2Connection()
        self._events = []
        self.http.initiate_connection()
        self.flush()

    def close(self):
        self._socket.close()

    def flush(self):
        self._socket.sendall(self.http.data_to_send())

    def begin(self, token, payload, method="POST", path=None, **headers):
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        stream = self.http.get_next_available_stream_id()
        fields = [(name.replace("_", "-"), str(value)) for name, value in headers.items()
                  if value is not None]
        self.http.send_headers(stream, [
            (":method", method), (":scheme", "https"), (":authority", self._authority),
            (":path", f"/3/device/{token}" if path is None else path), *fields],
            end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def finish(self, stream):
        headers, body = {}, b""
        for event in self._all_events():
            if isinstance(event, h2.events.ConnectionTerminated):
                return event
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                headers = {
                    _text(name): _text(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamReset):
                return event
            elif isinstance(event, h2.events.StreamEnded):
                return Reply(int(headers.pop(":status")), headers, body)

    def send(self, token, payload, **options):
        return self.finish(self.begin(token, payload, **options))

    def until(self, kind):
        return next(event for event in self._all_events() if isinstance(event, kind))

    def _all_events(self):
        """Those that came, and then those that come; what is read is kept for others."""
        seen = 0
        while True:
            while seen < len(self._events):
                yield self._events[seen]
                seen += 1
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the fake has closed the connection")
            self._events += self.http.receive_data(data)
            with contextlib.suppress(OSError):
                self.flush()


def apple_token(fake, key_id=None, at=None, header=None, key=None, **claims):
    """A provider's token. PyJWT would add `typ`, which Apple does not ask for."""
    known = fake.keys[key_id or fake.key_id]
    return jwt.encode(
        {"iss": known.team, "iat": int(at or time.time()), **claims}, key or known.private,
        "ES256", {"kid": key_id or fake.key_id, "typ": None, **(header or {})})


def google_assertion(fake, header=None, key=None, **claims):
    now = int(time.time())
    return jwt.encode({
        "iss": fake.email, "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": fake.token_url, "iat": now, "exp": now + 3600, **claims},
        key or fake.private_key, "RS256", {"kid": fake.key_id, **(header or {})})


def google_grant(client, assertion, **more):
    """The reply to a request of an access token."""
    form = urllib.parse.urlencode({
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion,
        **more})
    return client.post("/token", form, content_type="application/x-www-form-urlencoded")


class VAPIDKey:
    """A sender of Web Push."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = base64.urlsafe_b64encode(self.private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        ).rstrip(b"=").decode()

    def authorization(self, origin, **claims):
        token = jwt.encode({
            "aud": origin, "exp": int(time.time()) + 12 * 3600, "sub": "mailto:ops@example.org",
            **claims}, self.private, "ES256")
        return f"vapid t={token}, k={self.public}"


def encrypted(subscription, plaintext, salt=None, key=None):
    """The body of a Web Push message."""
    return http_ece.encrypt(
        plaintext, salt=salt or os.urandom(16),
        private_key=key or ec.generate_private_key(ec.SECP256R1()),
        dh=base64.urlsafe_b64decode(subscription.p256dh + "="),
        auth_secret=subscription.secret, version="aes128gcm")


def _text(value):
    return value.decode() if isinstance(value, bytes) else value
