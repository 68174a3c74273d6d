"""XMPP by hand, one blocking connection at a time: for what xmppload does not speak."""

import base64
import re
import socket
import sys
import time
from pathlib import Path

from processes import BenchError
from servers import DOMAIN

sys.path.append(str(Path(__file__).resolve().parents[1] / "Tests/Clients"))
from scram import Scram  # noqa: E402

MECHANISM = "SCRAM-SHA-256"
SM = "urn:xmpp:sm:3"
MAM = "urn:xmpp:mam:2"
SECONDS = 30


class Client:
    """A stream without TLS; for `with`, which breaks the connection off unless it was ended."""

    def __init__(self, port, timeout=SECONDS, domain=DOMAIN):
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        except OSError as error:
            raise BenchError(f"port {port}: {error}") from None
        self._domain = domain
        self._received = b""
        self._queries = 0
        self.features = ""

    @classmethod
    def authenticated(cls, port, user, password, domain=DOMAIN):
        """Logged in, neither bound nor resumed yet."""
        client = cls(port, domain=domain)
        client._open()
        client._authenticate(user, password)
        client._open()
        return client

    @classmethod
    def bound(cls, port, user, password, domain=DOMAIN):
        client = cls.authenticated(port, user, password, domain)
        client.bind()
        return client

    def bind(self, resource=""):
        """As this resource, or one of the server's choice."""
        wish = f"<resource>{resource}</resource>" if resource else ""
        self.send(
            "<iq type='set' id='bind'>"
            f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{wish}</bind></iq>")
        answer = self.read_through("</iq>|/>")
        if "<jid>" not in answer:
            raise BenchError(f"not bound: {answer}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, text):
        try:
            self._socket.sendall(text.encode())
        except OSError as error:
            raise BenchError(f"cannot send {text[:60]}: {error}") from None

    def read_through(self, pattern):
        """What comes up to and with the first match of a pattern."""
        expression = re.compile(pattern.encode())
        while not (found := expression.search(self._received)):
            self._read()
        text, self._received = self._received[:found.end()], self._received[found.end():]
        return text.decode()

    def drain(self, silence=1):
        """All that comes until nothing has come for so many seconds."""
        self._socket.settimeout(silence)
        try:
            while True:
                self._read()
        except BenchError:
            text, self._received = self._received, b""
            return text.decode()
        finally:
            self._socket.settimeout(SECONDS)

    def end(self):
        """Ends the stream (RFC 6120 section 4.4); returns when the server has ended its own."""
        self.send("</stream:stream>")
        self.read_through("</stream:stream>")

    # Stream management (XEP-0198)

    def enable_resumption(self):
        """The id of the stream; None if the server does not let it be resumed."""
        self.send(f"<enable xmlns='{SM}' resume='true'/>")
        answer = self.read_through(r"<(enabled|failed)\b[^>]*>")
        resumable = re.search(r"\bresume=.(true|1)\b", answer)
        name = re.search(r"""\bid=['"]([^'"]+)""", answer)
        return name[1] if resumable and name else None

    def settle(self, came=0):
        """Both sides have acknowledged everything; returns how many stanzas came, with those that
        came before."""
        new = None
        while new != 0:
            self.send(f"<a xmlns='{SM}' h='{came}'/><r xmlns='{SM}'/>")
            new = count_stanzas(self.read_through(r"<a\b[^>]*>"))
            came += new
        return came

    def resume(self, name, handled):
        """The server's answer, `<resumed/>` or `<failed/>`."""
        self.send(f"<resume xmlns='{SM}' previd='{name}' h='{handled}'/>")
        return self.read_through(r"<(resumed|failed)\b[^>]*>")

    # The archive (XEP-0313)

    def last_page(self, peer, size):
        """The milliseconds that the last page of a conversation takes, and its messages."""
        self._queries += 1
        name = f"page{self._queries}"
        begun = time.perf_counter()
        self.send(
            f"<iq type='set' id='{name}'><query xmlns='{MAM}'>"
            f"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
            f"<value>{MAM}</value></field><field var='with'><value>{peer}</value></field></x>"
            f"<set xmlns='http://jabber.org/protocol/rsm'><max>{size}</max><before/></set>"
            "</query></iq>")
        answer = self.read_through(rf"""(?s)<iq\b[^>]*\bid=['"]{name}['"][^>]*>.*?</iq>""")
        took = 1000 * (time.perf_counter() - begun)
        if "<fin" not in answer:
            raise BenchError(f"no page of {peer}: {answer[-500:]}")
        return took, len(re.findall(r"<result\b", answer))

    # Steps of the login

    def _open(self):
        self.send(
            f"<?xml version='1.0'?><stream:stream to='{self._domain}' version='1.0' "
            "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        self.features = self.read_through("</stream:features>")

    def _authenticate(self, user, password):
        exchange = Scram(MECHANISM, user, password, "n,,")
        first = base64.b64encode(exchange.first()).decode()
        self.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{MECHANISM}'>"
            f"{first}</auth>")
        challenge = re.search(
            "<challenge[^>]*>([^<]*)<", self.read_through("</(challenge|failure)>"))
        if challenge is None:
            raise BenchError(f"{user} was refused")
        final = base64.b64encode(exchange.final(base64.b64decode(challenge[1]))).decode()
        self.send(f"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{final}</response>")
        if "<success" not in self.read_through("</(success|failure)>"):
            raise BenchError(f"{user} was refused")

    def _read(self):
        try:
            chunk = self._socket.recv(65_536)
        except OSError as error:
            raise BenchError(f"after {self._received[-200:]!r}: {error}") from None
        if not chunk:
            raise BenchError(f"the server closed after {self._received[-200:]!r}")
        self._received += chunk


def count_stanzas(text):
    """Of what a server sends to somebody who has not been written to."""
    return len(re.findall(r"<(?:message|presence|iq)\b", text))
