"""What ends a backup before its time (kill -9 of the command, of the server, of rsync; each exit
status of rsync; SIGTERM, Ctrl-C), and two at once: it is said, and the next run goes on.

STEPS=1000 … -k every_step kills the command that often, at each change of the file system in turn."""

import json
import os
import random
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from backup_faults import (
    add_uploads, assert_all_good, begin, configure, new_installation, others, snapshots)
from kinglet import one_line
from waiting import LONG, eventually

STEPS = int(os.environ.get("STEPS", "6"))

# Stands in for rsync; what it is to do is in the file `plan` beside it.
FAKE_RSYNC = r"""#!/bin/sh
here=$(dirname "$0")
case "$*" in *--version*) exec @RSYNC@ "$@";; esac
echo "$*" >> "$here/calls"
. "$here/plan"
exec @RSYNC@ "$@"
"""


class FakeRsync:
    """The first rsync in PATH."""

    def __init__(self, directory):
        self.directory = directory / "bin"
        self.directory.mkdir()
        found = subprocess.run(["which", "rsync"], capture_output=True, text=True)
        if found.returncode != 0:
            pytest.skip("there is no rsync")
        self.real = found.stdout.strip()
        script = self.directory / "rsync"
        script.write_text(FAKE_RSYNC.replace("@RSYNC@", self.real))
        script.chmod(0o755)
        self.plan("")
        self.environment = {"PATH": f"{self.directory}:{os.environ['PATH']}"}

    def plan(self, text):
        """Shell commands that come first."""
        (self.directory / "plan").write_text(text + "\n")

    def exits(self, status, after):
        self.plan((f'{self.real} "$@"; ' if after else "") + f"exit {status}")

    def hangs(self, ignores_term=False):
        """It says that it is there, and does not end by itself."""
        self.plan(
            ("trap '' TERM; " if ignores_term else "") +
            'touch "$here/hangs"; while [ -e "$here/hangs" ]; do sleep 0.05; done; exit 20')

    def await_hanging(self):
        eventually((self.directory / "hangs").exists, "rsync is at work")

    def go_on(self):
        self.plan("")
        (self.directory / "hangs").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An installation with a server, a target with a snapshot, and an rsync that obeys."""
    directory = tmp_path_factory.mktemp("faults")
    kinglet = new_installation(directory)
    kinglet.rsync = FakeRsync(directory)
    kinglet.target = directory / "target"
    kinglet.target.mkdir()
    configure(kinglet, kinglet.target, "keep_last: 1000")
    kinglet.start(isolated=False, environment=kinglet.rsync.environment)
    kinglet.command("backup", "run")
    yield kinglet
    kinglet.rsync.go_on()
    kinglet.stop()


@pytest.fixture
def kinglet(place):
    """The shared one, in order again after each test."""
    yield place
    place.rsync.go_on()
    if place.process and place.process.poll() is not None:
        place.crash()
    if place.process is None:
        place.start(isolated=False, environment=place.rsync.environment)


def bases(target):
    """Whole copies of the database: their inodes, for snapshots share them."""
    return {path.stat().st_ino for path in Path(target).glob("*/database/*/base-*")}


def assert_next_run_works(kinglet, known, known_bases):
    """It succeeds, copies the database wholly once at most, and leaves nothing but snapshots."""

    def run():
        done = kinglet.command("backup", "run", "--json", check=False)
        # Of a killed command rsync goes on for a moment, and keeps the lock as long.
        assert done.returncode == 0 or "is at" in done.stderr, done.stdout + done.stderr
        return json.loads(done.stdout) if done.returncode == 0 else None

    outcome = eventually(run, "the lock is free")
    assert outcome["result"] == "success", outcome
    names = assert_all_good(kinglet, kinglet.target, known)
    assert outcome["targets"][0]["snapshot"] == names[-1]
    assert others(kinglet.target) == []
    assert len(bases(kinglet.target) - known_bases) <= 1
    assert os.readlink(kinglet.target / "latest") == names[-1]
    staging = kinglet.data / "backup-state/staging"
    assert not staging.exists() or not list(staging.iterdir())
    return names


# Exit codes

# Result and a part of what is to be done, by the exit status of rsync.
ADVICE = {
    1: ("failed", "3.4.4"), 2: ("failed", "3.4.4"), 3: ("failed", "path of the target"),
    4: ("failed", "3.4.4"), 5: ("failed", "daemon"), 6: ("failed", "daemon"),
    10: ("failed", "network"), 11: ("failed", "full or dying"), 12: ("failed", "network"),
    13: ("failed", "what it says"), 14: ("failed", "tried again"), 15: ("failed", "3.4.4"),
    16: ("failed", "3.4.4"), 19: ("cancelled", ""), 20: ("cancelled", ""),
    21: ("failed", "tried again"), 22: ("failed", "memory"), 23: ("failed", "not published"),
    25: ("failed", "source is complete"), 30: ("failed", "network"), 35: ("failed", "network"),
    99: ("failed", "what it says"), 124: ("failed", "ssh"), 125: ("failed", "tried again"),
    126: ("failed", "permissions"), 127: ("failed", "install rsync"), 255: ("failed", "network"),
}


def test_each_exit_status_is_said(kinglet):
    """No status but 0 and 24 gives a snapshot, whatever was sent, and each says what to do."""
    known = snapshots(kinglet.target)
    for number, (status, (result, advice)) in enumerate(ADVICE.items()):
        add_uploads(kinglet, 1)
        kinglet.rsync.exits(status, after=number % 2 == 0)
        done = kinglet.command("backup", "run", "--json", check=False)
        outcome = json.loads(done.stdout)
        target, = outcome["targets"]
        assert (done.returncode, outcome["result"]) == (1, result), (status, outcome)
        assert target["transfer"]["exitStatus"] == status, outcome
        assert advice in target["nextStep"], (status, outcome)
        assert done.stderr.count("\n") == 1 and advice in done.stderr, done.stderr
        assert target["reason"] in done.stderr
        assert kinglet.metric("kinglet_backup_rsync_exit_code", backup="nightly") == status
        assert kinglet.metric("kinglet_backup_last_result", result=result) == 1
        assert snapshots(kinglet.target) == known
    shown = kinglet.json("status")["backup"]["jobs"][0]
    assert shown["lastResult"] == result and any(
        target["reason"] in text for text in kinglet.json("status")["backup"]["problems"])
    kinglet.rsync.plan("")
    assert_next_run_works(kinglet, known, bases(kinglet.target))
    assert kinglet.metric("kinglet_backup_rsync_exit_code", backup="nightly") == 0


def test_vanished_files_are_a_warning(kinglet):
    """Status 24: the snapshot is there, and the run says what happened."""
    known = snapshots(kinglet.target)
    kinglet.rsync.exits(24, after=True)
    outcome = kinglet.json("backup", "run")
    assert outcome["result"] == "warning" and "vanished" in outcome["reason"]
    assert kinglet.metric("kinglet_backup_rsync_exit_code", backup="nightly") == 24
    assert len(assert_all_good(kinglet, kinglet.target, known)) == len(known) + 1


def test_an_rsync_that_says_it_did_and_did_not(kinglet):
    """Success is what is at the target, not what a program says."""
    known = snapshots(kinglet.target)
    add_uploads(kinglet, 1)
    kinglet.rsync.exits(0, after=False)
    outcome = json.loads(kinglet.command("backup", "run", "--json", check=False).stdout)
    assert outcome["result"] == "failed", outcome
    assert snapshots(kinglet.target) == known
    kinglet.rsync.plan("")
    assert_next_run_works(kinglet, known, set())


# kill -9


def test_killed_at_every_step(kinglet, tmp_path):
    """Wherever the command dies, what was there is there, and the next run goes on."""
    kinglet.stop()
    library = tmp_path / "end_at_step.so"
    source = Path(__file__).with_name("end_at_step.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    counter = tmp_path / "steps"
    counter.touch()

    def run(step):
        add_uploads(kinglet, 1)
        process = begin(
            kinglet, "run", "--json",
            env={**os.environ, "LD_PRELOAD": str(library), "STEP": str(step),
                 "STEPS": str(counter)})
        output, errors = process.communicate(timeout=60)
        return process.returncode, output + errors

    status, said = run(0)
    assert status == 0, said
    total = int(counter.read_text())
    assert total > 30
    known = snapshots(kinglet.target)
    steps = range(1, total + 1)
    if STEPS < total:
        steps = sorted(random.sample(steps, STEPS))
    for step in steps:
        known_bases = bases(kinglet.target)
        status, said = run(step)
        assert status in (-signal.SIGKILL, 0), (step, said)
        known = assert_all_good(kinglet, kinglet.target, known)
        try:
            known = assert_next_run_works(kinglet, known, known_bases)
        except AssertionError as failure:
            raise AssertionError(f"step {step} of {total}: {failure}") from failure


@pytest.mark.parametrize("when", ["before", "after"])
def test_rsync_kills_the_server(kinglet, when):
    """The command says that the server has gone; the next server's run goes on."""
    known, known_bases = snapshots(kinglet.target), bases(kinglet.target)
    add_uploads(kinglet, 2)
    kinglet.rsync.plan(
        "kill -9 $PPID" if when == "before" else f'{kinglet.rsync.real} "$@"; kill -9 $PPID; exit')
    done = kinglet.command("backup", "run", check=False)
    one_line(done)
    assert kinglet.wait() == -signal.SIGKILL
    kinglet.rsync.plan("")
    kinglet.start(isolated=False, environment=kinglet.rsync.environment)
    assert_next_run_works(kinglet, known, known_bases)


