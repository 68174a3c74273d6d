"""The power fails while a backup is made: whatever has a snapshot's name is whole, what was there is
there, and the next run goes on. CUTS=100 … -k power_cuts is a long run.

Data and target are disks of their own. At a cut the kernel lets nothing more through to them, so
that what was never synced is lost; what is in the journals is replayed afterwards."""

import os
import random
import shutil
import subprocess
import time

import pytest

from backup_faults import (
    Disk, Writer, add_uploads, assert_all_good, assert_restores_what_is, begin, configure,
    new_installation, others, snapshots)
from unprivileged import IS_ROOT

CUTS = int(os.environ.get("CUTS", "2"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1 << 32)

needs_disks = pytest.mark.skipif(
    not IS_ROOT or shutil.which("mkfs.ext4") is None, reason="only root can mount disks")


@pytest.fixture(params=["tree", "archive"])
def machine(request, tmp_path):
    """An installation on one disk, with a target on another."""
    disks = [Disk(tmp_path, "source", 96), Disk(tmp_path, "target", 192)]
    try:
        for disk in disks:
            disk.mount()
    except AssertionError as refusal:
        pytest.skip(f"nothing can be mounted here: {refusal}")
    source, target = disks
    kinglet = new_installation(tmp_path, source.place / "data")
    configure(kinglet, target.place, "keep_last: 1000", encrypt=request.param == "archive")
    for disk in disks:
        disk.sync()
    yield kinglet, source, target
    if kinglet.process:
        kinglet.crash()
    for disk in disks:
        disk.unmount()


def cut_once(machine, delay):
    """Cuts the power `delay` seconds after the beginning of a run, or with None right after its
    success was reported. Returns whether it was."""
    kinglet, source, target = machine
    kinglet.start(isolated=False)
    add_uploads(kinglet, 5)
    writer = Writer(kinglet)
    run = begin(kinglet, "run", "--json")
    if delay is None:
        output, errors = run.communicate(timeout=60)
    else:
        # A moment of the power cut, not a wait for anything.
        time.sleep(delay)
    for disk in (target, source):
        disk.cut()
    is_done = run.poll() == 0
    kinglet.crash()
    run.kill()
    run.wait()
    writer.stop()
    if delay is None:
        assert is_done, errors
    for disk in (source, target):
        disk.unmount()
        disk.mount()
    return is_done


@needs_disks
def test_power_cuts(machine, tmp_path):
    kinglet, source, target = machine
    is_tree = "encrypt" not in kinglet.configuration.read_text()
    draw = random.Random(SEED)
    known = []
    longest = 2.0
    for number in range(CUTS):
        delay = None if number % 4 == 1 else draw.uniform(0, longest)
        what = f"seed {SEED}, cut {number} after {delay} s"
        is_done = cut_once(machine, delay)
        try:
            if is_tree:
                there = assert_all_good(kinglet, target.place, known)
                assert not is_done or len(there) > len(known), "what was reported is there"
                known = there
            # The next run goes on from what is there, and gives a true copy.
            kinglet.start(isolated=False)
            kinglet.stop()
            before = time.monotonic()
            done = kinglet.command("backup", "run", "--json", check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            longest = 1.3 * (time.monotonic() - before)
            if is_tree:
                known = assert_all_good(kinglet, target.place, known)
                assert others(target.place) == [], "what the cut left is removed"
            else:
                outcomes = kinglet.json("backup", "verify", "--all")
                names = [outcome["snapshot"] for outcome in outcomes]
                assert set(known) <= set(names) and not any(
                    outcome["faults"] for outcome in outcomes), outcomes
                assert not is_done or len(names) >= len(known) + 2
                known = names
            place = tmp_path / "restored"
            assert_restores_what_is(kinglet, place)
            shutil.rmtree(place)
        except AssertionError as failure:
            raise AssertionError(f"{what}: {failure}") from failure
