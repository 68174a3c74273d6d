"""Another server by hand: domains with names, certificates and a port, and streams in both roles
that do right or wrong at each step (RFC 6120, XEP-0198, XEP-0220, XEP-0288)."""

import base64
import contextlib
import itertools
import re
import socket
import ssl
import warnings

from certificates import DAY, Authority
from kinglet import FAST_KEYS, NO_LOGIN_DELAY, Kinglet
from name_server import NXDOMAIN, OddNameServer
from people import JULIET, ROMEO
from raw_client import RawClient
from waiting import LONG, eventually

STREAMS = "http://etherx.jabber.org/streams"
START_TLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
EXTERNAL = (
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>"
    "</mechanisms>")
MANAGEMENT = "<sm xmlns='urn:xmpp:sm:3'/>"
DIALBACK = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
SUCCESS = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
# A component of Kinglet's (XEP-0114).
COMPONENT = "bridge.example.test"
ENABLED = "<enabled xmlns='urn:xmpp:sm:3'/>"

# Federation on loopback, which is what a network without public addresses looks like.
SETTINGS = {
    **FAST_KEYS, **NO_LOGIN_DELAY, "listen.addresses": "127.0.0.1", "listen.client_port": 0,
    "listen.client_tls_port": 0, "listen.server_port": 0, "listen.web_port": 0, "metrics.port": 0,
    "listen.component_port": 0,
    "hardware.ups": '""', "federation.policy": "open",
    "federation.allow_private_addresses": "true", "federation.longest_pause": "1s",
    "federation.stranger_rate": "100000",
    "limits.acknowledgement": "5s", "limits.server_stanza_rate": "1000",
    "limits.unauthenticated_servers": "30", "federation.streams": "40"}


class ServerPeer(RawClient):
    """One stream: `domain` is the peer's, `remote` the one it talks to."""

    def __init__(self, connection, domain, remote, pair=None):
        connection.settimeout(LONG)
        self.connection = connection
        self.domain = domain
        self.remote = remote
        self.pair = pair
        self.features = ""
        self._received = b""

    def header(self, **changes):
        """A stream header; an attribute that is None is left out. `from_` is the 'from'."""
        attributes = {
            "from": self.domain, "to": self.remote, "version": "1.0", "xmlns": "jabber:server",
            "xmlns:stream": STREAMS, "xmlns:db": "jabber:server:dialback"}
        attributes.update(
            {name.rstrip("_").replace("__", ":"): value for name, value in changes.items()})
        text = "".join(
            f" {name}='{value}'" for name, value in attributes.items() if value is not None)
        return f"<?xml version='1.0'?><stream:stream{text}>"

    # As the one who connects

    def open_stream(self, **changes):
        self.send(self.header(**changes))
        self.features = self.read_through("</stream:features>")

    def ask_for_tls(self, context=None):
        """STARTTLS up to the handshake and with it."""
        self.start_tls(context or self.client_context())

    def client_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.pair:
            context.load_cert_chain(*self.pair)
        return context

    def begin_tls(self, context):
        self.connection = context.wrap_socket(self.connection, server_hostname=self.remote)

    def external(self, identity=b""):
        """`success`, or the condition of the failure (XEP-0178)."""
        text = base64.b64encode(identity).decode() or "="
        self.send(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>"
            f"{text}</auth>")
        answer = self.read_through(r"<success[^>]*/>|</failure>")
        return "success" if "<success" in answer else re.search(
            r"<failure[^>]*><([a-z-]+)", answer)[1]

    def authenticate_and_open(self):
        assert self.external() == "success"
        self.open_stream()

    def manage(self):
        """Counts from here on (XEP-0198)."""
        self.send("<enable xmlns='urn:xmpp:sm:3'/>")
        self.read_through("<enabled[^>]*>")

    def acknowledged(self):
        """What Kinglet says that it has."""
        self.send("<r xmlns='urn:xmpp:sm:3'/>")
        return int(re.search(r"h='(\d+)'", self.read_through("<a [^>]*>"))[1])

    def message(self, to, body, from_=None, attributes=""):
        self.send(
            f"<message from='{from_ or 'eve@' + self.domain}' to='{to}' type='chat'{attributes}>"
            f"<body>{body}</body></message>")

    def expect_service(self):
        """Kinglet reads this stream and handles what comes: an unknown element with an answer."""
        self.send("<resume xmlns='urn:xmpp:sm:3' previd='none' h='0'/>")
        self.read_through("<failed.*</failed>|<failed[^>]*/>")

    # As the one who is connected to

    def greet(self, features="", **changes):
        """Answers Kinglet's header with one of ours, and features."""
        self.peer_header = self.read_through("<stream:stream[^>]*>")
        self.stream_id = f"stream-{id(self)}-{len(self.peer_header)}"
        values = {"id": self.stream_id, **changes}
        self.send(
            self.header(**values)
            + (f"<stream:features>{features}</stream:features>" if features is not None else ""))

    def give_tls(self, context=None):
        """Accepts STARTTLS, up to the handshake and with it."""
        self.read_through("<starttls[^>]*>")
        self.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.connection = (context or self.server_context()).wrap_socket(
            self.connection, server_side=True)

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        return context

    def secure(self, features=EXTERNAL):
        """Everything up to the features under TLS."""
        self.greet(START_TLS)
        self.give_tls()
        self.greet(features)
        return self

    def accept(self, is_managed=True):
        """Everything up to a stream on which Kinglet sends stanzas."""
        self.secure()
        self.read_through("</auth>")
        self.send(SUCCESS)
        self.greet(MANAGEMENT if is_managed else "")
        if is_managed:
            self.read_through("<enable [^>]*>")
            self.send(ENABLED)
        return self

    def body(self):
        """The body of the next message that Kinglet sends."""
        return re.search(r"<body>(.*?)</body>", self.read_through("</message>"))[1]

    def acknowledge(self, count):
        self.send(f"<a xmlns='urn:xmpp:sm:3' h='{count}'/>")

    def condition(self):
        """The condition of a stream error, however the connection ends after it."""
        text = self.read_through(r"</stream:error>")
        return re.search(r"<stream:error><([a-z-]+) ", text)[1]


