"""What all fakes of push services share: a TLS server on loopback in a thread of its own, a log of
requests, answers by script, faults, and waiting for what comes.

A fake is strict: a rule that a sender breaks is a violation, answered as the service would, and
`check()` fails while there is one. Rules come first, then the script, then what the fake knows.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import http
import json
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from typing import Any, NamedTuple

from waiting import LONG

# Bytes of a body that a fake reads.
MOST = 1 << 20
# The token of a script for all tokens.
ANY = None
# Faults in place of an answer.
NOTHING, GARBAGE, RESET, CLOSE = "nothing", "garbage", "reset", "close"
# Seconds that a client has to agree to the end of TLS.
_SHUTDOWN = 0.1
_NOISE = b"\x00\xff\x16not a protocol\r\n\r\n\x80" * 64


class Gate:
    """Holds answers back until the test opens it."""

    def __init__(self):
        self._future = concurrent.futures.Future()

    def open(self):
        if not self._future.done():
            self._future.set_result(None)

    async def passed(self):
        await asyncio.shield(asyncio.wrap_future(self._future))


@dataclasses.dataclass
class Answer:
    """To one request. Without a status and a fault, it is what the fake would say itself.

    `delivers` says whether the message counts as delivered; else success does."""

    status: int | None = None
    body: Any = b""
    headers: dict = dataclasses.field(default_factory=dict)
    fault: Any = None
    delay: float = 0
    gate: Gate | None = None
    delivers: bool | None = None

    @property
    def is_own(self):
        return self.status is not None or self.fault is not None

    @property
    def bytes(self):
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    @property
    def fields(self):
        """Its header, with names in lower case."""
        fields = {name.lower(): str(value) for name, value in self.headers.items()}
        if not isinstance(self.body, bytes):
            fields.setdefault("content-type", "application/json")
        return {**fields, "content-length": str(len(self.bytes))}


def slow(seconds):
    """The answer that is due, but late."""
    return Answer(delay=seconds)


def held(gate):
    """The answer that is due, once the gate is open."""
    return Answer(gate=gate)


def never(delivers=False):
    """No answer; the connection stays open."""
    return Answer(fault=NOTHING, delivers=delivers)


def garbage():
    """Bytes of no protocol."""
    return Answer(fault=GARBAGE, delivers=False)


def reset(delivers=False):
    """A TCP RST in place of an answer; with `delivers`, after the message was taken."""
    return Answer(fault=RESET, delivers=delivers)


def hang_up(delivers=False):
    """The connection is closed in place of an answer."""
    return Answer(fault=CLOSE, delivers=delivers)


def redirect(location, status=307):
    return Answer(status, headers={"location": location})


def error_inside(body, status=200):
    """Success by status alone."""
    return Answer(status, body, delivers=False)


def huge_headers(size=1 << 20):
    """Success with that much of a header."""
    return Answer(200, headers={f"x-filler-{n}": "x" * 8000 for n in range(size // 8000 + 1)})


def huge_body(size=16 << 20):
    return Answer(200, b"x" * size)


class Request:
    """One request; `token` is whom it is for, and `payload` what arrives there."""

    def __init__(self, method, target, headers, body, connection):
        self.method = method
        self.target = target
        self.path, _, query = target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = [(name.lower(), value) for name, value in headers]
        self.body = body
        self.connection = connection
        self.at = time.monotonic()
        self.token = self.payload = self.answer = None

    def header(self, name, default=None):
        return next((value for key, value in self.headers if key == name), default)

    def json(self):
        """The body's document; None if it is none."""
        try:
            return json.loads(self.body, parse_constant=lambda word: 1 / 0)
        except (ValueError, ZeroDivisionError, RecursionError):
            return None

    def __repr__(self):
        return f"<{self.method} {self.target} {self.headers} {self.body[:300]!r}: {self.answer}>"


class Violation(NamedTuple):
    code: Any
    text: str
    request: Request | None


class Refused(Exception):
    """How a rule that was broken is answered; without a text it is no violation."""

    def __init__(self, answer, code=None, text=None):
        super().__init__(text)
        self.answer, self.code, self.text = answer, code, text


