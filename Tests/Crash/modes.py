"""The modes of a campaign: how the server's lives end, and what the disk does meanwhile."""

import asyncio

import faulty_disk
from unprivileged import MountRefused


class Kill:
    """The server is killed, nothing else."""

    environment = None
    # How often it is killed, stopped, and killed while it starts.
    endings = 85, 10, 5

    def prepare(self, place):
        """Before the server is used for the first time."""

    def faults(self, campaign, life, duration):
        """Moments and what happens then."""
        return []

    async def after_storm(self, campaign, life):
        """Just before the end."""

    def end_faults(self):
        """The disk is well from now on."""

    def after_death(self, campaign):
        """The server is dead, and its files are as it left them."""

    def conclude(self, campaign):
        """Holds the campaign to have done what it says."""


class Restart(Kill):
    """The server is stopped and started again, and rarely killed: who can resume must be able to
    afterwards, for a planned restart costs nobody a session."""

    endings = 10, 80, 10

    def conclude(self, campaign):
        if campaign.tallies["stop"] > 5 and not campaign.tallies["resumed after a stop"]:
            campaign.ledger.violate("sessions were to be resumed after a stop, and none was")


class Fail(Kill):
    """Writes fail: the disk is full for a while, or gives input and output errors."""

    # Room for what hundreds of lives leave behind.
    MEGABYTES = 384

    def prepare(self, place):
        gate = place.directory / "fail"
        self.environment = faulty_disk.faulty(place.directory, FAIL_WHILE=gate)
        self._faults = [faulty_disk.FailingWrites(gate)]
        try:
            place.mount(self.MEGABYTES)
            self._faults.append(faulty_disk.FullDisk(place.server.data))
        except MountRefused as refusal:
            print(f"  no disk gets full, for nothing can be mounted: {refusal}")

    def faults(self, campaign, life, duration):
        random = campaign.random
        fault = random.choice(self._faults)

        def begin():
            life.has_faults = True
            campaign.last_faulty_life = life.number
            campaign.tallies["faults"] += 1
            fault.begin(random)

        events = []
        for _ in range(random.randint(0, 3)):
            events.append((random.uniform(0, duration), begin))
            events.append((random.uniform(0, duration), fault.end))
        return events

    async def after_storm(self, campaign, life):
        # By itself: nobody starts it again.
        if campaign.random.random() < 0.3:
            self.end_faults()
            await campaign.collector.is_served()

    def end_faults(self):
        for fault in self._faults:
            fault.end()

    def conclude(self, campaign):
        if campaign.tallies["faults"] > 10 and not campaign.tallies["refused"]:
            campaign.ledger.violate("writes were to fail, and nothing was ever refused")


class Forget(Kill):
    """With the server's end the power is gone: what was not synced is lost, wholly or in part.
    Often the disk stalls just before, so that there is something to lose."""

    def prepare(self, place):
        self._journals = faulty_disk.Journals(place.directory / "unsynced")
        self._gate = place.directory / "stall"
        self.environment = faulty_disk.faulty(
            place.directory, FORGET_INTO=self._journals.directory, STALL_WHILE=self._gate)

    async def after_storm(self, campaign, life):
        if campaign.random.random() < 0.5:
            self._gate.touch()
            await asyncio.sleep(campaign.random.uniform(0, 0.1))

    def end_faults(self):
        self._gate.unlink(missing_ok=True)

    def after_death(self, campaign):
        share = campaign.random.choice((0, 0, 0.5, 0.9))
        campaign.tallies["writes forgotten"] += self._journals.forget(
            campaign.server.data, campaign.random, share)

    def conclude(self, campaign):
        if campaign.tallies["kill"] > 20 and not campaign.tallies["writes forgotten"]:
            campaign.ledger.violate("writes were to be forgotten, and there were none")
