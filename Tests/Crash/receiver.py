"""Receivers: some are online, some come now and then; each asks the archive for what it lacks."""

import asyncio

import archive
from counting_device import Device
from stream import CLIENT, Ended
from waiting import LONG, arrives

STANZA_ID = "{urn:xmpp:sid:0}stanza-id"


class Receiver(Device):
    """Gets messages, and remembers up to where it has everything."""

    def __init__(self, world, person, resource, manages=True, resumes=True):
        super().__init__(world, person, resource, manages, resumes)
        # It has everything up to this entry of the archive.
        self._position = None
        # What came last on the stream, until it has caught up.
        self._latest = None
        self._has_caught_up = False
        # The server sent it its own presence.
        self._presence = asyncio.Event()
        self._news = asyncio.Event()

    # On the stream

    def bound(self):
        self._has_caught_up = False
        self._presence.clear()
        self._latest = None

    @property
    def is_available(self):
        return self._presence.is_set()

    def presence(self, element):
        self._presence.set()

    def message(self, element):
        own = [child.get("id") for child in element.iterfind(STANZA_ID)
               if child.get("by") == self.person.jid]
        name = own[0] if own else None
        waited = element.find("{urn:xmpp:delay}delay") is not None
        self.world.ledger.delivered(self, element.findtext(CLIENT + "body"), name, waited)
        if self._has_caught_up:
            self._position = name
        else:
            self._latest = name
        self._news.set()

    # What it does

    async def act(self, life):
        await self._announce()
        self.is_online.set()

    async def _announce(self):
        """Presence, and what came while it was away; a stream that was resumed has both."""
        if self._has_caught_up:
            return
        self.world.ledger.event(self, "is available")
        self.write("<presence/>")
        await arrives(self._presence.wait(), f"{self}'s own presence")
        begin, count = self._position, 0
        async for entry in archive.entries(self, begin):
            self.world.ledger.caught_up(self, entry.body, entry.id)
            self._position = entry.id
            self._news.set()
            count += 1
        self.world.ledger.event(
            self, f"read {count} entries from {begin} to {self._position}; the stream is at "
            f"{self._latest}")
        self._position = self._latest or self._position
        self._has_caught_up = True

    async def has_found(self, due):
        """Waits until it has these messages, or should have them."""
        mine = [message for message in due if message.receiver == self.person.name]
        end = asyncio.get_running_loop().time() + LONG
        while not all(message.is_found for message in mine):
            self._news.clear()
            left = end - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except asyncio.TimeoutError:
                return

    async def call(self, life, due):
        """Logs in, gets everything that waits, and leaves in order."""
        async def act(life):
            await self._announce()
            await self.has_found(due)
            seen = self.world.ledger.found_by(self.person.name)
            await self.barrier()
            if not life.has_faults:
                self.world.ledger.settle(seen)
            await self.leave()

        await self.visit(life, act)

    async def look_in(self, life):
        """Logs in while messages come, and leaves as it likes."""
        async def act(life):
            await self._announce()
            await asyncio.sleep(self.world.random.expovariate(10))
            if self.world.random.random() < 0.5:
                self.cut()
            else:
                await self.leave()

        try:
            await self.connection(life, act)
        except Ended as end:
            if not life.is_over and not self.was_cut:
                self.world.unexpected_end(self, end, life)
