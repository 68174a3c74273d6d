"""The crash program itself: what it holds to be wrong, and the faults that it makes."""

import collections
import errno
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Crash"))

import faulty_disk
from counting_device import Device
from ledger import Ledger
from sender import Sender

BALCONY = SimpleNamespace(
    person=SimpleNamespace(name="juliet"), session=1, is_available=True)


class Story:
    """What Romeo and Juliet do, with what is put down of it."""

    def __init__(self):
        self.ledger = Ledger(collections.Counter())
        self.ledger.life = SimpleNamespace(number=1, has_faults=False, is_stopping=False)
        self.messages = {}
        self.last = {"romeo": {}, "juliet": {}}

    def send(self, number, acknowledged="a", times=1):
        message = self.messages[number] = self.ledger.sent("romeo", "juliet", number)
        for _ in range(times):
            self.ledger.sending(message, "sent")
        if acknowledged:
            self.ledger.acknowledged(message, acknowledged)

    def deliver(self, number, name=None, device=BALCONY):
        self.ledger.delivered(device, f"romeo {number} x", name or f"a{number}")

    def archive(self, owner, number, name=None):
        self.ledger.archived(owner, f"romeo {number} x", name or f"a{number}", self.last[owner])

    def keep(self, number):
        for owner in ("romeo", "juliet"):
            self.archive(owner, number)

    def violations(self):
        self.ledger.reckon(self.ledger.due())
        return "\n".join(self.ledger.violations)


def test_a_story_without_fault():
    """Delivered, found in the archive, or neither acknowledged nor there; and refused by a disk
    that is not well."""
    story = Story()
    story.send(1)
    story.deliver(1)
    story.keep(1)
    story.send(2)
    story.ledger.caught_up(BALCONY, "romeo 2 x", "a2")
    story.keep(2)
    story.send(3, acknowledged=None)
    story.ledger.life.has_faults = True
    story.send(4, acknowledged=None)
    story.ledger.refused(story.messages[4], "resource-constraint")
    assert story.violations() == ""
    assert story.ledger.tallies["lost"] == 0


def test_what_was_sent_twice_may_be_refused_once():
    """By a disk that is not well. It is then found at the place of the other time."""
    story = Story()
    story.ledger.life.has_faults = True
    story.send(1, acknowledged=None, times=2)
    story.send(2)
    story.ledger.refused(story.messages[1], "internal-server-error")
    for number in (2, 1):
        story.deliver(number)
        story.keep(number)
    assert story.violations() == ""


def test_a_refusal_may_come_after_a_restart():
    """A session that is resumed brings it; nothing was wrong with the disk since."""
    story = Story()
    story.ledger.life.has_faults = True
    story.send(1, acknowledged=None)
    story.ledger.life = SimpleNamespace(number=2, has_faults=False, is_stopping=False)
    story.ledger.refused(story.messages[1], "internal-server-error")
    assert story.violations() == ""


def test_a_refusal_that_a_crash_swallowed_is_no_loss():
    """XEP-0198 section 5: an h has no holes, so that of <failed/> covers what was refused."""
    story = Story()
    story.send(1, acknowledged="failed, after faults")
    assert story.violations() == ""
    assert story.ledger.tallies["refused unheard"] == 1


def lost(story):
    story.send(1)
    story.keep(1)


def lost_by_an_h_that_is_too_high(story):
    story.send(1, acknowledged="failed")


def not_in_the_receivers_archive(story):
    story.send(1)
    story.deliver(1)
    story.archive("romeo", 1)


def not_in_the_senders_archive(story):
    story.send(1)
    story.deliver(1)
    story.archive("juliet", 1)


def delivered_before_it_was_stored(story):
    story.send(1, acknowledged=None)
    story.deliver(1)


def delivered_under_two_names(story):
    story.send(1)
    story.deliver(1, "a1")
    story.deliver(1, "a2", SimpleNamespace(person=BALCONY.person, session=2, is_available=True))
    story.keep(1)


