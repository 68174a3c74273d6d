"""Targets that vanish, fill up, cannot be written or are others than before, and a source that was
emptied: nothing good is lost, nothing is written elsewhere, and what is said helps."""

import json
import os
import shutil
import subprocess

import pytest

from backup_faults import assert_all_good, configure, new_installation, snapshots
from test_backup_faults import FakeRsync
from kinglet import BINARY as KINGLET
from unprivileged import IS_ROOT

needs_mounts = pytest.mark.skipif(not IS_ROOT, reason="only root can mount a file system")


class Medium:
    """A small file system that can be plugged in and out, and keeps what it holds."""

    def __init__(self, place, megabytes):
        self.place = place
        self._behind = place.with_name(place.name + "-plugged-out")
        for folder in (place, self._behind):
            folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self._behind],
            capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        self._is_in = False
        self.plug_in()

    def plug_in(self):
        subprocess.run(["mount", "--bind", self._behind, self.place], check=True)
        self._is_in = True

    def pull_out(self):
        if self._is_in:
            subprocess.run(["umount", "--lazy", self.place], check=True)
            self._is_in = False

    def set(self, option):
        for place in (self._behind, self.place):
            subprocess.run(["mount", "-o", f"remount,{option},bind", place], check=True)

    def remove(self):
        self.pull_out()
        subprocess.run(["umount", "--lazy", self._behind], check=True)


@pytest.fixture(scope="module", params=["tree", "archive"])
def place(request, tmp_path_factory):
    """An installation with a snapshot on a medium that can be pulled out."""
    directory = tmp_path_factory.mktemp("targets")
    medium = Medium(directory / "disk", 40)
    kinglet = new_installation(directory)
    kinglet.medium = medium
    kinglet.is_tree = request.param == "tree"
    configure(
        kinglet, medium.place, "keep_last: 2", "keep_daily: 0", "keep_weekly: 0",
        "keep_monthly: 0", encrypt=not kinglet.is_tree)
    for _ in range(2):
        kinglet.command("backup", "run")
    yield kinglet
    medium.remove()


@pytest.fixture
def kinglet(place):
    """It has what it had, whatever a test did to its target."""
    before = listed(place)
    assert len(before) == 2
    yield place
    assert set(before) & set(listed(place)), "something good was removed"
    outcomes = place.json("backup", "verify", "--all")
    assert not any(outcome["faults"] for outcome in outcomes)
    # And it works again.
    assert place.json("backup", "run")["result"] == "success"
    if place.is_tree:
        assert_all_good(place, place.medium.place)


def listed(kinglet):
    target, = kinglet.json("backup", "list")["targets"]
    assert target["available"], target
    return [snapshot["id"] for snapshot in target["snapshots"]]


