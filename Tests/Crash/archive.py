"""Reading an archive (XEP-0313) page by page (XEP-0059)."""

import dataclasses
from xml.sax.saxutils import escape

from counting_device import MAM, Device
from stream import CLIENT

RSM = "{http://jabber.org/protocol/rsm}"
FORWARDED = "{urn:xmpp:forward:0}forwarded"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One message of an archive."""

    id: str
    sender: str
    receiver: str
    body: str


async def entries(device, after=None):
    """The own archive from its beginning, or from behind an entry, to its end."""
    while True:
        following = f"<after>{escape(after)}</after>" if after else ""
        size = device.world.random.choice((7, 50, 200))
        results, answer = await device.page(
            f"<set xmlns='http://jabber.org/protocol/rsm'><max>{size}</max>{following}</set>")
        assert answer.get("type") == "result", (
            f"{device} cannot read the archive after {after}: "
            f"{[child.tag for child in answer.iter()]}")
        assert len(results) <= size, f"{device} asked for {size} entries and got {len(results)}"
        for result in results:
            message = result.find(f"{FORWARDED}/{CLIENT}message")
            yield Entry(
                result.get("id"), bare(message.get("from")), bare(message.get("to")),
                message.findtext(CLIENT + "body"))
        end = answer.find(MAM + "fin")
        if end.get("complete") in ("true", "1"):
            return
        last = end.findtext(f"{RSM}set/{RSM}last")
        assert results and last == results[-1].get("id"), f"a page of {device} leads nowhere"
        after = last


def bare(jid):
    return (jid or "").partition("/")[0]


class Auditor(Device):
    """Reads the archive of an account, and nothing else: each time what is new, at last all of it
    again."""

    def __init__(self, world, person):
        super().__init__(world, person, manages=False)
        self._after = None
        self._last = {}

    async def audit(self, life):
        async def act(life):
            async for entry in entries(self, self._after):
                self._look(entry)
                self.world.ledger.archived(
                    self.person.name, entry.body, entry.id, self._last)
                self._after = entry.id
            await self.leave()

        await self.visit(life, act)

    async def audit_everything(self, life):
        """Everything that the audits found is there, once, and as it was."""
        async def act(life):
            ids = []
            known = self.world.ledger.archive_ids(self.person.name)
            async for entry in entries(self):
                self._look(entry)
                ids.append(entry.id)
            self.world.ledger.compare_archives(self.person.name, known, ids)
            await self.leave()

        await self.visit(life, act)

    def _look(self, entry):
        message = self.world.ledger.message(entry.body, self.person.name)
        domain = self.person.domain
        if message is not None and (entry.sender, entry.receiver) != (
                f"{message.sender}@{domain}", f"{message.receiver}@{domain}"):
            self.world.ledger.violate(
                f"archived as of {entry.sender} to {entry.receiver}", message)
