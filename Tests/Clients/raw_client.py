"""XMPP by hand: bytes out, bytes in, for what no library would send."""

import base64
import re
import socket
import ssl
import struct

from waiting import LONG

STREAM_END = "</stream:stream>"


class RawClient:
    """A connection that sends what it is told to and reads to the marks it is given."""

    def __init__(self, port, timeout=LONG, address="127.0.0.1"):
        self.connection = socket.create_connection((address, port), timeout)
        self.connection.settimeout(timeout)
        self.domain = "example.test"
        self.features = ""
        self._received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    # Ways in

    @classmethod
    def plain(cls, server):
        """A stream before STARTTLS."""
        client = cls(server.ports["client"], address=server.address)
        client.open_stream()
        return client

    @classmethod
    def connected(cls, server, context=None, domain=None):
        """TLS, and nothing said over it."""
        client = cls(server.ports["client_tls"], address=server.address)
        client.domain = domain or client.domain
        client.begin_tls(context or trusting(server))
        return client

    @classmethod
    def secure(cls, server, context=None, domain=None):
        """A stream over TLS that has not logged in."""
        client = cls.connected(server, context, domain)
        client.open_stream()
        return client

    @classmethod
    def logged_in(cls, server, person, resource=""):
        """A bound session."""
        client = cls.secure(server, domain=person.domain)
        client.log_in(person)
        client.bind(resource)
        return client

    # Steps

    def begin_tls(self, context):
        self.connection = context.wrap_socket(self.connection, server_hostname=self.domain)

    def begin_tls_trusting(self, server):
        self.begin_tls(trusting(server))

    def start_tls(self, context):
        """RFC 6120 section 5.4.2."""
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        assert "<proceed" in self.read_through("/>")
        self.begin_tls(context)

    def send(self, text):
        self.connection.sendall(text if isinstance(text, bytes) else text.encode())

    def header(self):
        return (
            f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0'"
            " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")

    def open_stream(self):
        self.send(self.header())
        self.features = self.read_through("</stream:features>")

    def log_in(self, person):
        """PLAIN, and the new stream after it (RFC 4616, RFC 6120 section 6.4.6)."""
        message = f"\0{person.name}\0{person.password}".encode()
        answer = self.authenticate("PLAIN", message)
        assert answer == "success", answer
        self.open_stream()

    def authenticate(self, mechanism, message):
        """The one message of a mechanism; `success` or the condition of the failure."""
        self.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>"
            f"{base64.b64encode(message).decode()}</auth>")
        answer = self.read_through(r"</(success|failure)>|<success[^>]*/>")
        if "<success" in answer:
            return "success"
        return re.search(r"<failure[^>]*><([a-z-]+)", answer)[1]

    def bind(self, resource=""):
        """RFC 6120 section 7.6; the full JID."""
        self.send(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            + (f"<resource>{resource}</resource>" if resource else "") + "</bind></iq>")
        return re.search("<jid>(.*)</jid>", self.read_through("</iq>"))[1]

    # Reading

    def read_through(self, pattern):
        """What comes up to and with the first match of a pattern."""
        expression = re.compile(pattern.encode())
        while not (found := expression.search(self._received)):
            chunk = self._chunk()
            assert chunk, f"the connection ended before {pattern!r}: {self._received!r}"
        text, self._received = self._received[:found.end()], self._received[found.end():]
        return text.decode()

    def read_some(self):
        """What has come, waiting for it if need be."""
        if not self._received:
            chunk = self._chunk()
            assert chunk, "the connection ended"
        received, self._received = self._received, b""
        return received

    def read_to_end(self):
        """Everything until the server closes, which it has to do."""
        while self._chunk():
            pass
        text, self._received = self._received, b""
        return text.decode()

    def read_raw_end(self):
        """The end of a connection, whatever comes before it."""
        try:
            while self.connection.recv(65_536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError("the connection stays open") from None

    def _chunk(self):
        try:
            chunk = self.connection.recv(65_536)
        except TimeoutError:
            raise AssertionError(f"silence after {self._received!r}") from None
        except ssl.SSLZeroReturnError:
            chunk = b""
        self._received += chunk
        return chunk

    def abort(self):
        """The connection breaks: neither the stream nor TLS is ended."""
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def stream_error(self):
        """The condition of the stream error, after which the stream and the connection end
        (RFC 6120 section 4.9.1.1)."""
        text = self.read_to_end()
        found = re.search(r"<stream:error><([a-z-]+) ", text)
        assert found, f"no stream error in {text!r}"
        assert text.endswith(STREAM_END), text
        return found[1]

    def expect_answer(self):
        """The session still works."""
        self.send("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer = self.read_through("<iq[^>]*id=.alive.[^>]*>")
        assert "result" in answer, answer


def trusting(server):
    """A TLS context that trusts the server's own authority and nothing else."""
    return ssl.create_default_context(cafile=str(server.authority))
