"""Times of a schedule that were missed, and clocks that jump, with the real server and clocks that the
test moves; the server looks at them when its configuration is read again. More jumps, and daylight
saving, are in the unit tests (JobScheduleTests)."""

import datetime
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from backup_faults import assert_all_good, configure, new_installation, snapshots
from kinglet import FIXTURES
from waiting import eventually

SOURCE = Path(__file__).with_name("bad_machine.c")
MINUTE, DAY = 60, 86_400
YEAR = 365 * DAY
# Nothing is caught up in the first minutes of a server.
GRACE = 200


class Machine:
    """An installation whose clocks the test moves. A daily run, some hours from now."""

    def __init__(self, directory):
        self.kinglet = new_installation(directory)
        # A machine whose clock is set, whatever the one is that tests run on.
        root = directory / "machine"
        shutil.copytree(FIXTURES / "hardware/pi4-healthy", root, symlinks=True)
        self.kinglet.settings["hardware.root"] = str(root)
        self.target = directory / "target"
        self.target.mkdir()
        self._clock = directory / "clock"
        self._uptime = directory / "uptime"
        self.offset = self.awake = 0
        self._say()
        library = directory / "bad_machine.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self.environment = {
            "LD_PRELOAD": str(library), "CLOCK": str(self._clock), "UPTIME": str(self._uptime)}
        due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=6)
        self.due = int(due.timestamp())
        configure(
            self.kinglet, self.target, f"schedule: '{due.minute} {due.hour} * * *'",
            "time_zone: UTC", "keep_last: 1000")

    def _say(self):
        self._clock.write_text(str(self.offset))
        self._uptime.write_text(str(self.awake))

    def start(self):
        self.kinglet.start(isolated=False, environment=self.environment)

    def pass_time(self, seconds):
        """Both clocks go on."""
        self.offset += seconds
        self.awake += seconds
        self._say()
        self.look()

    def jump(self, seconds):
        """Somebody sets the clock."""
        self.offset += seconds
        self._say()
        self.look()

    def look(self):
        """The server would look within a minute."""
        if self.kinglet.process:
            self.kinglet.signal(signal.SIGHUP)

    def now(self):
        """As the server knows it."""
        return time.time() + self.offset

    def runs(self, result="success"):
        try:
            return self.kinglet.metric("kinglet_backup_runs_total", result=result)
        except AssertionError:
            return 0

    def become(self, count):
        # With the next one planned it is idle, and sees both clocks move at once.
        eventually(
            lambda: self.runs() == count and self.awaits_next() > self.now(),
            lambda: f"{count} runs; there were {self.runs()}: {self.kinglet.log.text}")

    def missed(self):
        return self._sum("kinglet_backup_missed_runs_total")

    def awaits_next(self):
        """When the next run is due; 0 before the server has planned."""
        return self._sum("kinglet_backup_next_run_timestamp_seconds")

    def _sum(self, name):
        return sum(sample.value for sample in self.kinglet.samples() if sample.name == name)


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    yield machine
    if machine.kinglet.process:
        machine.kinglet.stop()


def plain(machine):
    """The run at its time."""
    machine.start()
    eventually(lambda: machine.awaits_next() > 0, lambda: machine.kinglet.get("/metrics")[2])
    machine.pass_time(GRACE + 6 * 3600)
    machine.become(1)
    assert machine.missed() == 0


def test_ten_missed_runs_are_one(machine):
    """The machine was off for ten days: one run makes up for all, and the others are counted."""
    plain(machine)
    machine.kinglet.stop()
    machine.pass_time(10 * DAY)
    machine.start()
    eventually(lambda: machine.missed() == 10, lambda: f"10 missed; {machine.missed()}")
    assert machine.runs() == 1, "not in the first minutes"
    machine.pass_time(GRACE)
    machine.become(2)
    # The times of the schedule go on as before.
    eventually(lambda: machine.awaits_next() > machine.due + 10 * DAY, "the next is planned")
    assert machine.awaits_next() < machine.due + 11 * DAY + MINUTE
    machine.kinglet.stop()
    assert len(assert_all_good(machine.kinglet, machine.target)) == 2
    assert machine.kinglet.json("status")["backup"]["jobs"][0]["lastResult"] == "success"


# As many whole days, so that the next run is as far away as it was.
JUMPS = {"ahead": YEAR, "back": -YEAR, "to 1970": DAY - int(time.time()) // DAY * DAY}


@pytest.mark.parametrize("seconds", JUMPS.values(), ids=JUMPS)
def test_a_clock_that_jumps(machine, seconds):
    """Nothing runs for the jump itself, and then one run a day. What is kept stays, and the newest
    snapshot is the one that was made last, whatever its name says."""
    plain(machine)
    machine.jump(seconds)
    eventually(
        lambda: 0 < machine.awaits_next() - machine.now() <= DAY,
        lambda: f"planned by the new clock: {machine.awaits_next() - machine.now()} s from now")
    assert machine.runs() == 1
    for count in (2, 3):
        machine.pass_time(DAY)
        machine.become(count)
    machine.jump(-seconds)
    by_hand = machine.kinglet.json("backup", "run")
    assert by_hand["result"] == "success", by_hand
    machine.kinglet.stop()
    names = sorted(snapshots(machine.target), key=lambda name: name[-6:])
    assert [int(name[-6:]) for name in names] == [1, 2, 3, 4]
    outcome, = machine.kinglet.json("backup", "verify")
    assert outcome["snapshot"] == names[-1] == by_hand["targets"][0]["snapshot"]
    pruned, = json.loads(machine.kinglet.command("backup", "prune", "--json").stdout)
    assert pruned["removed"] == []
