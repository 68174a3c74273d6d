"""An XMPP stream over plain loopback, for asyncio: text out, elements in."""

import asyncio
import base64
import collections
import socket
import struct
from xml.etree.ElementTree import ParseError, XMLPullParser
from xml.sax.saxutils import quoteattr

CLIENT = "{jabber:client}"
SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
STREAMS = "{http://etherx.jabber.org/streams}"
STANZAS = {CLIENT + "message", CLIENT + "presence", CLIENT + "iq"}
BLOCK = 65_536


class Ended(ConnectionError):
    """The stream or its connection is over."""


class Stream:
    """A connection to the server, from the first stream header on."""

    def __init__(self, reader, writer, domain):
        self._reader, self._writer, self._domain = reader, writer, domain
        self._elements = collections.deque()
        self._has_ended = False

    @classmethod
    async def logged_in(cls, port, person):
        """A stream that was authenticated (PLAIN), with its second header exchanged."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise Ended(str(error)) from None
        stream = cls(reader, writer, person.domain)
        try:
            await stream._open()
            message = f"\0{person.name}\0{person.password}".encode()
            stream.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"
                        f"{base64.b64encode(message).decode()}</auth>")
            answer = await stream.next()
            if answer.tag != SASL + "success":
                raise Ended(f"no login for {person.jid}: {[child.tag for child in answer]}")
            await stream._open()
        except BaseException:
            stream.cut()
            raise
        return stream

    async def _open(self):
        self._parser = XMLPullParser(("start", "end"))
        self._depth = 0
        self._root = None
        self.send(f"<?xml version='1.0'?><stream:stream to={quoteattr(self._domain)} version='1.0'"
                  " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        features = await self.next()
        assert features.tag == STREAMS + "features", features.tag

    def send(self, text):
        # That a connection is broken is for the reader to find out.
        if not self._writer.is_closing():
            self._writer.write(text.encode())

    async def drain(self):
        """Waits while the server reads too slowly."""
        try:
            await self._writer.drain()
        except OSError as error:
            raise Ended(str(error)) from None

    async def next(self, timeout=None):
        """The next element of the stream's first level; `Ended` when there will be none."""
        while not self._elements:
            try:
                data = await asyncio.wait_for(self._reader.read(BLOCK), timeout)
            except OSError as error:
                raise Ended(str(error)) from None
            if not data or self._has_ended:
                raise Ended("the connection was closed")
            try:
                self._feed(data)
            except ParseError as error:
                raise Ended(f"not well-formed: {error}") from None
        element = self._elements.popleft()
        if element.tag == STREAMS + "error":
            raise Ended(", ".join(child.tag.partition("}")[2] for child in element))
        return element

    def _feed(self, data):
        self._parser.feed(data)
        for event, element in self._parser.read_events():
            if event == "start":
                self._depth += 1
                self._root = self._root if self._root is not None else element
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._elements.append(element)
                    self._root.clear()
                self._has_ended = self._depth == 0

    def end(self):
        """Closes the stream in order; the server does so too."""
        self.send("</stream:stream>")

    def cut(self, rudely=False):
        """Drops the connection without a word; rudely, so that nothing under way arrives."""
        if self._writer.is_closing():
            return
        if rudely:
            self._writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
