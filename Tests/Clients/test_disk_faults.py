"""Disks that are full, read-only or slow: reads and presence go on, writes are refused or wait,
a gauge says so, and service resumes by itself."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Crash"))

from faulty_disk import faulty
from people import Person
from raw_client import RawClient
from unprivileged import IS_ROOT, MountRefused, Place
from waiting import eventually

ROMEO = Person("romeo", "example.test", "wherefore")
JULIET = Person("juliet", "example.test", "balcony")
NURSE = Person("nurse", "example.test", "anon anon")
# Seconds; STALL=10 is a long run.
STALL = float(os.environ.get("STALL", "3"))

needs_mounts = pytest.mark.skipif(not IS_ROOT, reason="only root can mount a small file system")


@pytest.fixture
def place():
    place = Place()
    yield place
    place.remove()


def mount(place, megabytes):
    try:
        place.mount(megabytes)
    except MountRefused as refusal:
        pytest.skip(f"nothing can be mounted here: {refusal}")


def store(client, number):
    """A message for one who is away, and a contact: the error of the one, None if it is stored,
    and the answer to the other."""
    client.send(
        f"<message to='{NURSE.jid}' type='chat' id='w{number}'><body>{'x' * 2000}</body></message>"
        f"<iq type='set' id='r{number}'><query xmlns='jabber:iq:roster'>"
        f"<item jid='c{number}@example.test' name='{'n' * 1000}'/></query></iq>")
    pattern = f"<iq[^>]*id='r{number}'[^>]*?(/>|>.*?</iq>)"
    text = client.read_through(pattern)
    message = re.search(f"<message[^>]*id='w{number}'.*?</message>", text)
    return message[0] if message else None, re.search(pattern, text)[0]


def fill(client):
    """Stores until the disk refuses, and gives the refusals."""
    for number in range(5000):
        message, answer = store(client, number)
        if message and "type='error'" in answer:
            return message, answer
    raise AssertionError("the disk is never full")


def everything_else_works(server, romeo, juliet):
    """Presence, requests, messages that no archive has to keep first, reads, and logins."""
    begin = time.monotonic()
    for client in (romeo, juliet):
        client.expect_answer()
    romeo.send(
        f"<message to='{JULIET.jid}/balcony' type='chat'><body>still here</body>"
        "<no-store xmlns='urn:xmpp:hints'/></message>")
    juliet.read_through("still here")
    romeo.send(f"<presence to='{JULIET.jid}/balcony'><status>directed</status></presence>")
    juliet.read_through("directed")
    romeo.send("<iq type='get' id='list'><query xmlns='jabber:iq:roster'/></iq>")
    romeo.read_through("id='list'")
    with RawClient.logged_in(server, ROMEO, "second") as again:
        again.expect_answer()
    return time.monotonic() - begin


@needs_mounts
def test_a_full_disk_refuses_writes_and_nothing_else(place):
    mount(place, 8)
    place.initialize(ROMEO, JULIET, NURSE)
    server = place.start()
    romeo = RawClient.logged_in(server, ROMEO, "orchard")
    juliet = RawClient.logged_in(server, JULIET, "balcony")
    for client in (romeo, juliet):
        client.send("<presence/>")
        client.expect_answer()
    filler = server.data / "filler"
    with open(filler, "wb", buffering=0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(b"\0" * 65_536)
    message, answer = fill(romeo)
    for refusal in (message, answer):
        assert "type='wait'><resource-constraint" in refusal, refusal
    assert server.metric("kinglet_storage_writable") == 0
    assert server.get("/readyz")[0] == 503
    assert server.get("/healthz")[0] == 200
    everything_else_works(server, romeo, juliet)

    filler.unlink()
    # By itself: nobody writes anything.
    server.becomes(1, "kinglet_storage_writable")
    assert server.get("/readyz")[0] == 200
    message, answer = store(romeo, 10_000)
    assert message is None and "type='result'" in answer
    server.stop()


@needs_mounts
def test_a_disk_that_turns_read_only_refuses_writes_and_nothing_else(place):
    """As the kernel does to a card that fails. A start on it says what is wrong, in one line."""
    mount(place, 64)
    place.initialize(ROMEO, JULIET, NURSE)
    gate = place.directory / "read-only"
    server = place.start(environment=faulty(place.directory, READ_ONLY_WHILE=gate))
    romeo = RawClient.logged_in(server, ROMEO, "orchard")
    juliet = RawClient.logged_in(server, JULIET, "balcony")
    # A file that is open for writing keeps a remount from working, which a fault does not.
    gate.touch()
    message, answer = fill(romeo)
    for refusal in (message, answer):
        assert "type='error'" in refusal, refusal
    assert server.metric("kinglet_storage_writable") == 0
    everything_else_works(server, romeo, juliet)
    gate.unlink()
    server.becomes(1, "kinglet_storage_writable")
    assert store(romeo, 10_000)[0] is None
    server.stop()

    subprocess.run(["mount", "-o", "remount,ro", server.data], check=True)
    place.start(wait=False)
    assert server.wait() == 1
    assert server.log.text.count("\n") == 0, server.log.text
    assert "read-only" in server.log.text.lower(), server.log.text


def test_a_stalled_disk_holds_up_writes_and_nothing_else(place):
    """A card may stall for seconds: durable writes wait, in order; nobody else does."""
    gate = place.directory / "stall"
    place.initialize(ROMEO, JULIET, NURSE)
    server = place.start(environment=faulty(place.directory, STALL_WHILE=gate))
    romeo = RawClient.logged_in(server, ROMEO, "orchard")
    juliet = RawClient.logged_in(server, JULIET, "balcony")
    writer = RawClient.logged_in(server, NURSE, "kitchen")
    gate.touch()
    began = time.monotonic()
    for number in range(50):
        writer.send(
            f"<iq type='set' id='q{number}'><query xmlns='jabber:iq:roster'>"
            f"<item jid='c{number}@example.test'/></query></iq>")
    rounds = 0
    while time.monotonic() - began < STALL:
        assert everything_else_works(server, romeo, juliet) < 2, "nobody else waits"
        assert server.get("/healthz")[0] == 200
        rounds += 1
    assert rounds > 1
    writer.connection.setblocking(False)
    with pytest.raises(OSError):
        writer.connection.recv(1)
    writer.connection.settimeout(15)
    gate.unlink()
    text = writer.read_through("id='q49'")
    answered = [int(number) for number in re.findall("type='result' id='q(\\d+)'", text + "'")]
    assert answered == list(range(len(answered))) and len(answered) >= 49, "in order, and all"
    eventually(lambda: server.metric("kinglet_storage_writable") == 1, "the disk is well")
    server.stop()