class RemoteDomain:
    """A domain that Kinglet does not serve: its name, its certificate, and maybe its port."""

    def __init__(self, world, name, pair):
        self.world = world
        self.name = name
        self.pair = pair
        self._listener = None
        self._open = []

    @property
    def user(self):
        return f"eve@{self.name}"

    # Towards Kinglet

    def connect(self, kinglet=None):
        """A TCP connection."""
        kinglet = kinglet or self.world.kinglet
        connection = socket.create_connection((kinglet.address, kinglet.ports["server"]), LONG)
        return self._keep(ServerPeer(connection, self.name, kinglet.domain, self.pair))

    def secure(self, kinglet=None):
        """TLS, and features under it."""
        stream = self.connect(kinglet)
        stream.open_stream()
        stream.ask_for_tls()
        stream.open_stream()
        return stream

    def unsecured_headers(self, kinglet=None):
        """TLS, and nothing said over it."""
        stream = self.connect(kinglet)
        stream.open_stream()
        stream.ask_for_tls()
        return stream

    def established(self, kinglet=None):
        """Stanzas may be sent."""
        stream = self.secure(kinglet)
        stream.authenticate_and_open()
        return stream

    # From Kinglet

    def listen(self, records=True):
        """Takes connections from now on; `records` says where in DNS."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(LONG)
        if records:
            self.world.publish(self.name, self.port)
        return self

    @property
    def port(self):
        return self._listener.getsockname()[1]

    def next_stream(self):
        """The next connection that Kinglet makes, with nothing said."""
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise AssertionError(f"nobody connects to {self.name}") from None
        return self._keep(ServerPeer(connection, self.name, self.world.kinglet.domain, self.pair))

    def is_left_alone(self):
        """Whether no connection waits to be taken."""
        self._listener.settimeout(0)
        try:
            self._listener.accept()[0].close()
            return False
        except BlockingIOError:
            return True
        finally:
            self._listener.settimeout(LONG)

    def accept(self, is_managed=True):
        return self.next_stream().accept(is_managed)

    def _keep(self, stream):
        self._open.append(stream)
        return stream

    def close(self):
        for stream in self._open:
            stream.connection.close()
        if self._listener is not None:
            self._listener.close()
        self.world.forget(self.name)


class Loopback:
    """What a host of a network is to a name server, without the network."""

    address = "127.0.0.1"

    def listen(self, kind, port):
        made = socket.socket(socket.AF_INET, kind)
        made.bind((self.address, port))
        return made


class PeerWorld:
    """Names, an authority, one whom nobody trusts, and a Kinglet that trusts the first."""

    def __init__(self, directory, settings=None):
        self.authority = Authority(directory / "trusted")
        # Trusted, but for its intermediate.
        self.fallen = Authority(directory / "fallen", name="Fallen authority")
        self.fallen.revoke_intermediate()
        self.revoked = "revoked.example", self.authority.issue("revoked.example")
        self.authority.revoke(self.revoked[1])
        self.stranger = Authority(directory / "stranger", name="Unknown authority")
        self.names = OddNameServer(Loopback(), 0)
        self._numbers = itertools.count()
        self._domains = []
        self.kinglet = Kinglet(directory, settings={
            **SETTINGS, "federation.nameservers": f"127.0.0.1:{self.names.port}",
            "federation.authorities": "[" + ", ".join(
                str(file) for authority in (self.authority, self.fallen)
                for file in (authority.file, authority.crl)) + "]",
            **(settings or {})})

    def end_test(self):
        """Closes what a test has left open."""
        for domain in self._domains:
            domain.close()
        self._domains = []

    # Domains

    def name(self):
        """A domain that no other test knows."""
        return f"d{next(self._numbers)}.example"

    def domain(self, name=None, pair=None):
        """A domain with a good certificate, or with another, or with () for none."""
        name = name or self.name()
        made = RemoteDomain(self, name, self.authority.issue(name) if pair is None else pair)
        self._domains.append(made)
        return made

    def publish(self, name, port, *addresses):
        """Says in DNS where a domain's server is (RFC 6120 section 3.2.1)."""
        target = f"xmpp.{name}"
        addresses = addresses or ("127.0.0.1",)
        for kind, is_kind in (("A", lambda a: ":" not in a), ("AAAA", lambda a: ":" in a)):
            self.names.answers[target, kind] = [
                (target, kind, address) for address in addresses if is_kind(address)]
        service = f"_xmpp-server._tcp.{name}"
        self.names.answers[service, "SRV"] = [(service, "SRV", (5, 0, port, target))]

    def with_certificate(self, verdict):
        """A domain with a certificate of which Kinglet has to find just that."""
        name = self.name()
        pair = None
        match verdict:
            case "absent": pair = ()
            case "expired": pair = self.authority.expired(name)
            case "not_yet_valid": pair = self.authority.issue(name, start=DAY)
            case "self_signed": pair = self.authority.self_signed(name)
            case "wrong_name": pair = self.authority.issue(f"other.{name}", name=name)
            case "untrusted": pair = self.stranger.issue(name)
            case "revoked": name, pair = self.revoked
            case "revoked_above": pair = self.fallen.issue(name)
        return self.domain(name, pair)

    def forget(self, name):
        for key in list(self.names.answers):
            if (key if isinstance(key, str) else key[0]).endswith(name):
                self.names.answers[key] = NXDOMAIN

    # What Kinglet says of it all

    # Streams that others opened, and those that Kinglet did.
    FAILURES = {
        "in": "kinglet_server_refused_streams_total",
        "out": "kinglet_server_stream_failures_total",
    }

    def failures(self, direction, reason):
        return self.kinglet.metric(self.FAILURES[direction], reason=reason)

    @contextlib.contextmanager
    def failure(self, direction, reason, times=1):
        """What happens inside is counted so often, and not more."""
        before = self.failures(direction, reason)
        yield
        eventually(
            lambda: self.failures(direction, reason) >= before + times,
            lambda: f"a failure {direction} {reason} is counted; all that are: {self.counted()}")
        assert self.failures(direction, reason) == before + times

    def counted(self):
        return {
            (sample.name, sample.labels["reason"]): sample.value
            for sample in self.kinglet.samples()
            if sample.name in self.FAILURES.values() and sample.value}

    def lines(self, name):
        """What the log says of a domain, below its errors of debugging."""
        return [
            line for line in self.kinglet.log.text.splitlines()
            if re.search(rf'domain="?{re.escape(name)}"?( |$)', line)
            and "level=debug" not in line]

    @contextlib.contextmanager
    def bounded_memory(self, megabytes):
        """What happens inside leaves the program with so much more at most."""
        name = "kinglet_process_anonymous_memory_bytes"
        before = self.kinglet.metric(name)
        yield
        limit = before + megabytes * 2**20
        eventually(
            lambda: self.kinglet.metric(name) <= limit,
            lambda: f"{megabytes} MB more at most; it is "
            f"{(self.kinglet.metric(name) - before) / 2**20:.1f} MB")

    # People

    def romeo(self):
        return self._online(ROMEO)

    def juliet(self):
        return self._online(JULIET)

    def _online(self, person):
        client = RawClient.logged_in(self.kinglet, person)
        client.send("<presence/>")
        client.read_through("<presence[^>]*>")
        return client


@contextlib.contextmanager
def peer_world(directory, settings=None):
    """A world with a Kinglet that runs."""
    world = PeerWorld(directory, settings)
    try:
        world.kinglet.initialize()
        with world.kinglet.configuration.open("a") as file:
            file.write(f"\ncomponents:\n  - domain: {COMPONENT}\n    secret: {'secret' * 4}\n")
        for person in (ROMEO, JULIET):
            world.kinglet.add_user(person.jid, person.password)
        world.kinglet.start(isolated=False)
        yield world
        world.end_test()
        world.kinglet.stop()
    finally:
        world.names.stop()


def chat(client, to, body):
    client.send(f"<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")


def ask(client, to):
    """A request that another server has to answer."""
    client.send(f"<iq type='get' id='asked' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>")


def refusal(client, kind="iq"):
    """The condition and the text of the error that comes back."""
    answer = client.read_through(f"</{kind}>")
    condition = re.search(r"<error[^>]*><([a-z-]+) ", answer)
    text = re.search(r"<text[^>]*>([^<]*)", answer)
    assert "type='error'" in answer and condition and text, answer
    return condition[1], text[1]


def old_tls(context):
    """TLS 1.1 and no other (RFC 8996)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context
