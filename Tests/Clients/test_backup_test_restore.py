"""Test restores: on a copy whatever the configuration says, and gone with whoever wanted them."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from kinglet import BINARY, FAST_KEYS
from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import eventually


def contents(kinglet):
    """Who has an account and whose what is stored is: what a probe would change."""
    with sqlite3.connect(kinglet.data / "kinglet.db") as database:
        return [
            sorted(database.execute(query)) for query in (
                "SELECT local, domain FROM accounts", "SELECT id, jid FROM addresses",
                "SELECT count(*) FROM restorations")]


def with_history(make_server, **settings):
    """A stopped server that has one message and one backup."""
    kinglet = make_server(users=USERS, settings={**FAST_KEYS, **settings}).start()
    client = RawClient.logged_in(kinglet, ROMEO, "orchard")
    client.send(f"<message to='{JULIET.jid}' type='chat'><body>one</body></message>")
    client.expect_answer()
    client.connection.close()
    kinglet.stop()
    return kinglet


@pytest.mark.parametrize("place", ["absolute", "relative", "absent"])
def test_a_configuration_of_one_line_keeps_a_test_off_the_data(make_server, place):
    kinglet = with_history(make_server)
    options = {"domain": kinglet.domain, "data_dir": str(kinglet.data)}
    if place == "relative":
        options["data_dir"] = "data"
    elif place == "absent":
        del options["data_dir"]
    kinglet.configuration.write_text(json.dumps(options, indent=2))
    kinglet.command("backup", "run")
    before = contents(kinglet)
    kinglet.command("backup", "verify", "--restore")
    assert contents(kinglet) == before


def test_the_owners_limits_are_not_the_tests(make_server):
    """A server that sends its clients elsewhere, and deletes what is older than a second."""
    kinglet = with_history(make_server)
    with open(kinglet.configuration, "a", encoding="utf-8") as file:
        file.write(
            "\nlisten:\n  see_other_host: elsewhere.example\n"
            "archive:\n  max_age: 1s\n  query_time: 50ms\n")
    kinglet.command("backup", "run")
    kinglet.command("backup", "verify", "--restore")


# How a test ends with its command


def children(process):
    """The servers that a process has started for a test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == process and b"--isolated" in words:
            found.append(int(folder.name))
    return found


def lives(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def is_free(kinglet):
    """Whether nobody has the backups' lock."""
    with open(kinglet.data / "backup-state/lock", "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def testing(make_server):
    """A command that stands still in the middle of a test restore, and its server."""
    kinglet = with_history(make_server)
    kinglet.command("backup", "run")
    command = subprocess.Popen(
        [str(part) for part in (
            BINARY, "backup", "verify", "--restore", "--config", kinglet.configuration)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        server, = eventually(
            lambda: children(command.pid), "the test has a server", pause=0.001)
        # It neither asks nor ends it now.
        os.kill(command.pid, signal.SIGSTOP)
        yield kinglet, command, server
        if lives(server):
            os.kill(server, signal.SIGKILL)
    finally:
        command.kill()
        command.communicate()


def test_the_server_of_a_test_ends_with_a_killed_command(testing):
    kinglet, command, server = testing
    scratch = kinglet.data / "backup-state/scratch/restore-test"
    assert lives(server) and not is_free(kinglet)
    assert (scratch / "data/secrets").is_dir()
    command.kill()
    command.wait()
    eventually(lambda: not lives(server), "the server has ended")
    eventually(lambda: is_free(kinglet), "nobody has the lock")
    kinglet.command("backup", "verify", "--restore")
    assert not scratch.exists()


def test_the_end_of_the_terminal_ends_a_test(testing):
    kinglet, command, server = testing
    command.send_signal(signal.SIGHUP)
    command.send_signal(signal.SIGCONT)
    _, said = command.communicate(timeout=30)
    assert command.returncode == 1 and "somebody ended it" in said
    assert not lives(server) and is_free(kinglet)
    assert not (kinglet.data / "backup-state/scratch/restore-test").exists()


def test_who_ignores_the_end_of_the_terminal_goes_on(make_server):
    kinglet = with_history(make_server)
    kinglet.command("backup", "run")
    command = subprocess.Popen(
        ["nohup", *(str(part) for part in (
            BINARY, "backup", "verify", "--restore", "--config", kinglet.configuration))],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    eventually(lambda: children(command.pid), "the test has a server", pause=0.001)
    command.send_signal(signal.SIGHUP)
    said, _ = command.communicate(timeout=30)
    assert command.returncode == 0 and "restores" in said
