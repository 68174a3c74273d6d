"""A device as its user knows it: what it has of a conversation, from whatever way it came."""

import asyncio
from dataclasses import dataclass

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from waiting import arrives

PLUGINS = (
    "xep_0085", "xep_0198", "xep_0280", "xep_0308", "xep_0313", "xep_0333", "xep_0334", "xep_0352",
    "xep_0359", "xep_0424", "xep_0444", "xep_0461")
CLIENT = "{jabber:client}"
COPIES = "{urn:xmpp:carbons:2}"
FORWARDED = "{urn:xmpp:forward:0}forwarded"
MARKERS = "{urn:xmpp:chat-markers:0}"
REACTIONS = "{urn:xmpp:reactions:0}"


@dataclass(frozen=True)
class Entry:
    """One message of a history, by what it says or what it does to another."""

    id: str
    sender: str
    kind: str
    text: str
    of: str = None

    @classmethod
    def reading(cls, message):
        """None for what no history holds."""
        def make(kind, text="", of=None):
            return cls(message.get("id"), message.get("from").partition("/")[0], kind, text, of)

        if (retraction := message.find("{urn:xmpp:message-retract:1}retract")) is not None:
            return make("retraction", of=retraction.get("id"))
        if (reactions := message.find(f"{REACTIONS}reactions")) is not None:
            faces = sorted(face.text for face in reactions.findall(f"{REACTIONS}reaction"))
            return make("reactions", " ".join(faces), reactions.get("id"))
        if (marker := message.find(f"{MARKERS}displayed")) is not None:
            return make("displayed", of=marker.get("id"))
        body = message.findtext(f"{CLIENT}body")
        if body is None:
            return None
        if (replaced := message.find("{urn:xmpp:message-correct:0}replace")) is not None:
            return make("correction", body, replaced.get("id"))
        if (reply := message.find("{urn:xmpp:reply:0}reply")) is not None:
            return make("reply", body, reply.get("id"))
        return make("text", body)


def conversation(entries):
    """What a person sees: each message with its last text, who has reacted, and who has read it."""
    seen = {}
    for entry in entries:
        if entry.kind in ("text", "reply"):
            seen[entry.id] = {
                "from": entry.sender, "text": entry.text, "to": entry.of, "reactions": {},
                "read": set()}
            continue
        message = seen[entry.of]
        if entry.kind == "reactions":
            message["reactions"][entry.sender] = entry.text
        elif entry.kind == "displayed":
            message["read"].add(entry.sender)
        else:
            assert message["from"] == entry.sender, "only one's own"
            message["text"] = entry.text if entry.kind == "correction" else None
    return seen


class Device:
    """slixmpp, and all that it has seen, across sessions. Its log is the test's: nothing that
    comes is taken for something that it had, but for its own messages in the archive."""

    def __init__(self, connect, server, person, name):
        self._connect = connect
        self._server = server
        self.person = person
        self.name = name
        self.client = None
        # In order; with the id in the archive, as soon as it is known.
        self.log = []
        self._changed = asyncio.Event()
        self._acknowledged = asyncio.Event()

    @property
    def entries(self):
        return [entry for entry, _ in self.log]

    # Being there

    async def arrive(self):
        """A new session: it reads what it missed, then shows presence."""
        self.client = await self._connect(
            self.person, self.name, on=self._server, online=False, plugins=PLUGINS)
        self.client.register_handler(
            Callback("Any message", MatchXPath(f"{CLIENT}message"), self._note_live))
        self.client.add_event_handler("stanza_acked", lambda _: self._acknowledged.set())
        await arrives(self.client.plugin["xep_0280"].enable(), "copies enabled")
        await self.catch_up()
        await arrives(self.client.get_roster(), "the roster")
        self.client.send_presence()
        await self.client.settled()

    async def leave(self):
        """The user closes the client."""
        await self.stored()
        await self.client.leave()

    async def catch_up(self):
        """Reads the archive from the last message that is known to be in it."""
        known = [archive_id for _, archive_id in self.log if archive_id]
        query = self.client.plugin["xep_0313"].retrieve(
            iterator=True, rsm={"max": 3, **({"after": known[-1]} if known else {})})
        while True:
            try:
                page = await arrives(query.next(), "a page of the archive")
            except StopAsyncIteration:
                return
            for result in page["mam"]["results"]:
                found = result.xml.find(f"{{urn:xmpp:mam:2}}result/{FORWARDED}/{CLIENT}message")
                self._note(found, result["mam_result"]["id"], is_archived=True)

    async def stored(self):
        """All that it has sent is acknowledged, so it is on the disk."""
        management = self.client.plugin["xep_0198"]
        # A question goes out at once, and messages wait for their turn.
        await self.client.settled()
        while management.unacked_queue:
            self._acknowledged.clear()
            management.request_ack()
            await arrives(self._acknowledged.wait(), f"an acknowledgement for {self.name}")

    async def has(self, *ids):
        """It has these messages, or gets them."""
        while missing := set(ids) - {entry.id for entry in self.entries}:
            self._changed.clear()
            await arrives(self._changed.wait(), f"{missing} on {self.person.name}'s {self.name}")

    # What comes

    def _note_live(self, stanza):
        message = stanza.xml
        if message.find("{urn:xmpp:mam:2}result") is not None:
            return
        for direction in ("received", "sent"):
            if (copy := message.find(f"{COPIES}{direction}/{FORWARDED}")) is not None:
                assert message.get("from") == self.person.jid
                message = copy.find(f"{CLIENT}message")
        ids = [
            element.get("id") for element in message.findall("{urn:xmpp:sid:0}stanza-id")
            if element.get("by") == self.person.jid]
        self._note(message, ids[0] if ids else None)

    def _note(self, message, archive_id, is_archived=False):
        entry = Entry.reading(message)
        if entry is None:
            assert archive_id is None, "what is archived tells something"
            return
        assert archive_id, f"{entry} is in the archive and says so"
        is_own = message.get("from") == self.client.boundjid.full
        if is_archived and is_own and (entry, None) in self.log:
            self.log[self.log.index((entry, None))] = (entry, archive_id)
        else:
            self.log.append((entry, archive_id))
        self._changed.set()

    # What its user does

    def send(self, message):
        """Sends a message, which is then part of its history; gives the id."""
        message["type"] = "chat"
        message.send()
        entry = Entry.reading(message.xml) if message["from"] else None
        if entry is None:
            message.xml.set("from", self.client.boundjid.full)
            entry = Entry.reading(message.xml)
            del message.xml.attrib["from"]
        self.log.append((entry, None))
        return entry.id

    def _make(self, to, text=None):
        return self.client.make_message(mto=to, mbody=text)

    def say(self, to, text):
        return self.send(self._make(to, text))

    def correct(self, to, of, text):
        return self.send(self.client.plugin["xep_0308"].build_correction(of, to, mbody=text))

    def reply(self, to, of, text):
        return self.send(self.client.plugin["xep_0461"].make_reply(to, of, mto=to, mbody=text))

    def react(self, to, of, *faces):
        message = self._make(to)
        self.client.plugin["xep_0444"].set_reactions(message, of, faces)
        message.enable("store")
        return self.send(message)

    def read(self, to, of):
        message = self._make(to)
        message["displayed"]["id"] = of
        return self.send(message)

    def retract(self, to, of):
        message = self._make(to, "I have taken this back")
        message["retract"]["id"] = of
        message.enable("store")
        return self.send(message)

    def compose(self, to):
        """Begins to type, which no history holds."""
        message = self._make(to)
        message["type"] = "chat"
        message["chat_state"] = "composing"
        message.send()
