"""A client device: logs in, resumes or binds, and keeps both counters of XEP-0198."""

import asyncio
from xml.sax.saxutils import quoteattr

from stream import CLIENT, STANZAS, Ended, Stream
from waiting import LONG, arrives

SM = "{urn:xmpp:sm:3}"
MAM = "{urn:xmpp:mam:2}"
ROSTER = "jabber:iq:roster"


class Device:
    """One resource of an account. Subclasses say what it does while it is connected (`act`) and
    what it makes of messages.

    manages: enables stream management; resumes: and asks for streams that can be resumed.
    """

    def __init__(self, world, person, resource=None, manages=True, resumes=True):
        self.world, self.person, self.resource = world, person, resource
        self.manages, self.resumes = manages, resumes
        self.stream = None
        # Set while it is connected and has done what a connection begins with.
        self.is_online = asyncio.Event()
        # Numbers the sessions: a stream and its resumptions are one.
        self.session = 0
        self.handled = self.sent = self.acknowledged = 0
        # The SM-ID of the stream to resume.
        self.previous = None
        # The life of the server in which it was last connected.
        self._life = None
        # Nothing happened that excuses the server from resuming it.
        self.must_resume = False
        # The connection ends because the device wants it to.
        self.was_cut = False
        self._is_counting = False
        self._requests = {}
        self._pages = {}
        self._serial = 0

    def __str__(self):
        return f"{self.person.name}/{self.resource or '*'}"

    # What subclasses say

    async def act(self, life):
        """What the device does on a connection; the reading goes on beside it."""

    def message(self, element):
        """A message came."""

    def presence(self, element):
        """A presence came: its own, for nobody here has contacts who see each other."""

    def bound(self):
        """A new session begins."""

    def began(self):
        """The stream is ready, of a new session or of one that was resumed."""

    def knows(self, handled, how):
        """The server handled so many stanzas of the current session."""

    def lost(self, handled):
        """The session cannot be resumed; the server had handled so many stanzas, or says
        nothing of it (None)."""

    # Connections

    async def live(self, life):
        """Is connected, and again after each cut, until the server's life is over."""
        while not life.is_over:
            try:
                await self.connection(life, self.act)
            except Ended as end:
                if not life.is_over and not self.was_cut:
                    self.world.unexpected_end(self, end, life)
            if self.was_cut and self.world.random.random() < 0.3:
                # Stays away until the server is started again: a stream that hibernates.
                return
            if not life.is_over:
                await asyncio.sleep(self.world.random.uniform(0, 0.1))

    async def visit(self, life, act):
        """A connection of which nothing but an end is expected that `act` has brought about."""
        try:
            await self.connection(life, act)
        except Ended as end:
            if not self.was_cut:
                raise AssertionError(f"{self} was thrown out: {end}") from None

    async def connection(self, life, act):
        """One connection, from the login to its end, which is always an `Ended`."""
        self.was_cut = False
        try:
            await asyncio.wait_for(self._log_in(life), LONG)
            reading = asyncio.create_task(self._read())
            acting = asyncio.create_task(self._quietly(act, life))
            try:
                await asyncio.wait({reading, acting}, return_when=asyncio.FIRST_COMPLETED)
                if acting.done():
                    acting.result()
                await reading
            finally:
                for task in (reading, acting):
                    task.cancel()
                await asyncio.gather(reading, acting, return_exceptions=True)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self} waits for the server at its login") from None
        finally:
            self.world.ledger.event(
                self, f"ended the connection of session {self.session}, {self.handled} handled")
            self.is_online.clear()
            self._is_counting = False
            for answer in self._requests.values():
                answer.cancel()
            self._requests.clear()
            if self.stream is not None:
                self.stream.cut()

    @staticmethod
    async def _quietly(act, life):
        # That the connection is over is for the reader to say, once it has read everything.
        try:
            await act(life)
        except (Ended, asyncio.CancelledError):
            pass

    def cut(self):
        """The connection breaks."""
        self.world.ledger.event(self, "cuts its connection")
        self.was_cut = True
        self.stream.cut(rudely=self.world.random.random() < 0.5)

    async def _log_in(self, life):
        self.stream = await Stream.logged_in(life.port, self.person)
        is_after_stop, self._life = self._life is not life, life
        if self.previous is not None and await self._resume(life):
            self.world.tallies["resumed after a stop"] += is_after_stop
            return self.began()
        self.must_resume = False
        await self._bind()
        if self.manages:
            await self._enable()
        self.began()

    async def _resume(self, life):
        self.stream.send(f"<resume xmlns='urn:xmpp:sm:3' previd={quoteattr(self.previous)} "
                         f"h='{self.handled}'/>")
        answer = await self.stream.next()
        tallies = self.world.tallies
        if answer.tag == SM + "resumed":
            tallies["resumed"] += 1
            self.world.ledger.event(self, f"resumed session {self.session} with h {self.handled}")
            self._is_counting = self.must_resume = True
            self.check(int(answer.get("h")), "<resumed/>")
            self.knows(int(answer.get("h")), "resumed")
            return True
        assert answer.tag == SM + "failed", answer.tag
        handled = answer.get("h")
        tallies["failed without h" if handled is None else "failed with h"] += 1
        if self.must_resume and not life.has_faults:
            self.world.ledger.event(self, f"could not resume session {self.session}, h {handled}")
            self.world.ledger.violate(
                f"{self} could not resume, though nothing had crashed", account=self.person.name)
        self.lost(None if handled is None else int(handled))
        return False

    async def _bind(self):
        resource = f"<resource>{self.resource}</resource>" if self.resource else ""
        self.stream.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                         f"{resource}</bind></iq>")
        answer = await self.stream.next()
        if answer.get("type") != "result":
            raise Ended(f"{self} cannot bind")
        self.session += 1
        self.world.ledger.event(self, f"began session {self.session}")
        self.bound()

    async def _enable(self):
        self.stream.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>" if self.resumes
                         else "<enable xmlns='urn:xmpp:sm:3'/>")
        # What is sent to the full address may come first; it does not count.
        while (answer := await self.stream.next()).tag in STANZAS:
            self._stanza(answer)
        if answer.tag != SM + "enabled":
            raise Ended(f"{self} cannot enable stream management")
        self.handled = self.sent = self.acknowledged = 0
        self._is_counting = True
        self.previous = answer.get("id") if self.resumes else None
        self.must_resume = self.resumes

    async def _read(self):
        while True:
            element = await self.stream.next()
            if element.tag in STANZAS:
                self.handled += self._is_counting
                self._stanza(element)
            elif element.tag == SM + "r":
                # At once, or when it comes to it.
                delay = self.world.random.choice((0, 0, 0.1))
                asyncio.get_running_loop().call_later(delay, self.acknowledge)
            elif element.tag == SM + "a":
                self.check(int(element.get("h")), "<a/>")
                self.knows(int(element.get("h")), "a")

    def check(self, handled, what, may_fall=False):
        """An h of the server's is not more than was sent, and does not fall."""
        if handled > self.sent:
            self.world.ledger.violate(
                f"{self}: {what} has h='{handled}' of {self.sent} stanzas that were sent",
                account=self.person.name)
        if handled < self.acknowledged and not may_fall:
            self.world.ledger.violate(
                f"{self}: {what} has h='{handled}', and {self.acknowledged} were acknowledged",
                account=self.person.name)

    def _stanza(self, element):
        if element.tag == CLIENT + "iq":
            answer = self._requests.pop(element.get("id"), None)
            if answer is not None and not answer.done():
                answer.set_result(element)
        elif element.tag == CLIENT + "message":
            result = element.find(MAM + "result")
            if result is not None:
                self._pages.setdefault(result.get("queryid"), []).append(result)
            else:
                self.message(element)
        else:
            self.presence(element)

    # What devices do

    def write(self, stanza):
        """Sends a stanza, which counts."""
        self.sent += 1
        self.stream.send(stanza)

    async def request(self, kind, payload):
        """The answer to a request to the own account."""
        self._serial += 1
        name = f"q{self._serial}"
        answer = self._requests[name] = asyncio.get_running_loop().create_future()
        self.write(f"<iq type='{kind}' id='{name}'>{payload}</iq>")
        return await arrives(answer, f"the answer to {self}'s {payload[:60]}")

    async def page(self, payload):
        """The results of an archive query, and its answer."""
        name = f"p{self._serial}"
        answer = await self.request(
            "set", f"<query xmlns='urn:xmpp:mam:2' queryid='{name}'>{payload}</query>")
        return self._pages.pop(name, []), answer

    def acknowledge(self):
        """Says what came; whoever leaves without gets some of it again (XEP-0198 section 4)."""
        if self._is_counting:
            self.stream.send(f"<a xmlns='urn:xmpp:sm:3' h='{self.handled}'/>")

    async def barrier(self):
        """Everything that waited for this device has come, and what follows from its coming is
        committed: a change of the roster waits for the disk behind all that."""
        self.acknowledge()
        for _ in range(3):
            await self.request(
                "set", f"<query xmlns='{ROSTER}'><item jid='barrier@example.test'/></query>")

    async def leave(self):
        """Ends the stream in order."""
        self.was_cut = True
        self.previous = None
        self.acknowledge()
        self.stream.end()
