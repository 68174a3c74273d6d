"""A fake of Apple's push service: HTTP/2 with its limits, its tokens, its headers and its reasons.
"""

import asyncio
import contextlib
import json
import re
import time
import uuid
from typing import NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from push_fakes import MOST, Answer, PushFake, Refused, Request, apply_fault

# What a reason's status is.
REASONS = {
    **dict.fromkeys((
        "BadCollapseId", "BadDeviceToken", "BadExpirationDate", "BadMessageId", "BadPriority",
        "BadTopic", "DeviceTokenNotForTopic", "DuplicateHeaders", "IdleTimeout",
        "InvalidPushType", "MissingDeviceToken", "MissingTopic", "PayloadEmpty",
        "TopicDisallowed"), 400),
    **dict.fromkeys((
        "BadCertificate", "BadCertificateEnvironment", "BadEnvironmentKeyInToken",
        "BadEnvironmentKeyIdInToken", "ExpiredProviderToken", "Forbidden",
        "InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken"), 403),
    "BadPath": 404, "MethodNotAllowed": 405, "ExpiredToken": 410, "Unregistered": 410,
    "PayloadTooLarge": 413, "TooManyProviderTokenUpdates": 429, "TooManyRequests": 429,
    "InternalServerError": 500, "ServiceUnavailable": 503, "Shutdown": 503,
}
# What is behind the bundle's identifier in the topic of a type.
SUFFIXES = {
    "alert": "", "background": "", "mdm": "", "location": ".location-query", "voip": ".voip",
    "complication": ".complication", "fileprovider": ".pushkit.fileprovider",
    "liveactivity": ".push-type.liveactivity", "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets", "controls": ".push-type.controls",
}
# Seconds between two different tokens of a key, and of a token's life.
TOKEN_PAUSE, TOKEN_LIFE = 20 * 60, 60 * 60
_HEADERS = {
    "apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id",
    "apns-id"}
_APS = {
    "alert": (str, dict), "badge": int, "sound": (str, dict), "content-available": int,
    "mutable-content": int, "category": str, "thread-id": str, "target-content-id": str,
    "interruption-level": str, "relevance-score": (int, float), "filter-criteria": str}


def reason(code, timestamp=None, **headers):
    """An error as Apple says it; a time is in seconds, and sent in milliseconds."""
    body = {"reason": code}
    if timestamp is not None:
        body["timestamp"] = int(timestamp * 1000)
    return Answer(REASONS[code], body, headers)


class GoAway(NamedTuple):
    """A fault: the connection ends. With `answers`, the request in hand is served first; without
    it, it was not, and may be sent again. A reason goes into the frame's debug data."""

    reason: str | None = None
    error: int = h2.errors.ErrorCodes.NO_ERROR
    answers: bool = False


def going_away(code=None, answers=False, error=h2.errors.ErrorCodes.NO_ERROR):
    """The end of the connection in place of an answer, or right behind success."""
    return Answer(fault=GoAway(code, error, answers), delivers=answers)


