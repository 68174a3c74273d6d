"""kill -9 in every phase of a push: once the server has acknowledged what it is about, the device
is woken, whatever happens meanwhile. Twice is allowed, never is not; and the books add up."""

import contextlib
import random
import threading
import time

import pytest

from correspondent import Correspondent
from people import Person
from push_fakes import never
from push_sites import World
from waiting import arrives, eventually

PROVIDERS = ("apns", "fcm", "web-push", "ntfy", "gotify")


@pytest.fixture
def make_world(push_authority, tmp_path):
    with contextlib.ExitStack() as stops:
        yield lambda *names: World(push_authority, tmp_path, stops, names, {
            "limits.push_targets": 100})


@pytest.fixture
def world(make_world):
    """A device of each provider, all of them registered."""
    return make_world(*((provider, 1) for provider in PROVIDERS)).register_all()


def wake_all(world):
    for site in world.sites.values():
        site.wake()
    eventually(
        lambda: sum(book["requested"] for book in world.state.books().values())
        >= len(world.sites), "everything is in the queue")


def check(world):
    """Everybody was woken, and the books say the same."""
    for site in world.sites.values():
        site.fake.wait_for_deliveries(1, site.token)
        site.fake.check()
    books = world.state.settle()
    for book in books.values():
        assert (book["requested"], book["sent"], book["dead"]) == (1, 1, 0), books
    for site in world.sites.values():
        row = site.row()
        assert row["reason"] == "accepted" and row["disabled"] is None


def test_before_it_is_sent(world):
    """The service is away; the message waits over the server's end."""
    with contextlib.ExitStack() as outages:
        for site in world.sites.values():
            outages.enter_context(site.fake.outage())
        wake_all(world)
        world.kill()
        assert len(world.state.waiting()) == len(PROVIDERS)
    world.start()
    check(world)


def test_while_it_is_under_way(world):
    """The service has the request and says nothing."""
    for site in world.sites.values():
        site.fake.always(site.token, never(delivers=False))
    wake_all(world)
    for site in world.sites.values():
        site.fake.wait_for_requests(1, site.token)
    world.kill()
    for site in world.sites.values():
        site.fake.always(site.token, None)
    world.start()
    check(world)


def test_after_it_was_taken(world):
    """The service has said yes, and nobody has written that down."""
    for site in world.sites.values():
        # What is accepted is written a quarter of a second later, with others.
        site.wake()
    last = list(world.sites.values())[-1]
    last.fake.wait_for_deliveries(1, last.token)
    world.kill()
    world.start()
    check(world)


async def test_what_a_client_was_told_is_safe(make_world):
    """XEP-0198: what is in `h` wakes its receiver, and waits for him."""
    world = make_world(*((provider, 1) for provider in ("web-push", "ntfy", "gotify")))
    people = {
        site: Person(site.name, "example.test", f"password of {site.name}")
        for site in world.sites.values()}
    for site in people:
        site.register()
    sender = Correspondent(world.kinglet, next(iter(people.values())), "sender")
    await sender.log_in()
    await sender.come_online()
    receivers = list(people)[1:]
    with contextlib.ExitStack() as outages:
        for site in receivers:
            outages.enter_context(site.fake.outage())
        for site in receivers:
            sender.say(site.account, f"hello {site.name}")
        # slixmpp counts what it has written: so an answer to what comes behind it first.
        await arrives(sender.get_roster(), "the roster")
        await sender.acknowledged()
        world.kill()
    sender.abort()
    world.start()
    for site in receivers:
        site.fake.wait_for_deliveries(1, site.token)
        receiver = Correspondent(world.kinglet, people[site], "phone")
        await receiver.log_in()
        await receiver.come_online()
        await receiver.gets(
            "the message", lambda stanza: stanza.name == "message"
            and stanza["body"] == f"hello {site.name}")
        await receiver.leave()
    world.state.settle()


def test_at_any_moment(make_world):
    """Devices are woken all the time, and the server is killed again and again."""
    world = make_world(*((provider, 1) for provider in ("apns", "fcm")))
    nodes = {
        site: [site.token] + [
            f"{number + 100:064x}" if provider == "apns" else f"token-of-google-{number + 100}"
            for number in range(20)]
        for (provider, _), site in world.sites.items()}
    # When the last publication that was acknowledged was on its way.
    asked = {}
    choice = random.Random(8)
    for _ in range(4):
        end = time.monotonic() + choice.uniform(0.1, 1.2)
        killer = threading.Timer(end - time.monotonic(), world.kinglet.process.kill)
        killer.start()
        with contextlib.suppress(OSError, AssertionError):
            while True:
                site = choice.choice(list(nodes))
                node = choice.choice(nodes[site])
                at = time.monotonic()
                if world.publisher.publish(node, pushModule=site.name) is None:
                    asked[site, node] = at
        killer.join()
        world.kinglet.process.wait()
        world.kill()
        world.start()
    world.state.settle()
    assert len(asked) > 20
    for (site, node), at in asked.items():
        assert site.fake.deliveries(node)[-1].at >= at, (site.name, node)
    books = world.state.balance()
    for provider, book in books.items():
        assert book["dead"] == book["dropped"] == book["suppressed"] == 0, books
    for site in nodes:
        site.fake.check()
        assert len(site.fake.deliveries()) >= books[site.name.partition("-")[0]]["sent"]
