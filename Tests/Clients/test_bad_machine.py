"""Sensors that hang, vanish or tell nonsense, and a clock that jumps (bad_machine.c): each is a failed
reading, and harms neither the others, nor a scrape, nor the chat."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from kinglet import FIXTURES
from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import eventually

SOURCE = Path(__file__).with_name("bad_machine.c")
YEARS = 365 * 86_400


class BadMachine:
    """A server on a recorded Pi 4, whose files hang and whose clock jumps as the test says."""

    def __init__(self, make_server, directory):
        self.root = directory / "machine"
        shutil.copytree(FIXTURES / "hardware/pi4-healthy", self.root, symlinks=True)
        self._hanging = directory / "hanging"
        self._hanging.touch()
        self._clock = directory / "clock"
        self._clock.touch()
        library = directory / "bad_machine.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self.server = make_server(users=USERS, settings={"hardware.root": str(self.root)})
        self.server.start(environment={
            "LD_PRELOAD": str(library), "HANGING": str(self._hanging), "CLOCK": str(self._clock)})

    def hang(self, *paths):
        """From now on these hang, and nothing else."""
        text = "".join(f"{self.root / path}\n" for path in paths)
        beside = self._hanging.with_suffix(".new")
        beside.write_text(text)
        os.replace(beside, self._hanging)

    def jump(self, seconds):
        beside = self._clock.with_suffix(".new")
        beside.write_text(str(seconds))
        os.replace(beside, self._clock)

    def write(self, path, text):
        (self.root / path).write_text(text)

    def value(self, name, **labels):
        """Of the one series that has these labels; None when there is none."""
        begun = time.monotonic()
        samples = self.server.samples()
        assert time.monotonic() - begun < 1, "a scrape waited"
        values = [
            sample.value for sample in samples
            if sample.name == name and labels.items() <= sample.labels.items()]
        assert len(values) <= 1, values
        return values[0] if values else None

    def becomes(self, value, name, timeout=30, **labels):
        eventually(
            lambda: self.value(name, **labels) == value,
            lambda: f"{name}{labels} is {value}; it is {self.value(name, **labels)}",
            timeout=timeout)

    def succeeds(self, value, reading, timeout=30):
        self.becomes(value, "kinglet_hardware_reading_success", timeout, reading=reading)

    def threads(self):
        """Those that read the machine."""
        tasks = Path(f"/proc/{self.server.process.pid}/task").iterdir()
        return sum((task / "comm").read_text().strip() == "hardware" for task in tasks)

    def talk(self):
        """Somebody logs in and writes to somebody else, who gets it."""
        with RawClient.logged_in(self.server, ROMEO) as romeo, \
                RawClient.logged_in(self.server, JULIET, "balcony") as juliet:
            juliet.send("<presence/>")
            juliet.expect_answer()
            romeo.send(
                f"<message to='{JULIET.jid}/balcony' type='chat'><body>still here</body></message>")
            juliet.read_through("still here")


@pytest.fixture
def machine(make_server, tmp_path):
    machine = BadMachine(make_server, tmp_path)
    machine.succeeds(1, "throttling")
    machine.succeeds(1, "disk")
    yield machine
    machine.hang()


def test_a_sensor_that_hangs_costs_its_own_reading(machine):
    """One file that never opens: its reading fails, all others go on, one thread more is all."""
    before = machine.threads()
    machine.hang("sys/class/thermal/thermal_zone0/temp")
    machine.succeeds(0, "temperature")
    assert machine.value("rpi_temperature_celsius", sensor="soc") is None
    machine.write("mailbox", "gencmd get_throttled -> throttled=0x10001\n")
    machine.becomes(1, "rpi_undervoltage_active")
    machine.talk()
    assert machine.threads() <= before + 1
    machine.hang()
    machine.succeeds(1, "temperature", timeout=70)
    machine.becomes(47.225, "rpi_temperature_celsius", sensor="soc")
    eventually(lambda: machine.threads() == before, "the thread that was stuck ends")


def test_a_machine_that_hangs_altogether_harms_no_chat(machine):
    """Every source hangs at once: scrapes say so, chat goes on, and the server can be stopped."""
    machine.hang("sys", "proc", "dev", "etc", "run", "mailbox", "calls")
    for reading in ("throttling", "temperature", "cpu", "memory"):
        machine.succeeds(0, reading)
    machine.talk()
    machine.server.stop()


def test_nonsense_is_a_failed_reading(machine):
    """Garbage, negative, huge and vanished: none is shown as a value."""
    zone = "sys/class/thermal/thermal_zone0/temp"
    for nonsense in ("-300000\n", "99999999999999999999\n"):
        machine.write(zone, nonsense)
        machine.succeeds(0, "temperature")
        assert machine.value("rpi_temperature_celsius", sensor="soc") is None, nonsense
    machine.write(zone, "51000\n")
    machine.becomes(51, "rpi_temperature_celsius", sensor="soc", timeout=70)
    machine.succeeds(1, "temperature")
    (machine.root / zone).unlink()
    machine.becomes(None, "rpi_temperature_celsius", sensor="soc")
    machine.succeeds(1, "temperature")


def test_a_clock_that_jumps_by_years(make_server, tmp_path):
    """Ahead and back before 1970: chat and readings go on."""
    machine = BadMachine(make_server, tmp_path)
    machine.succeeds(1, "throttling")
    for seconds in (50 * YEARS, -80 * YEARS, 0):
        machine.jump(seconds)
        # What is read next shows that time goes on.
        word = "0x10001" if seconds else "0x0"
        machine.write("mailbox", f"gencmd get_throttled -> throttled={word}\n")
        machine.becomes(1 if seconds else 0, "rpi_undervoltage_active")
        machine.talk()
    machine.succeeds(1, "clock")
