"""`kill -9` under load: what was acknowledged is there, and nobody repairs anything."""

import os
import random
import re
import shutil
import sqlite3
import threading
import time

import pytest

from people import Person
from raw_client import RawClient
from unprivileged import Place
from waiting import eventually

# CRASH_RUNS=100 is a long run.
RUNS = int(os.environ.get("CRASH_RUNS", "4"))
ROMEO = Person("romeo", "example.test", "wherefore")
JULIET = Person("juliet", "example.test", "balcony")
NURSE = Person("nurse", "example.test", "anon anon")
ROSTER = "jabber:iq:roster"


@pytest.fixture
def place():
    place = Place()
    yield place
    place.remove()


class Sender(threading.Thread):
    """Sends messages to one who is away, asking after each what the server has."""

    def __init__(self, server, label):
        super().__init__(daemon=True)
        self.label = label
        self.acknowledged = 0
        self.sent = 0
        self._client = RawClient.logged_in(server, ROMEO, "orchard")
        self._client.send("<enable xmlns='urn:xmpp:sm:3'/>")
        self._client.read_through("<enabled[^>]*/>")

    def run(self):
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            while True:
                self.sent += 1
                self._client.send(
                    f"<message to='{JULIET.jid}' type='chat' id='{self.label}-{self.sent}'>"
                    f"<body>{'x' * random.randrange(200)}</body></message>"
                    "<r xmlns='urn:xmpp:sm:3'/>")
        except OSError:
            reader.join()

    def _read(self):
        rest = ""
        try:
            while True:
                rest += self._client.read_some().decode()
                for number in re.findall(r"<a xmlns='urn:xmpp:sm:3' h='(\d+)'/>", rest):
                    assert int(number) >= self.acknowledged, "h never falls"
                    self.acknowledged = int(number)
                rest = rest[rest.rfind("<"):]
        except (OSError, AssertionError):
            pass


class Collector(threading.Thread):
    """Adds contacts, one after the other, and notes which were confirmed."""

    def __init__(self, server, label):
        super().__init__(daemon=True)
        self.label = label
        self.confirmed = []
        self._client = RawClient.logged_in(server, NURSE)

    def run(self):
        try:
            for number in range(1_000_000):
                contact = f"{self.label}-{number}@example.test"
                self._client.send(
                    f"<iq type='set' id='s{number}'><query xmlns='{ROSTER}'>"
                    f"<item jid='{contact}'/></query></iq>")
                self._client.read_through(f"<iq[^>]*type='result' id='s{number}'[^>]*/>")
                self.confirmed.append(contact)
        except (OSError, AssertionError):
            pass


def check_database(server):
    """On a copy: looking at the original would already be a repair."""
    copy = server.directory / "copy"
    copy.mkdir()
    for file in server.data.glob("kinglet.db*"):
        shutil.copy(file, copy)
    connection = sqlite3.connect(copy / "kinglet.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    shutil.rmtree(copy)


def messages_of_juliet(server, last):
    """What waited for her: up to a message that must be there, and what follows it."""
    with RawClient.logged_in(server, JULIET, "balcony") as client:
        client.send("<presence/>")
        text = client.read_through(f"id='{last}'") if last else ""
        # Everything else that waits comes before the presence of a second announcement is read.
        for _ in range(3):
            client.send("<iq type='set' id='b'><query xmlns='jabber:iq:roster'>"
                        "<item jid='barrier@example.test'/></query></iq>")
            text += client.read_through("<iq[^>]*type='result' id='b'[^>]*/>")
        return re.findall(r"<message [^>]*id='([^']+)'", text)


def test_what_was_acknowledged_survives_kill_9(place):
    """XEP-0198 section 4 and design: a stanza that an <a/> covers is on the disk. A request that
    got its result is, too."""
    place.initialize(ROMEO, JULIET, NURSE)
    server = place.server
    contacts = set()
    for run in range(RUNS):
        place.start()
        sender, collector = Sender(server, f"m{run}"), Collector(server, f"c{run}")
        sender.start()
        collector.start()
        eventually(lambda: sender.acknowledged and collector.confirmed, "there is load")
        time.sleep(random.uniform(0, 0.6))
        server.crash()
        sender.join(10)
        collector.join(10)
        contacts.update(collector.confirmed)
        check_database(server)

        place.start()
        found = messages_of_juliet(server, f"m{run}-{sender.acknowledged}")
        numbers = [int(name.split("-")[1]) for name in found if name.startswith(f"m{run}-")]
        assert numbers == list(range(1, len(numbers) + 1)), "in order, none missing, none twice"
        assert sender.acknowledged <= len(numbers) <= sender.sent
        with RawClient.logged_in(server, NURSE) as client:
            client.send(f"<iq type='get' id='all'><query xmlns='{ROSTER}'/></iq>")
            roster = set(re.findall("jid='([^']+)'", client.read_through("id='all'.*</iq>")))
        assert contacts <= roster
        server.stop()
