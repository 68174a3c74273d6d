"""Another domain's server by hand: it says and does what a test wants, towards a real one.

Goes to `Federation.add` as a kind of server. A stream carries stanzas one way (RFC 6120 section
4.4): what the real server sends comes on a stream that it opens and `accept` takes.
"""

import re
import socket
import ssl

from raw_client import RawClient
from waiting import LONG

PORT = 5269
NAMESPACES = (
    "xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
    " xmlns:db='jabber:server:dialback'")
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
EXTERNAL = (
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>"
    "</mechanisms>")


class PeerStream(RawClient):
    """A stream between a domain of ours and one of the real server's, either way."""

    def __init__(self, peer, connection, remote):
        connection.settimeout(LONG)
        self.connection = connection
        self.peer = peer
        self.local = peer.domain
        # RawClient's name for whom it talks to.
        self.domain = remote
        self.features = ""
        self._received = b""

    def header(self, more=""):
        return (
            f"<?xml version='1.0'?><stream:stream from='{self.local}' to='{self.domain}'"
            f" version='1.0' {NAMESPACES}{more}>")

    # The side that opens the stream

    def log_in(self, identity=None):
        """SASL EXTERNAL (XEP-0178 section 3): `success` and a new stream, or the condition of the
        failure."""
        answer = self.authenticate("EXTERNAL", (identity or self.local).encode())
        if answer == "success":
            self.open_stream()
        return answer

    # The side that takes it

    def take_header(self):
        """The attributes of the header that comes."""
        text = self.read_through(r"<stream:stream[^>]*>")
        attributes = dict(re.findall(r"\s([\w:]+)=['\"]([^'\"]*)['\"]", text))
        self.domain = attributes.get("from", self.domain)
        return attributes

    def offer(self, features=""):
        """Our header and these features."""
        self.send(
            self.header(" id='of-a-test'") + f"<stream:features>{features}</stream:features>")

    def take_tls(self, context=None):
        """RFC 6120 section 5.4.2, as the receiving side."""
        self.take_header()
        self.offer(STARTTLS)
        self.read_through("<starttls[^>]*>")
        self.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.connection = (context or self.peer.receiving_context()).wrap_socket(
            self.connection, server_side=True)

    def take_log_in(self):
        """Accepts whoever says that they are who their header says."""
        self.take_header()
        self.offer(EXTERNAL)
        self.read_through("(</auth>|<auth[^>]*/>)")
        self.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.take_header()
        self.offer()
        return self


class RawPeer:
    """A domain on a host, with a certificate that may be any; listens once it is started."""

    PROGRAM = "raw"
    keeps_messages = False

    def __init__(self, directory, host, domain, people, authority, pair=None):
        self.host = host
        self.domain = domain
        self.people = tuple(people)
        self.authority = authority.file
        self.pair = pair or authority.issue(domain)
        self.address = host.address
        self.log = None
        self._listener = None

    def start(self):
        self._listener = self.host.listen(port=PORT)
        self._listener.settimeout(LONG)
        return self

    def wait_until_ready(self):
        return self

    def stop(self):
        if self._listener is not None:
            self._listener.close()

    def opening_context(self):
        """Trusts the authority, and shows our certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.pair.certificate, self.pair.key)
        return context

    def receiving_context(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.pair.certificate, self.pair.key)
        return context

    # Streams

    def connect(self, server, remote=None):
        """A connection to the real server's port for servers, on which nothing was said."""
        connection = self.host.do(
            socket.create_connection, (server.address, server.ports["server"]), LONG)
        return PeerStream(self, connection, remote or server.domain)

    def secure(self, server, remote=None):
        """A stream over TLS that has not logged in."""
        stream = self.connect(server, remote)
        stream.open_stream()
        stream.start_tls(self.opening_context())
        stream.open_stream()
        return stream

    def logged_in(self, server):
        stream = self.secure(server)
        answer = stream.log_in()
        assert answer == "success", answer
        return stream

    def accept(self):
        """The next connection that comes, on which nothing was said."""
        return PeerStream(self, self._listener.accept()[0], None)

    def accept_logged_in(self):
        """The next stream that comes, over TLS and logged in."""
        stream = self.accept()
        stream.take_tls()
        return stream.take_log_in()