class Key(NamedTuple):
    team: str
    private: ec.EllipticCurvePrivateKey
    environment: str | None

    @property
    def pem(self):
        """What Apple lets one download as AuthKey_….p8."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()).decode()


class FakeAPNs(PushFake):
    """One environment of it. A token is in hexadecimal digits.

    `key_id` is a key's that it knows, of `team_id`; `add_key` makes more. Apple's throttle of new
    tokens counts by key here, or by address with `throttles_by_address`."""

    protocol = "h2"
    key_id, team_id = "KEY2345678", "TEAM234567"

    def __init__(
        self, authority, name="localhost", topics=("org.example.app",), environment="production",
    ):
        super().__init__(authority, name)
        self.topics = set(topics)
        self.environment = environment
        self.keys = {}
        self.throttles_by_address = False
        # How many streams a connection may have once it has proven itself.
        self.most_streams = 1000
        self.pings = 0
        # Frames that Apple ignores.
        self.priority_frames = 0
        # The first use of each token of a provider, by key.
        self._provider_tokens = {}
        self._dead = {}
        self._lines = {}
        self.add_key(self.key_id, self.team_id)

    def add_key(self, key_id, team_id=team_id, environment=None):
        """A key that is good for one environment, or for all."""
        self.keys[key_id] = Key(team_id, ec.generate_private_key(ec.SECP256R1()), environment)
        return self.keys[key_id]

    @property
    def key(self):
        return self.keys[self.key_id]

    # What becomes of devices

    def unregister(self, token, timestamp=None, code="Unregistered"):
        """From now on it is refused; its time is when Apple saw that."""
        self._dead[token] = reason(code, time.time() if timestamp is None else timestamp)

    def register(self, token):
        self._dead.pop(token, None)

    def is_elsewhere(self, token, code="BadDeviceToken"):
        """A token of the other environment, or (DeviceTokenNotForTopic) of another app."""
        self._dead[token] = reason(code)

    def forget_provider_tokens(self):
        """As if twenty minutes had passed."""
        self._provider_tokens.clear()

    # Rules

    def check_rules(self, request):
        self._check_target(request)
        self._check_authorization(request)
        self._check_headers(request)
        self._check_payload(request)

    def _check_target(self, request):
        path = re.fullmatch(r"/3/device/([^/]*)", request.path)
        if path:
            request.token = path[1]
        if request.method != "POST":
            _refuse("MethodNotAllowed", request.method)
        if not path or request.query:
            _refuse("BadPath", request.target)
        if not request.token:
            _refuse("MissingDeviceToken", request.target)

    def _check_authorization(self, request):
        value = request.header("authorization")
        if value is None:
            _refuse("MissingProviderToken", "there is no authorization")
        kind, _, token = value.partition(" ")
        if kind != "bearer":
            _refuse("InvalidProviderToken", f"the scheme is {kind!r}")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            _refuse("InvalidProviderToken", f"no JWT: {error}")
        key = self.keys.get(header.get("kid"))
        if key is None or header != {"alg": "ES256", "kid": header["kid"]}:
            _refuse("InvalidProviderToken", f"its header is {header}")
        if key.environment not in (None, self.environment):
            raise Refused(reason("BadEnvironmentKeyInToken"))
        try:
            claims = jwt.decode(token, key.private.public_key(), ["ES256"], options={
                "verify_iat": False, "verify_exp": False, "verify_aud": False})
        except jwt.PyJWTError as error:
            _refuse("InvalidProviderToken", f"its signature: {error}")
        if claims.keys() != {"iss", "iat"} or claims["iss"] != key.team:
            _refuse("InvalidProviderToken", f"its claims are {claims}")
        issued = claims["iat"]
        if type(issued) is not int or issued > self.now + 60:
            _refuse("InvalidProviderToken", f"iat is {issued} at {self.now:.0f}")
        if self.now - issued > TOKEN_LIFE:
            _refuse("ExpiredProviderToken", f"it is {self.now - issued:.0f} s old")
        self._throttle(token, None if self.throttles_by_address else header["kid"])

    def _throttle(self, token, key):
        last, since = self._provider_tokens.get(key, (None, None))
        if last == token:
            return
        if last is not None and self.now - since < TOKEN_PAUSE:
            _refuse("TooManyProviderTokenUpdates", f"a new one after {self.now - since:.0f} s")
        self._provider_tokens[key] = token, self.now

    def _check_headers(self, request):
        names = [name for name, _ in request.headers]
        for name in set(names):
            if name.startswith("apns-") and name not in _HEADERS:
                _refuse("BadTopic", f"there is no header {name}")
            if names.count(name) > 1 and name != "cookie":
                _refuse("DuplicateHeaders", name)
        kind = request.header("apns-push-type")
        if kind not in SUFFIXES:
            _refuse("InvalidPushType", f"apns-push-type is {kind!r}")
        self._check_topic(request.header("apns-topic"), kind)
        priority = request.header("apns-priority")
        allowed = ("5", "1") if kind == "background" else ("10", "5", "1", None)
        if priority not in allowed or kind == "background" and priority != "5":
            _refuse("BadPriority", f"apns-priority of {kind} is {priority!r}")
        expiration = request.header("apns-expiration", "0")
        if not re.fullmatch(r"0|[1-9][0-9]{0,12}", expiration) \
                or int(expiration) > self.now + 366 * 86400:
            _refuse("BadExpirationDate", expiration)
        collapse = request.header("apns-collapse-id")
        if collapse is not None and not 1 <= len(collapse.encode()) <= 64:
            _refuse("BadCollapseId", collapse)
        identifier = request.header("apns-id")
        if identifier is not None and not _is_canonical(identifier):
            _refuse("BadMessageId", identifier)

    def _check_topic(self, topic, kind):
        if topic is None:
            _refuse("MissingTopic", "there is no apns-topic")
        suffix = SUFFIXES[kind]
        if not topic.endswith(suffix):
            _refuse("BadTopic", f"{topic} is not of {kind}")
        if topic.removesuffix(suffix) not in self.topics:
            _refuse("TopicDisallowed", topic)

    def _check_payload(self, request):
        kind = request.header("apns-push-type")
        if not request.body:
            _refuse("PayloadEmpty", "there is no body")
        most = 5120 if kind == "voip" else 4096
        if len(request.body) > most:
            _refuse("PayloadTooLarge", f"{len(request.body)} bytes")
        document = request.json()
        # Apple names no reason for JSON that is none.
        if not isinstance(document, dict):
            _refuse("PayloadEmpty", "the body is no JSON object")
        aps = document.get("aps")
        if not isinstance(aps, dict):
            _refuse("PayloadEmpty", f"aps is {aps!r}")
        for name, value in aps.items():
            if kind in ("alert", "background", "voip") and (
                    name not in _APS or type(value) is bool
                    or not isinstance(value, _APS[name])):
                _refuse("PayloadEmpty", f"aps has {name}: {value!r}")
        if "badge" in aps and aps["badge"] < 0:
            _refuse("PayloadEmpty", f"badge {aps['badge']}")
        for name in aps.keys() & {"content-available", "mutable-content"}:
            if aps[name] != 1:
                _refuse("PayloadEmpty", f"{name} {aps[name]}")
        if kind == "background" and aps != {"content-available": 1}:
            _refuse("InvalidPushType", f"aps of a background push is {aps}")
        if kind == "alert" and not aps.keys() & {"alert", "badge", "sound"}:
            _refuse("InvalidPushType", f"aps of an alert is {aps}")
        request.payload = document

    def serve(self, request):
        if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){32,100}", request.token):
            return reason("BadDeviceToken")
        return self._dead.get(request.token) or Answer(200)

    def over_quota(self):
        return reason("TooManyRequests")

    # HTTP/2

    def go_away(self, code=None, error=h2.errors.ErrorCodes.NO_ERROR):
        """Ends all connections; what they have in hand is not served."""
        async def send():
            for line in list(self._lines.values()):
                line.go_away(GoAway(code, error), served=0)
                line.writer.close()
        self._run(send())

    async def converse(self, reader, writer, number):
        tls = writer.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() != "h2":
            self.violate("alpn", f"agreed on {tls.selected_alpn_protocol()}")
            return
        line = self._lines[number] = _Line(self, reader, writer, number)
        try:
            await line.run()
        except h2.exceptions.TooManyStreamsError:
            self.violate("streams", "more streams than SETTINGS allow")
            line.flush()
        except h2.exceptions.ProtocolError as error:
            self.violate("http2", repr(error))
            line.flush()
        finally:
            del self._lines[number]
            for task in line.tasks:
                task.cancel()


class _Line:
    """One connection. It may have one stream until a message with a good token was taken."""

    def __init__(self, fake, reader, writer, number):
        self.fake, self.reader, self.writer, self.number = fake, reader, writer, number
        self.tasks = set()
        self._open = {}
        self._has_proven_itself = False
        self._http = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._http.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1,
            h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 8000})

    def flush(self):
        self.writer.write(self._http.data_to_send())

    async def run(self):
        self._http.initiate_connection()
        self.flush()
        while data := await self.reader.read(1 << 16):
            for event in self._http.receive_data(data):
                self._take(event)
            self.flush()
            await self.writer.drain()

    def _take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            if self._open and not self._has_proven_itself:
                self.fake.violate("streams", "a second stream before the first success")
                self._http.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
                return
            self._open[event.stream_id] = event.headers, bytearray()
        elif isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self._open:
                body = self._open[event.stream_id][1]
                body += event.data[:MOST - len(body)]
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._open:
            task = asyncio.ensure_future(self._answer(event.stream_id))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif isinstance(event, h2.events.StreamReset):
            self._open.pop(event.stream_id, None)
        elif isinstance(event, h2.events.PingReceived):
            with self.fake._changed:
                self.fake.pings += 1
                self.fake._changed.notify_all()
        elif isinstance(event, h2.events.PriorityUpdated):
            self.fake.priority_frames += 1

    async def _answer(self, stream):
        headers, body = self._open[stream]
        pseudo = dict(field for field in headers if field[0].startswith(":"))
        request = Request(
            pseudo[":method"], pseudo[":path"],
            [field for field in headers if not field[0].startswith(":")], bytes(body),
            self.number)
        if (pseudo[":scheme"], pseudo.get(":authority")) != ("https", self.fake._authority):
            self.fake.violate("host", str(pseudo), request)
        answer = await self.fake.decide(request)
        fault = answer.fault
        if isinstance(fault, GoAway):
            if fault.answers:
                self._send(stream, request, Answer(200))
            self.go_away(fault, served=stream if fault.answers else stream - 2)
            self.writer.close()
        elif fault is not None:
            # The other streams go on being read by `run`.
            if fault != "nothing" and not await apply_fault(answer, self.reader, self.writer):
                self.writer.close()
        else:
            self._send(stream, request, answer)
        with contextlib.suppress(OSError):
            await self.writer.drain()

    def go_away(self, fault, served):
        """Written by hand, for h2 would send nothing more."""
        debug = json.dumps({"reason": fault.reason}).encode() if fault.reason else b""
        frame = hyperframe.frame.GoAwayFrame(
            0, last_stream_id=max(served, 0), error_code=int(fault.error), additional_data=debug)
        self.writer.write(frame.serialize())

    def _send(self, stream, request, answer):
        if self._open.pop(stream, None) is None:
            return
        fields = answer.fields
        fields["apns-id"] = request.header("apns-id") or str(uuid.uuid4()).upper()
        if self.fake.environment == "sandbox":
            fields["apns-unique-id"] = str(uuid.uuid4())
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._http.send_headers(
                stream, [(":status", str(answer.status)), *fields.items()],
                end_stream=not answer.bytes)
            self._send_body(stream, answer.bytes)
            if answer.status == 200 and not self._has_proven_itself:
                self._has_proven_itself = True
                self._http.update_settings({
                    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.fake.most_streams})
        self.flush()

    def _send_body(self, stream, body):
        """As much as the client has room for; who reads no more does not want it."""
        while body:
            size = min(
                self._http.local_flow_control_window(stream), self._http.max_outbound_frame_size)
            if not size:
                return
            self._http.send_data(stream, body[:size], end_stream=size >= len(body))
            body = body[size:]


def _is_canonical(identifier):
    try:
        return str(uuid.UUID(identifier)) == identifier.lower()
    except ValueError:
        return False


def _refuse(code, text):
    raise Refused(reason(code), code, text)
