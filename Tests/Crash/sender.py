"""Senders of numbered messages, which resend what the server does not say that it has."""

import asyncio
import collections
import dataclasses

from counting_device import Device
from stream import CLIENT

# So many messages of one sender are under way at most; the server recognises a few hundred.
WINDOW = 80
ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


@dataclasses.dataclass
class Outstanding:
    """A message that is not acknowledged: its number in the session, counted as XEP-0198 does."""

    position: int
    message: object
    to: str
    body: str


class Sender(Device):
    """Sends to all receivers, and sends again what is not acknowledged.

    obeys: takes the h of <resumed/> and <failed/> for true. Others resend all the same.
    ids: `kept` when a message keeps its ids; `new` when each sending has ids of its own, so that
    nothing but h protects from doubles; `plain` when there is an id and no origin-id.
    """

    def __init__(self, world, person, resource, obeys, ids):
        super().__init__(world, person, resource)
        self.obeys, self.ids = obeys, ids
        self.count = self.sendings = self.session_life = 0
        self.outstanding = collections.deque()
        self._by_id = {}
        self._progress = asyncio.Event()

    def bound(self):
        self.session_life = self.world.life.number

    def began(self):
        again, self.outstanding = self.outstanding, collections.deque()
        for item in again:
            if item.message.refused_in is None:
                self.world.tallies["sent again"] += 1
                self._send(item.message, item.to, item.body)
        self.stream.send("<r xmlns='urn:xmpp:sm:3'/>")
        self.is_online.set()

    def knows(self, handled, how):
        if how == "resumed":
            # What is sent from here on counts from here on.
            self.sent = handled
            if not self.obeys:
                self.acknowledged = handled
                return
        self.acknowledged = handled
        while self.outstanding and self.outstanding[0].position <= handled:
            item = self.outstanding.popleft()
            if item.message.refused_in is None:
                self.world.ledger.acknowledged(item.message, how)
        self._progress.set()

    def lost(self, handled):
        ledger = self.world.ledger
        for item in self.outstanding:
            ledger.note(item.message, f"session failed with h='{handled}', it was "
                        f"{item.position}, {self.acknowledged} acknowledged")
        # What was refused, or recognised as sent before, is not stored, and so its number is not.
        had_faults = self.world.had_faults_since(self.session_life)
        self.check(handled or 0, "<failed/>", may_fall=had_faults or not self.obeys)
        if handled is None:
            return
        if self.obeys:
            self.knows(max(handled, self.acknowledged),
                       "failed, after faults" if had_faults else "failed")

    def message(self, element):
        name = element.get("id")
        message = self._by_id.get(name)
        if element.get("type") != "error" or message is None:
            self.world.ledger.violate(f"{self} was sent a message: {name}")
            return
        condition = next(
            (child.tag.removeprefix(ERRORS) for child in element.find(CLIENT + "error")
             if child.tag.startswith(ERRORS)), "no condition")
        self.world.ledger.refused(message, condition)

    async def act(self, life):
        random = self.world.random
        while not self.world.is_concluding:
            for _ in range(random.randint(1, 8)):
                while len(self.outstanding) >= WINDOW:
                    self._progress.clear()
                    self.stream.send("<r xmlns='urn:xmpp:sm:3'/>")
                    await self._progress.wait()
                self._send_next()
            if random.random() < 0.6:
                self.stream.send("<r xmlns='urn:xmpp:sm:3'/>")
            await self.stream.drain()
            # The load is not all that the server can bear: others are to have their turns.
            await asyncio.sleep(random.expovariate(self.world.pace))

    def _send_next(self):
        receiver = self.world.random.choice(self.world.receivers)
        self.count += 1
        message = self.world.ledger.sent(self.person.name, receiver.person.name, self.count)
        to = receiver.person.jid
        if receiver.resource and self.world.random.random() < 0.2:
            to += f"/{receiver.resource}"
        padding = "x" * self.world.random.choice((0, 10, 200, 3000))
        self._send(message, to, f"{message.body} {padding}")

    def _send(self, message, to, body):
        self.sendings += 1
        suffix = f"-{self.sendings}" if self.ids == "new" else ""
        name = f"{message.sender}-{message.number}{suffix}"
        origin = ("" if self.ids == "plain"
                  else f"<origin-id xmlns='urn:xmpp:sid:0' id='o-{name}'/>")
        self._by_id[name] = message
        self.write(f"<message to='{to}' type='chat' id='{name}'>"
                   f"<body>{body}</body>{origin}</message>")
        self.outstanding.append(Outstanding(self.sent, message, to, body))
        self.world.ledger.sending(
            message, f"sent to {to} in session {self.session} as {self.sent}, id {name}")