def test_rsync_is_killed(kinglet):
    """As when the memory is full: said, and worth another try."""
    known, known_bases = snapshots(kinglet.target), bases(kinglet.target)
    kinglet.rsync.plan("kill -9 $$")
    outcome = json.loads(kinglet.command("backup", "run", "--json", check=False).stdout)
    assert outcome["result"] == "failed" and "signal 9" in outcome["reason"], outcome
    assert "memory" in outcome["nextStep"]
    kinglet.rsync.plan("")
    assert_next_run_works(kinglet, known, known_bases)


def test_an_rsync_that_outlives_its_server_keeps_the_lock(kinglet):
    """What still writes at the target holds up the next run, and no longer."""
    known, known_bases = snapshots(kinglet.target), bases(kinglet.target)
    kinglet.rsync.hangs(ignores_term=True)
    run = begin(kinglet, "run")
    kinglet.rsync.await_hanging()
    kinglet.crash()
    _, errors = run.communicate(timeout=LONG)
    assert run.returncode == 1 and errors.count("\n") == 1, errors
    done = kinglet.command("backup", "run", check=False)
    assert done.returncode == 1 and "is at backup run" in done.stderr, done
    kinglet.rsync.go_on()
    assert_next_run_works(kinglet, known, known_bases)


def test_an_rsync_ends_with_its_server(kinglet):
    """It is told that its parent died, and the lock is free when it has gone."""
    known, known_bases = snapshots(kinglet.target), bases(kinglet.target)
    kinglet.rsync.hangs()
    run = begin(kinglet, "run")
    kinglet.rsync.await_hanging()
    kinglet.crash()
    run.communicate(timeout=LONG)
    eventually(
        lambda: "is at backup run" not in kinglet.command("backup", "run", check=False).stderr,
        "the lock is free")
    assert_next_run_works(kinglet, known, known_bases)