class PushFake:
    """A service on a port of its own, at `url`.

    Subclasses say `check_rules(request)`, which raises `Refused` and finds the token, and
    `serve(request)`, the answer to a request that keeps the rules, and `over_quota()`, that where
    nothing is left of `quota`, the number of messages it still takes. `clock_offset` is how far
    the service's clock is ahead of ours."""

    protocol = "http/1.1"

    def __init__(self, authority, name="localhost"):
        self.violations = []
        self.requests = []
        self.connections = 0
        self.clock_offset = 0
        self.quota = None
        self._scripts = collections.defaultdict(collections.deque)
        self._standing = {}
        self._deliveries = []
        self._changed = threading.Condition(threading.RLock())
        self._transports = {}
        self._context = None
        if authority:
            pair = authority.issue(name, name=f"{type(self).__name__}.{name}")
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(pair.certificate, pair.key)
            self._context.set_alpn_protocols([self.protocol])
        # Keeps the port while nobody listens there, so that it refuses and is nobody else's.
        self._keeper = _bound(0)
        self.port = self._keeper.getsockname()[1]
        self.url = f"{'https' if authority else 'http'}://{name}:{self.port}"
        self._authority = f"{name}:{self.port}"
        self._server = None
        self._loop = asyncio.new_event_loop()
        # A client that goes away in the middle of a handshake is no news.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.come_back()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    def stop(self):
        self.go_down()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONG)
        self._loop.close()
        self._keeper.close()

    @property
    def now(self):
        return time.time() + self.clock_offset

    # What it answers

    def script(self, token, *answers):
        """The next requests for this token get these, one by one."""
        with self._changed:
            self._scripts[token].extend(answers)

    def always(self, token, answer):
        """All requests for this token get this; None ends it."""
        with self._changed:
            self._standing[token] = answer

    def check_rules(self, request):
        raise NotImplementedError

    def serve(self, request):
        raise NotImplementedError

    def over_quota(self):
        raise NotImplementedError

    def violate(self, code, text, request=None):
        with self._changed:
            self.violations.append(Violation(code, text, request))
            self._changed.notify_all()

    # What came

    def check(self):
        """Fails if a rule was broken."""
        assert not self.violations, "\n".join(map(str, self.violations))

    def take_violations(self):
        """The codes of what was broken so far, for a test that provokes it; they are forgiven."""
        with self._changed:
            codes = [violation.code for violation in self.violations]
            self.violations.clear()
            return codes

    def requests_for(self, token=ANY):
        with self._changed:
            return [r for r in self.requests if token is ANY or r.token == token]

    def deliveries(self, token=ANY):
        """The requests whose message was taken."""
        with self._changed:
            return [r for r in self._deliveries if token is ANY or r.token == token]

    @property
    def delivered(self):
        """How many messages, by token."""
        return collections.Counter(request.token for request in self.deliveries())

    @property
    def open_connections(self):
        with self._changed:
            return len(self._transports)

    def wait_for_requests(self, count=1, token=ANY, timeout=LONG):
        """At least so many, as soon as they have come whole, answered or not."""
        return self.until(
            f"{count} requests for {token or 'anybody'}",
            lambda: len(found := self.requests_for(token)) >= count and found, timeout)

    def wait_for_deliveries(self, count=1, token=ANY, timeout=LONG):
        return self.until(
            f"{count} deliveries to {token or 'anybody'}",
            lambda: len(found := self.deliveries(token)) >= count and found, timeout)

    def until(self, description, condition, timeout=LONG):
        """What `condition` returns once that is true; it is asked after each event."""
        end = time.monotonic() + timeout
        with self._changed:
            while not (found := condition()):
                left = end - time.monotonic()
                assert left > 0, (
                    f"not within {timeout:g} s: {description}; violations {self.violations}; "
                    f"requests {self.requests}")
                self._changed.wait(left)
            return found

    # The server

    def go_down(self):
        """Refuses connections, and resets those that are."""
        self._run(self._stop_listening())

    def come_back(self):
        self._run(self._listen())

    @contextlib.contextmanager
    def outage(self):
        self.go_down()
        try:
            yield self
        finally:
            self.come_back()

    @contextlib.contextmanager
    def silence(self):
        """Connections are made, and nobody says a word on them; those that were are reset."""
        self.go_down()
        with contextlib.closing(_bound(self.port)) as mute:
            mute.listen(64)
            yield self
        self.come_back()

    def drop_connections(self):
        """Closes all, as a service does with idle ones."""
        self._run(self._close_all(lambda writer: writer.close()))

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(LONG)

    async def _listen(self):
        if self._server is None:
            self._server = await asyncio.start_server(
                self._connected, sock=_bound(self.port), ssl=self._context, limit=1 << 17,
                **({"ssl_shutdown_timeout": _SHUTDOWN} if self._context else {}))

    async def _stop_listening(self):
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._close_all(_reset)

    async def _close_all(self, close):
        for writer in list(self._transports.values()):
            close(writer)

    async def _end(self):
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader, writer):
        with self._changed:
            self.connections += 1
            number = self.connections
            self._transports[number] = writer
            self._changed.notify_all()
        try:
            await self.converse(reader, writer, number)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except ValueError as error:
            self.violate("http", repr(error))
        finally:
            writer.close()
            with self._changed:
                del self._transports[number]
                self._changed.notify_all()

    async def decide(self, request):
        """The answer to a request that is whole, when it is time to give it."""
        with self._changed:
            self.requests.append(request)
            answer, lateness = self._find_answer(request)
            request.answer = answer.fault or answer.status
            succeeds = 200 <= (answer.status or 0) < 300
            if answer.delivers or answer.delivers is None and succeeds:
                self._deliveries.append(request)
                if self.quota is not None:
                    self.quota -= 1
            self._changed.notify_all()
        if lateness.gate:
            await lateness.gate.passed()
        if lateness.delay:
            await asyncio.sleep(lateness.delay)
        return answer

    def _find_answer(self, request):
        """And the one that says how late it is."""
        try:
            self.check_rules(request)
        except Refused as refusal:
            if refusal.text:
                self.violate(refusal.code, refusal.text, request)
            return refusal.answer, Answer()
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # Rules trust in the types of what they look at.
            self.violate("shape", repr(error), request)
            return Answer(400), Answer()
        scripted = next(
            (script.popleft() for token in (request.token, ANY)
             if (script := self._scripts[token])), None)
        scripted = scripted or self._standing.get(request.token) or self._standing.get(ANY)
        if scripted and scripted.is_own:
            return scripted, scripted
        due = self.over_quota() if self.quota is not None and self.quota <= 0 \
            else self.serve(request)
        return due, scripted or due

    # HTTP/1.1, with connections that are kept

    async def converse(self, reader, writer, number):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head[:-4].split("\r\n")
            method, target, version = first.split(" ")
            headers = [tuple(line.split(":", 1)) for line in lines]
            headers = [(name, value.strip()) for name, value in headers]
            request = Request(method, target, headers, b"", number)
            request.body = await _body(request, reader, writer)
            if version != "HTTP/1.1" or request.header("host") != self._authority:
                self.violate("host", f"{version}, {request.header('host')}", request)
            answer = await self.decide(request)
            if not await apply_fault(answer, reader, writer):
                return
            writer.write(_head(answer) + (b"" if method == "HEAD" else answer.bytes))
            await writer.drain()
            if request.header("connection", "").lower() == "close":
                return


async def apply_fault(answer, reader, writer):
    """Whether the connection goes on after what an answer says of it."""
    if answer.fault is None:
        return True
    if answer.fault == NOTHING:
        while await reader.read(4096):
            pass
    elif answer.fault == GARBAGE:
        writer.write(_NOISE)
        await writer.drain()
    elif answer.fault == RESET:
        _reset(writer)
    return False


def _reset(writer):
    # One that is closed already has no socket.
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Nor its TLS: then there is nothing left to abort.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()


def _bound(port):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


async def _body(request, reader, writer):
    if request.header("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.header("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            if size > MOST or len(parts) > MOST:
                raise OSError("too large")
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return b"".join(parts)
    size = int(request.header("content-length", "0"))
    if size > MOST:
        raise OSError("too large")
    return await reader.readexactly(size)


def _head(answer):
    try:
        phrase = http.HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
