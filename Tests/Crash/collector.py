"""Changes a contact again and again: a request that was answered has happened for good."""

import asyncio

from counting_device import ROSTER, Device
from waiting import arrives


class Collector(Device):
    """Counts in the name of a contact."""

    def __init__(self, world, person):
        super().__init__(world, person, "kitchen", manages=False)
        self.asked = self.confirmed = 0
        self._progress = asyncio.Event()

    async def act(self, life):
        answer = await self.request("get", f"<query xmlns='{ROSTER}'/>")
        name = next((item.get("name") for item in answer.iter(f"{{{ROSTER}}}item")), None)
        stored = int(name or 0)
        if not self.confirmed <= stored <= self.asked:
            self.world.ledger.violate(
                f"{self}: the contact is at {stored}, confirmed were {self.confirmed}, asked "
                f"{self.asked}")
        self.is_online.set()
        while True:
            self.asked += 1
            number = self.asked
            answer = await self.request(
                "set", f"<query xmlns='{ROSTER}'><item jid='counter@{self.person.domain}' "
                f"name='{number}'/></query>")
            if answer.get("type") == "result":
                self.confirmed = number
                self.world.tallies["contacts confirmed"] += 1
                self._progress.set()
            elif not life.has_faults and not life.is_over:
                self.world.ledger.violate(f"{self}: a contact was refused")
            await asyncio.sleep(self.world.random.expovariate(50))

    async def is_served(self):
        """Waits until something was stored."""
        self._progress.clear()
        await arrives(self._progress.wait(), "service after a fault")