# Asked to end


@pytest.mark.parametrize("ignores_term", [False, True], ids=["common", "stubborn"])
def test_a_server_that_stops_ends_its_run(kinglet, ignores_term):
    """SIGTERM: a clean and quick end, the run is cancelled, and the next one goes on."""
    known, known_bases = snapshots(kinglet.target), bases(kinglet.target)
    kinglet.rsync.hangs(ignores_term)
    run = begin(kinglet, "run")
    kinglet.rsync.await_hanging()
    # Ten seconds at most, and status 0.
    kinglet.stop()
    _, errors = run.communicate(timeout=LONG)
    assert run.returncode == 1 and errors.count("\n") == 1, errors
    job = kinglet.json("status")["backup"]["jobs"][0]
    assert job["lastResult"] == "cancelled", job
    kinglet.rsync.go_on()
    assert_next_run_works(kinglet, known, known_bases)


@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_run(kinglet, state, number):
    """The command cancels the run, wherever that is, and says so in one line."""
    if state == "stopped":
        kinglet.stop()
    known, known_bases = snapshots(kinglet.target), bases(kinglet.target)
    kinglet.rsync.hangs()
    run = begin(kinglet, "run", env={**os.environ, **kinglet.rsync.environment})
    kinglet.rsync.await_hanging()
    run.send_signal(number)
    began = time.monotonic()
    _, errors = run.communicate(timeout=LONG)
    assert time.monotonic() - began < 5
    assert run.returncode == 1 and "somebody ended it" in errors, errors
    assert "cancelled" in errors and errors.count("\n") == 1
    assert snapshots(kinglet.target) == known
    kinglet.rsync.go_on()
    assert_next_run_works(kinglet, known, known_bases)


# Two at once


def test_everything_else_waits_while_one_runs(kinglet):
    """Each command says who is at work; list shows what is known; a stale note is no lock."""
    kinglet.rsync.hangs()
    run = begin(kinglet, "run")
    kinglet.rsync.await_hanging()
    newest = snapshots(kinglet.target)[-1]
    for arguments in (
            ["run"], ["verify"], ["prune"], ["pin", newest],
            ["restore", "--to", kinglet.directory / "elsewhere", "--yes"],
            ["target", "check", "disk"]):
        line = one_line(kinglet.command("backup", *arguments, check=False))
        assert "runs already" in line or "is at backup run" in line, line
    assert not (kinglet.directory / "elsewhere").exists()
    shown, = kinglet.json("backup", "list")["targets"]
    assert [one["id"] for one in shown["snapshots"]] == snapshots(kinglet.target)
    kinglet.rsync.go_on()
    run.communicate(timeout=LONG)
    lock = kinglet.data / "backup-state/lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    lock.write_text("1 backup run\n")
    assert_next_run_works(kinglet, snapshots(kinglet.target), bases(kinglet.target))


def test_owners_commands_and_pings_do_not_hold_up_a_stop(kinglet):
    """A command after the run and a service that never answers are given a few seconds."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        note = kinglet.directory / "after"
        configure(
            kinglet, kinglet.target, "keep_last: 1000", f"ping: http://127.0.0.1:{port}/x",
            f"after: \"trap '' TERM; echo $KINGLET_BACKUP_RESULT > {note}; sleep 600\"")
        kinglet.signal(signal.SIGHUP)
        try:
            run = begin(kinglet, "run")
            eventually(note.exists, "the command after the run has begun")
            # Ten seconds at most, and status 0.
            kinglet.stop()
            run.communicate(timeout=LONG)
            assert note.read_text() == "success\n"
        finally:
            configure(kinglet, kinglet.target, "keep_last: 1000")
