"""Other domains on loopback, for a server that is told of a name server of its own: real ones, ones
that cannot be reached, and ones by hand with a stream each."""

import contextlib
import socket
import sys
import threading
from pathlib import Path

import servers
from processes import BenchError, free_port

sys.path.append(str(Path(__file__).resolve().parents[1] / "Tests/Clients"))
from certificates import Authority  # noqa: E402
from name_server import OddNameServer  # noqa: E402
from raw_peer import RawPeer  # noqa: E402

ZONE = "bench.example"
TARGET = f"target.{ZONE}"
SM = "urn:xmpp:sm:3"


class Loopback:
    """The only host there is."""

    address = "127.0.0.1"

    def listen(self, kind=socket.SOCK_STREAM, port=0):
        """A bound socket on a free port, whichever was asked for."""
        made = socket.socket(socket.AF_INET, kind)
        made.bind((self.address, 0))
        if kind == socket.SOCK_STREAM:
            made.listen(1024)
        return made

    def do(self, function, *arguments):
        return function(*arguments)


class Names(OddNameServer):
    def __init__(self):
        super().__init__(Loopback())
        self.port = self._socket.getsockname()[1]
        self.answers[TARGET, "A"] = [(TARGET, "A", Loopback.address)]

    def publish(self, domain, port):
        """The server of a domain is on this port."""
        name = f"_xmpp-server._tcp.{domain}"
        self.answers[name, "SRV"] = [(name, "SRV", (0, 0, port, TARGET))]


class FederatedKinglet(servers.Kinglet):
    """Talks with every domain that the name server knows."""

    address = Loopback.address
    # Streams that one of the measurements holds.
    STREAMS = 2000

    def __init__(self, directory, domain, authority, names):
        self.domain = domain
        pair = authority.issue(domain)
        super().__init__(directory, pair.certificate, pair.key, archives=True)
        self.ports = {"server": free_port()}
        names.publish(domain, self.ports["server"])
        self.settings = {
            "listen.server_port": self.ports["server"], "federation.policy": "open",
            "federation.authorities": f"[{authority.file}]",
            "federation.nameservers": f"[127.0.0.1:{names.port}]",
            "federation.allow_private_addresses": "true",
            "federation.streams": self.STREAMS,
            # Nobody here has anybody in their contacts.
            "federation.stranger_rate": 100_000}


# Domains that cannot be reached

@contextlib.contextmanager
def silent_port():
    """Takes every connection and never says anything."""
    listener, taken = Loopback().listen(), []

    def take():
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in (listener, *taken):
            connection.close()


# Domains by hand

class Peers(RawPeer):
    """Many domains with one certificate, one stream each."""

    def __init__(self, authority):
        super().__init__(
            None, Loopback(), f"peers.{ZONE}", (), authority,
            authority.issue(f"*.peers.{ZONE}", name="peers"))
        self._opening, self._receiving = self.opening_context(), self.receiving_context()

    def domains(self, count):
        return [f"d{number}.{self.domain}" for number in range(count)]

    def open(self, server, domain):
        """A stream to the server, logged in by certificate (XEP-0178)."""
        stream = self.connect(server)
        stream.local = domain
        stream.open_stream()
        stream.start_tls(self._opening)
        stream.open_stream()
        if (answer := stream.log_in()) != "success":
            raise BenchError(f"{domain} cannot log in: {answer}")
        return stream

    def listening(self, names, count):
        """Publishes the domains on a port of ours, which listens from now on."""
        self.start()
        port = self._listener.getsockname()[1]
        for domain in self.domains(count):
            names.publish(domain, port)
        return self

    def take(self):
        """The next stream that the server opens, which brings one stanza and is told that it
        arrived (XEP-0198)."""
        stream = self.accept()
        stream.local = stream.take_header()["to"]
        stream.offer("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>")
        stream.read_through("<starttls[^>]*>")
        stream.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.connection = self._receiving.wrap_socket(stream.connection, server_side=True)
        stream.take_header()
        stream.offer(
            "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>"
            "</mechanisms>")
        stream.read_through("(</auth>|<auth[^>]*/>)")
        stream.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        stream.take_header()
        stream.offer(f"<sm xmlns='{SM}'/>")
        stream.read_through("<enable[^>]*>")
        stream.send(f"<enabled xmlns='{SM}'/>")
        stream.read_through("</message>")
        stream.read_through("<r [^>]*>")
        stream.send(f"<a xmlns='{SM}' h='1'/>")
        return stream
