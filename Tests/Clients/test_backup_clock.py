"""Times of a schedule that were missed, with the real server and clocks that the test moves. It looks
at the clock once a minute, so this takes as long: CLOCKS=1 … -k backup_clock runs it. Jumps of the
clock and daylight saving are in the unit tests (JobScheduleTests)."""

import datetime
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from backup_faults import assert_all_good, configure, new_installation
from kinglet import FIXTURES
from waiting import eventually

SOURCE = Path(__file__).with_name("bad_machine.c")
MINUTE, DAY = 60, 86_400
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

    def runs(self, result="success"):
        try:
            return self.kinglet.metric("kinglet_backup_runs_total", result=result)
        except AssertionError:
            return 0

    def become(self, count):
        eventually(
            lambda: self.runs() == count,
            lambda: f"{count} runs; there were {self.runs()}: {self.kinglet.log.text}", timeout=70)

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
    machine.pass_time(GRACE)
    machine.pass_time(6 * 3600)
    machine.become(1)


@pytest.mark.skipif("CLOCKS" not in os.environ, reason="takes a minute; set CLOCKS")
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
