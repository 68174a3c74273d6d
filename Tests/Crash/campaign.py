"""A campaign: one server whose life ends again and again, and those who rely on it."""

import asyncio
import collections
import dataclasses

import archive
import faulty_disk
from collector import Collector
from ledger import Ledger
from people import Person
from receiver import Receiver
from sender import Sender
from waiting import LONG

DOMAIN = "example.test"
# Bursts of messages in a second, of each sender: in a storm, and while everything is looked at,
# which takes its time on a slow machine.
STORM, CALM = 30, 10


@dataclasses.dataclass(eq=False)
class Life:
    """The time from a start of the server to its end."""

    number: int
    port: int = 0
    is_over: bool = False
    # It was told to stop.
    is_stopping: bool = False
    # Something was wrong with the disk.
    has_faults: bool = False


def person(name):
    return Person(name, DOMAIN, f"password of {name}")


class Campaign:
    """Starts the server, lets it be used, kills it, and looks whether anything is missing."""

    def __init__(self, place, mode, random):
        self.place, self.mode, self.random = place, mode, random
        self.server = place.server
        self.server.settings["listen.plaintext"] = "loopback"
        self.tallies = collections.Counter()
        self.life = None
        self.ledger = Ledger(self.tallies)
        self.last_faulty_life = 0
        # What was sent is looked at once more, and nothing new is sent.
        self.is_concluding = False
        self.pace = STORM
        self._integrity = None
        self.senders = [
            Sender(self, person("romeo"), "orchard", obeys=True, ids="new"),
            Sender(self, person("mercutio"), None, obeys=True, ids="kept"),
            Sender(self, person("tybalt"), None, obeys=False, ids="kept"),
            Sender(self, person("paris"), "square", obeys=False, ids="plain"),
        ]
        self.online = [
            Receiver(self, person("juliet"), "balcony"),
            Receiver(self, person("nurse"), None, manages=False),
        ]
        # One comes when the server is well, the other at any time.
        self.caller = Receiver(self, person("rosaline"), "garden", resumes=False)
        self.visitor = Receiver(self, person("benvolio"), None, manages=False)
        self.receivers = [*self.online, self.caller, self.visitor]
        self.collector = Collector(self, person("peter"))
        self.auditors = [
            archive.Auditor(self, device.person) for device in (*self.senders, *self.receivers)]

    @property
    def devices(self):
        return [*self.senders, *self.online, self.collector]

    def had_faults_since(self, life):
        return self.last_faulty_life >= life

    def unexpected_end(self, device, end, life):
        if life.has_faults:
            self.tallies["thrown out by faults"] += 1
        else:
            self.ledger.violate(f"{device} was thrown out: {end}")

    # From the beginning to the end

    async def run(self, runs, progress):
        """As many lives, and one more to look at everything. Stops at the first violation."""
        self.mode.prepare(self.place)
        self.place.initialize(
            *(device.person for device in (*self.senders, *self.receivers, self.collector)))
        for number in range(1, runs + 1):
            await self._live(number)
            self.tallies["runs"] += 1
            progress(self)
            if self.ledger.violations:
                return
        await self._live(runs + 1, is_last=True)
        await self._report_integrity()
        self.mode.conclude(self)

    async def _live(self, number, is_last=False):
        ending = "stop" if is_last else self.random.choices(
            ("kill", "stop", "kill while starting"), self.mode.endings)[0]
        self.tallies[ending] += 1
        if ending == "kill while starting":
            return await self._die_young(number)
        life = await self._start(number)
        try:
            async with asyncio.TaskGroup() as group:
                for device in self.devices:
                    group.create_task(device.live(life))
                await self._course(life, ending, group, is_last)
        except* AssertionError as failures:
            for failure in failures.exceptions:
                self.ledger.violate(f"life {number}: {failure}")
        if self.server.process is not None:
            life.is_over = True
            self.server.crash()
        # Only now, for what it said before its end was still being read.
        if ending != "stop":
            self._excuse_from_resuming()

    async def _course(self, life, ending, group, is_last):
        if is_last or self.random.random() < 0.7:
            await self._check(life)
        if is_last:
            self.is_concluding = True
            for auditor in self.auditors:
                await auditor.audit_everything(life)
        await self._storm(life, group)
        await self._end(life, ending)

    async def _start(self, number):
        self.life = self.ledger.life = life = Life(number)
        self.pace = STORM
        await asyncio.to_thread(self.place.start, environment=self.mode.environment)
        life.port = self.server.ports["client"]
        return life

    async def _end(self, life, ending):
        status = self.server.process.poll()
        assert status is None, f"the server ended by itself: {status}\n{self.server.log.beginning}"
        life.is_over = True
        if ending == "stop":
            life.is_stopping = True
            self.mode.end_faults()
            await asyncio.to_thread(self.server.stop)
        else:
            await asyncio.to_thread(self.server.crash)
        await self._look_at_the_files()

    async def _die_young(self, number):
        self.life = self.ledger.life = Life(number, is_over=True)
        await asyncio.to_thread(
            self.place.start, wait=False, environment=self.mode.environment)
        await asyncio.sleep(self.random.uniform(0, 0.4))
        await asyncio.to_thread(self.server.crash)
        self._excuse_from_resuming()
        await self._look_at_the_files()

    def _excuse_from_resuming(self):
        for device in self.devices:
            device.must_resume = False

    async def _look_at_the_files(self):
        self.mode.end_faults()
        self.mode.after_death(self)
        await self._report_integrity()
        check = faulty_disk.integrity(self.server.data, self.place.directory / "copy")
        self._integrity = asyncio.create_task(asyncio.to_thread(check))

    async def _report_integrity(self):
        if self._integrity is not None:
            answer = await self._integrity
            self.tallies["integrity checks"] += 1
            if answer != "ok":
                self.tallies["integrity failures"] += 1
                self.ledger.violate(f"PRAGMA integrity_check: {answer}")

    # What happens in a life

    async def _check(self, life):
        """All who are to be online are; nothing is missing."""
        for device in self.devices:
            try:
                await asyncio.wait_for(device.is_online.wait(), LONG)
            except asyncio.TimeoutError:
                raise AssertionError(f"{device} does not get online") from None
        self.pace = CALM
        due = self.ledger.due()
        await asyncio.gather(*(away.call(life, due) for away in (self.caller, self.visitor)))
        await asyncio.gather(*(receiver.has_found(due) for receiver in self.online))
        await asyncio.gather(*(auditor.audit(life) for auditor in self.auditors))
        self.pace = STORM
        self.ledger.reckon(due)
        self.tallies["checks"] += 1

    async def _storm(self, life, group):
        """Connections break, visitors come and go, the disk has its faults: at random moments up to
        a random end."""
        duration = self.random.uniform(0, 0.5)
        events = self.mode.faults(self, life, duration)
        for device in (*self.senders, *self.online):
            if self.random.random() < 0.3:
                events.append((self.random.uniform(0, duration), lambda each=device: cut(each)))
        if self.random.random() < 0.5:
            events.append((
                self.random.uniform(0, duration),
                lambda: group.create_task(self.visitor.look_in(life))))
        begin = asyncio.get_running_loop().time()
        events = sorted(events, key=lambda event: event[0])
        for moment, event in [*events, (duration, lambda: None)]:
            await asyncio.sleep(begin + moment - asyncio.get_running_loop().time())
            event()
        await self.mode.after_storm(self, life)


def cut(device):
    if device.is_online.is_set():
        device.cut()