def fails(kinglet, *arguments):
    """The outcome of a run that gives nothing, which is said in one line."""
    done = kinglet.command("backup", "run", "--json", *arguments, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    outcome = json.loads(done.stdout)
    target, = outcome["targets"]
    assert outcome["nextStep"] and outcome["nextStep"] in done.stderr
    assert "snapshot" not in target and not target["pruned"], outcome
    return outcome


@needs_mounts
def test_an_empty_mount_point_is_not_written_to(kinglet):
    kinglet.medium.pull_out()
    try:
        for _ in range(3):
            outcome = fails(kinglet)
            assert outcome["result"] == "skipped" and "mount" in outcome["nextStep"], outcome
            assert list(kinglet.medium.place.iterdir()) == []
        for command in (["verify"], ["prune"], ["restore", "--to", "/nowhere/at/all", "--yes"]):
            done = kinglet.command("backup", *command, check=False)
            assert done.returncode == 1 and "mount" in done.stdout + done.stderr, done
        assert list(kinglet.medium.place.iterdir()) == []
    finally:
        kinglet.medium.plug_in()


@needs_mounts
def test_another_disk_is_not_taken_for_the_target(kinglet, tmp_path):
    """One with another marker, and one whose marker says nothing sensible."""
    other = Medium(tmp_path / "other", 20)
    kinglet.medium.pull_out()
    subprocess.run(["mount", "--bind", other.place, kinglet.medium.place], check=True)
    marker = kinglet.medium.place / "kinglet-backup.json"
    try:
        for text, word in (
                (json.dumps({"format": 1, "target": "a" * 32, "instances": ["b" * 32]}),
                 "the right disk" if kinglet.is_tree else ""),
                ("{" * 100_000, ""), ("", ""), ('{"format": 99}', "")):
            marker.write_text(text)
            outcome = fails(kinglet)
            assert outcome["result"] == "failed" and word in outcome["nextStep"], (text, outcome)
            assert [path.name for path in kinglet.medium.place.iterdir()] == [marker.name]
            assert marker.read_text() == text
    finally:
        subprocess.run(["umount", kinglet.medium.place], check=True)
        kinglet.medium.plug_in()
        other.remove()


@needs_mounts
def test_a_read_only_target(kinglet):
    kinglet.medium.set("ro")
    try:
        outcome = fails(kinglet)
        assert outcome["result"] == "failed" and "read-only" in outcome["reason"].lower(), outcome
    finally:
        kinglet.medium.set("rw")


@needs_mounts
def test_a_target_without_room(kinglet):
    """What does not fit is said with the way out, and what was there stays."""
    large = kinglet.data / "uploads" / "large"
    with open(large, "wb") as file, open("/dev/urandom", "rb") as source:
        file.write(source.read(60 << 20))
    try:
        outcome = fails(kinglet)
        assert outcome["result"] == "failed" and "free some space" in outcome["nextStep"], outcome
    finally:
        large.unlink()


@needs_mounts
@pytest.mark.parametrize("form", ["tree", "archive"])
def test_history_makes_room_where_the_owner_wants_that(form, tmp_path):
    """The oldest snapshots go, a few at a time; otherwise the run fails and they stay."""
    medium = Medium(tmp_path / "disk", 40)
    kinglet = new_installation(tmp_path)
    kept = ("keep_last: 20",)
    configure(kinglet, medium.place, *kept, encrypt=form == "archive")
    passing = kinglet.data / "uploads" / "passing"
    try:
        for _ in range(8):
            passing.write_bytes(os.urandom(5 << 20))
            done = kinglet.command("backup", "run", "--json", check=False)
            if done.returncode:
                break
        target, = json.loads(done.stdout)["targets"]
        assert target["code"] == "full" and not target["pruned"], target
        before = listed(kinglet)
        assert len(before) >= 5
        configure(
            kinglet, medium.place, *kept, "when_full: remove_oldest", encrypt=form == "archive")
        outcome = kinglet.json("backup", "run")
        target, = outcome["targets"]
        assert outcome["result"] == "warning" and "removed for space" in str(outcome), outcome
        assert 0 < len(target["pruned"]) <= 3
        assert listed(kinglet) == before[len(target["pruned"]):] + [target["snapshot"]]
        assert not any(outcome["faults"] for outcome in kinglet.json("backup", "verify", "--all"))
    finally:
        medium.remove()


@needs_mounts
def test_a_target_that_fills_up_meanwhile(kinglet, tmp_path):
    """Somebody else's files take the room that there was at the beginning."""
    if not kinglet.is_tree:
        pytest.skip("in the unit tests")
    rsync = FakeRsync(tmp_path)
    ballast = kinglet.medium.place / "ballast"
    rsync.plan(f"cat /dev/zero > {ballast} 2> /dev/null")
    large = kinglet.data / "uploads" / "large"
    large.write_bytes(b"large" * 1_000_000)
    try:
        done = run_with(kinglet, rsync)
        outcome = json.loads(done.stdout)
        assert outcome["targets"][0]["code"] == "full", outcome
        assert "free some space" in done.stderr
    finally:
        ballast.unlink()
        large.unlink()


@needs_mounts
def test_a_file_that_may_not_grow(kinglet):
    """Under a limit for files (LimitFSIZE=) the run fails with a reason, and is not killed."""
    grown = kinglet.data / "uploads" / "grown"
    grown.write_bytes(os.urandom(3 << 20))
    done = subprocess.run(
        ["prlimit", f"--fsize={1 << 20}", KINGLET, "backup", "run", "--json", *kinglet._common],
        capture_output=True, text=True, check=False, timeout=60)
    grown.unlink()
    assert done.returncode == 1, done
    target, = json.loads(done.stdout)["targets"]
    assert target["result"] == "failed" and target["reason"], target
    # Of a tree, rsync writes the files, and it is killed.
    assert kinglet.is_tree or "too large" in target["reason"].lower(), target


def run_with(kinglet, rsync):
    """A run with another rsync."""
    path = rsync.environment["PATH"]
    return subprocess.run(
        ["env", f"PATH={path}", str(KINGLET), "backup", "run", "--json", *map(
            str, kinglet._common)], capture_output=True, text=True, timeout=60)


@needs_mounts
def test_a_target_that_vanishes_meanwhile(kinglet, tmp_path):
    """Nothing is written into the mount point that is left."""
    if not kinglet.is_tree:
        pytest.skip("in the unit tests")
    rsync = FakeRsync(tmp_path)
    rsync.plan(f"umount --lazy {kinglet.medium.place}")
    try:
        done = run_with(kinglet, rsync)
        kinglet.medium._is_in = False
        outcome = json.loads(done.stdout)
        assert outcome["result"] == "skipped" and "plug" in outcome["nextStep"], outcome
        assert list(kinglet.medium.place.iterdir()) == []
    finally:
        kinglet.medium.plug_in()


@needs_mounts
def test_a_file_that_changes_twice_in_a_second(kinglet):
    """Of the same size: what compares sizes and whole seconds takes it for the one of before."""
    upload = kinglet.data / "uploads" / "hasty"
    now = 1_800_000_000_000_000_000
    old = listed(kinglet)[0]
    kinglet.command("backup", "pin", old)
    try:
        for part in (b"one", b"two"):
            upload.write_bytes(part * 1000)
            now += 100_000_000
            os.utime(upload, ns=(now, now))
            assert kinglet.json("backup", "run")["result"] == "success"
    finally:
        upload.unlink()
        kinglet.command("backup", "unpin", old)


@needs_mounts
def test_uploads_that_are_gone_stop_the_run(kinglet):
    """An unmounted disk, or a slip of the hand: it asks, and goes on when told to."""
    uploads = kinglet.data / "uploads"
    aside = kinglet.data.parent / "aside"
    uploads.rename(aside)
    try:
        for restore in (lambda: uploads.mkdir(), lambda: None):
            outcome = fails(kinglet)
            assert outcome["result"] == "failed", outcome
            assert outcome["targets"][0]["code"] == "suspicious", outcome
            assert "--accept-changes" in outcome["nextStep"]
            restore()
        shutil.rmtree(uploads)
        done = kinglet.command("backup", "run", "--json", "--accept-changes")
        assert json.loads(done.stdout)["result"] == "success"
    finally:
        aside.rename(uploads)


@needs_mounts
def test_a_data_directory_that_is_gone_is_no_empty_one(kinglet):
    """Nothing is made in its place, and nothing is copied."""
    aside = kinglet.data.parent / "aside"
    before = listed(kinglet)
    kinglet.data.rename(aside)
    kinglet.data.mkdir()
    try:
        done = kinglet.command("backup", "run", check=False)
        assert done.returncode == 1 and "there is no data" in done.stderr, done
        assert list(kinglet.data.iterdir()) == []
    finally:
        kinglet.data.rmdir()
        aside.rename(kinglet.data)
    assert listed(kinglet) == before
