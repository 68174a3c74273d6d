"""What the readings keep across restarts and boots: events and bytes that wear the card."""

import shutil
import sqlite3

import pytest

from kinglet import FIXTURES
from waiting import eventually

EVENTS = "rpi_undervoltage_events_total"
WRITTEN = "kinglet_machine_disk_lifetime_written_bytes_total"
SECTOR = 512


class Board:
    """A recorded Pi 4 whose supply, disk and boots the test decides."""

    def __init__(self, root):
        self.root = root
        shutil.copytree(FIXTURES / "hardware/pi4-healthy", root)
        self._mailbox = root / "mailbox"
        self._calm = self._mailbox.read_text()
        self._diskstats = root / "proc/diskstats"
        self._boot = root / "proc/sys/kernel/random/boot_id"

    def sag(self, history=True):
        """The supply is too low now; the firmware may remember it."""
        word = "0x10001" if history else "0x1"
        self._mailbox.write_text(f"tag 0x00030046 {word}\n")

    def recover(self, remembers=True):
        self._mailbox.write_text("tag 0x00030046 0x10000\n" if remembers else self._calm)

    def reboot(self, name):
        self._boot.write_text(f"00000000-0000-4000-8000-00000000000{name}\n")
        self._mailbox.write_text(self._calm)

    def set_written(self, count):
        """The card's bytes of this boot, as /proc/diskstats tells them."""
        lines = []
        for line in self._diskstats.read_text().splitlines():
            fields = line.split()
            if fields[2] == "mmcblk0":
                fields[9] = str(count // SECTOR)
            lines.append(" ".join(fields))
        self._diskstats.write_text("\n".join(lines) + "\n")


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path / "machine")


@pytest.fixture
def kinglet(make_server, board):
    return make_server(settings={"hardware.root": str(board.root)})


def becomes(kinglet, value, name):
    """Waits for a metric that may not be there yet."""
    def values():
        return [sample.value for sample in kinglet.samples() if sample.name == name]

    eventually(lambda: values() == [value], lambda: f"{name} is {value}; it is {values()}")


def test_an_event_is_counted_once_across_restarts_and_boots(kinglet, board):
    """An under-voltage survives kill -9, and the firmware's memory of it counts nothing twice."""
    kinglet.start()
    becomes(kinglet, 0, EVENTS)
    board.sag()
    becomes(kinglet, 1, EVENTS)
    board.recover()
    becomes(kinglet, 0, "rpi_undervoltage_active")
    board.sag()
    becomes(kinglet, 2, EVENTS)
    eventually(lambda: remembered(kinglet, "undervoltage_events") == 2, "the events are on the disk")
    kinglet.crash()

    kinglet.start()
    becomes(kinglet, 1, "rpi_undervoltage_active")
    becomes(kinglet, 2, EVENTS)
    kinglet.stop()

    board.reboot(1)
    kinglet.start()
    becomes(kinglet, 0, "rpi_undervoltage_active")
    becomes(kinglet, 2, EVENTS)
    board.sag()
    becomes(kinglet, 3, EVENTS)


def test_written_bytes_go_on_over_boots(kinglet, board):
    """A restart within a boot loses nothing that was not saved; a boot begins at what was."""
    board.set_written(100 * SECTOR)
    kinglet.start()
    becomes(kinglet, 100 * SECTOR, WRITTEN)
    kinglet.stop()

    board.set_written(250 * SECTOR)
    kinglet.start()
    becomes(kinglet, 250 * SECTOR, WRITTEN)
    kinglet.crash()

    # Nothing of the last run was saved, yet the kernel still knows.
    board.set_written(300 * SECTOR)
    kinglet.start()
    becomes(kinglet, 300 * SECTOR, WRITTEN)
    kinglet.stop()

    board.reboot(1)
    board.set_written(5 * SECTOR)
    kinglet.start()
    becomes(kinglet, 305 * SECTOR, WRITTEN)


def remembered(kinglet, key):
    """The saved total, read beside the running server."""
    connection = sqlite3.connect(f"file:{kinglet.data}/kinglet.db?mode=ro", uri=True)
    try:
        row = connection.execute(
            "SELECT total FROM machine_memory WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None
    finally:
        connection.close()
