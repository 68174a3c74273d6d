"""A person on a server of a network: a stock client that waits for stanzas by what they are."""

import asyncio

from slixmpp.plugins.xep_0198.stanza import Ack
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from stock_client import StockClient
from waiting import LONG, arrives


class Correspondent(StockClient):
    """Keeps each stanza until somebody waits for it; the others stay in their order.

    `ledger` takes the identifiers of all messages that come; sessions of a person may share one.
    """

    def __init__(self, server, person, resource=None, ledger=None, **options):
        super().__init__(
            server, person.jid, person.password, resource, plugins=("xep_0198",), **options)
        self.person = person
        self.ledger = [] if ledger is None else ledger
        # Messages, presences and requests that nobody has waited for yet.
        self.kept = []
        self._arrival = asyncio.Event()
        for event in ("message", "message_error", "presence"):
            self.add_event_handler(event, self._keep)
        # An answer to <r/> may come before what was sent last is done.
        self._acknowledgements = asyncio.Queue()
        self.register_handler(Callback(
            "Acknowledgement", MatchXPath(Ack.tag_name()), self._acknowledgements.put_nowait))

    def _keep(self, stanza):
        if stanza.name == "message":
            self.ledger.append(stanza["id"])
        self.kept.append(stanza)
        self._arrival.set()

    async def come_online(self, priority=None):
        """Fetches the roster and shows presence."""
        await arrives(self.get_roster(), "the roster")
        self.send_presence(ppriority=priority)
        await self.gets_presence("available", self.boundjid.bare)

    def say(self, to, *identifiers):
        """A message of each identifier, whose text is the same."""
        for identifier in identifiers:
            message = self.make_message(mto=to, mbody=identifier, mtype="chat")
            message["id"] = identifier
            message.send()

    async def acknowledged(self):
        """All that was sent is the server's business now (XEP-0198 section 4)."""
        management = self.plugin["xep_0198"]
        while management.unacked_queue:
            management.request_ack()
            await arrives(self._acknowledgements.get(), "the next acknowledgement")

    # Waiting

    async def until(self, description, condition, timeout=LONG):
        """Returns what `condition` does, once that is true; asks after each stanza."""
        async def wait():
            while not (found := condition()):
                self._arrival.clear()
                await self._arrival.wait()
            return found

        try:
            return await arrives(wait(), f"{description} for {self.boundjid}", timeout)
        except AssertionError as error:
            kept = "\n".join(map(str, self.kept)) or "nothing"
            raise AssertionError(f"{error}; kept is:\n{kept}") from None

    async def gets(self, description, matches, timeout=LONG):
        """The first stanza for which `matches` is true; it is kept no longer."""
        def find():
            return next((stanza for stanza in self.kept if matches(stanza)), None)

        stanza = await self.until(description, lambda: find() is not None and find(), timeout)
        self.kept.remove(stanza)
        return stanza

    async def gets_presence(self, kind, sender, timeout=LONG):
        """Of a bare JID; a presence without a type is `available`."""
        return await self.gets(
            f"a presence {kind!r} of {sender}",
            lambda stanza: stanza.name == "presence" and stanza["type"] == kind
            and stanza["from"].bare == sender, timeout)

    async def gets_messages(self, sender, *identifiers, timeout=LONG):
        """Those of a bare JID: these, in this order, and no others before the last of them."""
        def heard():
            return [
                stanza for stanza in self.kept
                if stanza.name == "message" and stanza["from"].bare == sender]

        def ids():
            return [stanza["id"] for stanza in heard()]

        await self.until(
            f"messages {identifiers}", lambda: set(identifiers) <= set(ids()), timeout)
        assert ids() == list(identifiers), f"out of order, or too many: {ids()}"
        messages = heard()
        for message in messages:
            assert (message["type"], message["body"]) == ("chat", message["id"]), message
            self.kept.remove(message)
        return messages