def delivered_twice(story):
    story.send(1)
    story.deliver(1)
    story.deliver(1)
    story.keep(1)


def delivered_out_of_order(story):
    for number in (1, 2):
        story.send(number)
        story.keep(number)
    story.deliver(2)
    story.deliver(1)


def delivered_anew_after_an_end_in_order(story):
    story.send(1)
    story.deliver(1)
    story.keep(1)
    story.ledger.settle(story.ledger.found_by("juliet"))
    story.deliver(1, device=SimpleNamespace(person=BALCONY.person, session=2, is_available=True))


def archived_twice(story):
    story.send(1)
    story.deliver(1)
    story.keep(1)
    story.archive("romeo", 1, "a2")


def archived_out_of_order(story):
    for number in (1, 2):
        story.send(number)
        story.deliver(number)
    story.archive("juliet", 2)
    story.archive("juliet", 1)
    story.archive("romeo", 1)
    story.archive("romeo", 2)


def refused_by_a_disk_that_is_well(story):
    story.send(1, acknowledged=None)
    story.ledger.refused(story.messages[1], "resource-constraint")


def refused_and_delivered(story):
    story.ledger.life.has_faults = True
    story.send(1, acknowledged=None)
    story.ledger.refused(story.messages[1], "resource-constraint")
    story.deliver(1)


def refused_each_time_and_delivered(story):
    story.ledger.life.has_faults = True
    story.send(1, acknowledged=None, times=2)
    for _ in range(2):
        story.ledger.refused(story.messages[1], "resource-constraint")
    story.deliver(1)


def gone_from_an_archive(story):
    story.send(1)
    story.keep(1)
    story.ledger.compare_archives("juliet", story.ledger.archive_ids("juliet"), [])


def another_order_in_an_archive(story):
    for number in (1, 2):
        story.send(number)
        story.keep(number)
    story.ledger.compare_archives("romeo", story.ledger.archive_ids("romeo"), ["a2", "a1"])


def an_archive_entry_read_twice(story):
    story.send(1)
    story.keep(1)
    story.ledger.compare_archives("romeo", story.ledger.archive_ids("romeo"), ["a1", "a1"])


def unknown(story):
    story.deliver(7)


@pytest.mark.parametrize("happening, words", [
    (lost, "juliet has it not"),
    (lost_by_an_h_that_is_too_high, "not in romeo's archive"),
    (not_in_the_receivers_archive, "not in juliet's archive"),
    (not_in_the_senders_archive, "not in romeo's archive"),
    (delivered_before_it_was_stored, "not in juliet's archive"),
    (delivered_under_two_names, "known as a1 and a2"),
    (delivered_twice, "twice in one session"),
    (delivered_out_of_order, "delivered after romeo 2"),
    (delivered_anew_after_an_end_in_order, "delivered again"),
    (archived_twice, "twice in romeo's archive"),
    (archived_out_of_order, "after romeo 2 in juliet's archive"),
    (refused_by_a_disk_that_is_well, "nothing is wrong with the disk"),
    (refused_and_delivered, "delivered all the same"),
    (refused_each_time_and_delivered, "delivered all the same"),
    (gone_from_an_archive, "no longer in juliet's archive"),
    (another_order_in_an_archive, "after romeo 2 in romeo's archive"),
    (an_archive_entry_read_twice, "2 entries and 1 ids"),
    (unknown, "nobody sent"),
])
def test_what_is_wrong_is_noticed(happening, words):
    story = Story()
    happening(story)
    assert words in story.violations()


@pytest.mark.parametrize("handled, words", [(9, "9' of 8"), (3, "4 were acknowledged"), (8, "")])
def test_an_h_is_neither_too_high_nor_falls(handled, words):
    world = SimpleNamespace(ledger=Story().ledger)
    device = Device(world, SimpleNamespace(name="romeo"))
    device.sent, device.acknowledged = 8, 4
    device.check(handled, "<a/>")
    assert words in "\n".join(world.ledger.violations)
    assert bool(world.ledger.violations) == bool(words)


