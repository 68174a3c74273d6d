"""Users' servers that publish to the app server (XEP-0357 section 7), without a login for each
user: a component (XEP-0114) speaks for all accounts of its domain."""

import hashlib
import itertools
import re
import socket
from xml.sax.saxutils import quoteattr

from waiting import LONG

PUBSUB = "http://jabber.org/protocol/pubsub"
OPTIONS = f"{PUBSUB}#publish-options"


class Publisher:
    """One component's connection; blocking."""

    domain, secret = "users.test", "the secret of the users"

    def __init__(self, kinglet, domain=None):
        self.domain = domain or self.domain
        self.service = f"push.{kinglet.domain}"
        self._ids = itertools.count()
        self._received = ""
        self._answers = {}
        self._socket = socket.create_connection(
            (kinglet.address, kinglet.ports["component"]), LONG)
        self._write(
            "<stream:stream xmlns='jabber:component:accept' to='" + self.domain
            + "' xmlns:stream='http://etherx.jabber.org/streams'>")
        stream = self._read_through(r"<stream:stream[^>]* id=['\"]([^'\"]*)['\"][^>]*>")[1]
        self._write("<handshake>%s</handshake>" % hashlib.sha1(
            (stream + self.secret).encode()).hexdigest())
        self._read_through(r"<handshake[^>]*>")

    @classmethod
    def settings(cls, *domains):
        """For the configuration of the server."""
        entries = [
            f"{{domain: {domain}, secret: '{cls.secret}'}}" for domain in domains or [cls.domain]]
        return {"listen.component_port": 0, "components": f"[{', '.join(entries)}]"}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self._socket.close()

    def _write(self, text):
        self._socket.sendall(text.encode())

    def _read_through(self, pattern):
        """The match; what is behind it stays."""
        while not (match := re.search(pattern, self._received, re.DOTALL)):
            data = self._socket.recv(1 << 16)
            assert data, f"the stream ended before {pattern}: {self._received}"
            self._received += data.decode("utf-8", "replace")
        self._received = self._received[match.end():]
        return match

    def request(self, node, user="juliet", sender=None, **options):
        """Asks, and gives the id of the request."""
        identifier = f"p{next(self._ids)}"
        fields = "".join(
            f"<field var={quoteattr(name)}><value>{value}</value></field>"
            for name, value in {"FORM_TYPE": OPTIONS, **options}.items())
        self._write(
            f"<iq type='set' id='{identifier}' from={quoteattr(sender or f'{user}@{self.domain}')}"
            f" to='{self.service}'><pubsub xmlns='{PUBSUB}'><publish node={quoteattr(node)}>"
            "<item><notification xmlns='urn:xmpp:push:0'/></item></publish><publish-options>"
            f"<x xmlns='jabber:x:data' type='submit'>{fields}</x></publish-options></pubsub></iq>")
        return identifier

    def answer(self, identifier):
        """None, or the condition of the error. Answers are kept until somebody wants them."""
        while identifier not in self._answers:
            iq = self._read_through(r"<iq\b([^>]*?)(?:/>|>(.*?)</iq>)")
            found = re.search(r"\bid=['\"]([^'\"]*)['\"]", iq[1])
            condition = re.search(r"<([\w-]+)[^>]*urn:ietf:params:xml:ns:xmpp-stanzas", iq[2] or "")
            self._answers[found[1]] = condition and condition[1]
        return self._answers.pop(identifier)

    def publish(self, node, user="juliet", sender=None, **options):
        return self.answer(self.request(node, user, sender, **options))

    def register(self, kind, token, user="juliet", device="device", **fields):
        """What an app of such an account does at the app server (p2): its node and secret."""
        identifier = f"p{next(self._ids)}"
        text = "".join(
            f"<field var={quoteattr(name)}><value>{value}</value></field>"
            for name, value in {"token": token, "device-id": device, **fields}.items())
        self._write(
            f"<iq type='set' id='{identifier}' from='{user}@{self.domain}/app'"
            f" to='{self.service}'><command xmlns='http://jabber.org/protocol/commands'"
            f" node='register-push-{kind}' action='execute'>"
            f"<x xmlns='jabber:x:data' type='submit'>{text}</x></command></iq>")
        answer = self._read_through(rf"<iq\b[^>]*\bid=['\"]{identifier}['\"][^>]*>(.*?)</iq>")[1]
        return dict(re.findall(
            r"<field\b[^>]*\bvar=['\"]([\w-]+)['\"][^>]*><value>([^<]*)</value>", answer))

    def say(self, *accounts, text="hello"):
        """A message to each of them."""
        self._write("".join(
            f"<message type='chat' from='romeo@{self.domain}' to='{account}'"
            f" id='m{next(self._ids)}'><body>{text}</body></message>" for account in accounts))