@pytest.mark.parametrize("obeys", [True, False])
def test_the_h_of_a_failed_session_may_fall_for_who_sends_twice(obeys):
    """What the server recognises as sent before it acknowledges and does not store."""
    world = SimpleNamespace(ledger=Story().ledger, had_faults_since=lambda life: False)
    sender = Sender(world, SimpleNamespace(name="romeo"), None, obeys, ids="kept")
    sender.sent, sender.acknowledged = 60, 60
    sender.lost(58)
    assert bool(world.ledger.violations) == obeys


# Writes on the disk

@pytest.mark.parametrize("page, is_well", [(None, True), (3, False), (0, False)])
def test_a_damaged_file_is_found(tmp_path, page, is_well):
    file = tmp_path / "kinglet.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY, text UNIQUE)")
        connection.executemany(
            "INSERT INTO numbers (text) VALUES (?)", ((f"{number:0100}",) for number in range(999)))
    connection.close()
    if page is not None:
        with open(file, "r+b") as damaged:
            damaged.seek(page * 4096)
            damaged.write(b"\xff" * 4096)
    answer = faulty_disk.integrity(tmp_path, tmp_path / "copy")()
    assert (answer == "ok") == is_well
    assert not (tmp_path / "copy").exists()


def run(directory, code, **faults):
    """Runs Python code as the server would run, with `file` open."""
    subprocess.run(
        [sys.executable, "-c", f"import os\nfile = os.open('kinglet.db', os.O_RDWR)\n{code}"],
        cwd=directory, check=True, env={**os.environ, **faulty_disk.faulty(directory, **faults)})


WRITES = """
os.pwrite(file, b"synced", 0)
os.fdatasync(file)
os.pwrite(file, b"S", 0)
os.pwrite(file, b"longer", 4)
os.ftruncate(file, 8)
"""


@pytest.mark.parametrize("share, content", [(0, b"synced"), (1, b"Synclong")])
def test_what_was_not_synced_is_taken_back(tmp_path, share, content):
    file = tmp_path / "kinglet.db"
    file.write_bytes(b"old")
    journals = faulty_disk.Journals(tmp_path / "unsynced")
    run(tmp_path, WRITES, FORGET_INTO=journals.directory)
    assert file.read_bytes() == b"Synclong"
    assert journals.forget(tmp_path, random.Random(1), share) == 3 * (1 - share)
    assert file.read_bytes() == content
    assert journals.forget(tmp_path, random.Random(1), 0) == 0


def test_half_a_note_is_none(tmp_path):
    file = tmp_path / "kinglet.db"
    file.write_bytes(b"old")
    journals = faulty_disk.Journals(tmp_path / "unsynced")
    run(tmp_path, "os.pwrite(file, b'new', 0)", FORGET_INTO=journals.directory)
    journal = journals.directory / "unsynced-kinglet.db"
    whole = journal.read_bytes()
    for length in range(len(whole) + 1):
        assert len(list(faulty_disk.read_notes(whole[:length]))) == (length == len(whole))
    assert len(list(faulty_disk.read_notes(whole + whole[:-1]))) == 1


def test_writes_fail_while_they_are_to(tmp_path):
    (tmp_path / "kinglet.db").touch()
    gate = tmp_path / "fail"
    gate.write_text("1")
    run(tmp_path, f"""
for operation in (
    lambda: os.pwrite(file, b"x", 0), lambda: os.ftruncate(file, 9), lambda: os.fdatasync(file)):
    try:
        operation()
    except OSError as error:
        assert error.errno == {errno.EIO}
    else:
        raise AssertionError("it did not fail")
os.unlink({str(gate)!r})
os.pwrite(file, b"y", 0)
""", FAIL_WHILE=gate)
    assert (tmp_path / "kinglet.db").read_bytes() == b"y"
