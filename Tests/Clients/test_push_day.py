"""A day in the life, compressed: a thousand devices at all services are woken again and again, and
programs tell those something that registered by HTTP with two tokens each, while services go away
and refuse, devices vanish, and the server is killed. At its end everybody who could be woken was,
after the last that was asked for, no task is unfinished, and the books add up exactly.

`PUSH_DEVICES`, `PUSH_SECONDS` and `PUSH_SEED` make a longer one."""

import contextlib
import itertools
import os
import random
import signal
import time

import pytest

from fake_vendors import FAKES
from push_api import Interface
from push_publisher import Publisher
from push_sites import World

DEVICES = int(os.environ.get("PUSH_DEVICES", "1000"))
SECONDS = float(os.environ.get("PUSH_SECONDS", "12"))
SEED = int(os.environ.get("PUSH_SEED", "8"))
# Each target of a user's own costs a command.
OWN = {"web-push": 8, "ntfy": 8, "gotify": 8}
# One server may publish 400 at once, then 100 a second.
DOMAINS = [f"users{number}.test" for number in range(6)]
OUTAGE = 0.7
APPS = ["apns", "fcm", *FAKES]
# Devices that registered by HTTP, and their users.
TOLD = max(16, DEVICES // 10)
USERS = [f"user-{number}" for number in range(8)]


class Day:
    def __init__(self, world):
        self.world = world
        self.choice = random.Random(SEED)
        self.nodes = {}
        # When what was acknowledged last was asked for; how much was, and how much may have been.
        self.asked = {}
        self.acknowledged = self.attempted = 0
        self.dead = set()
        for (provider, number), site in world.sites.items():
            if provider in OWN:
                self.nodes[site] = [site.token]
            else:
                count = (DEVICES - sum(OWN.values()) - TOLD) // len(APPS)
                self.nodes[site] = [
                    f"{10_000 + node:064x}" if provider == "apns" else f"{provider}-phone-{node}"
                    for node in range(count)]
        self.all = [(site, node) for site, nodes in self.nodes.items() for node in nodes]
        self.program = Interface.of_program(
            world.kinglet, "--scope", "send,broadcast", "--rate", "60000")
        self.tasks = []
        self.register_apps()
        self.attach()

    def register_apps(self):
        """Each has a token of a maker and one of another service."""
        makers = itertools.cycle(FAKES)
        for number in range(TOLD):
            user = USERS[number % len(USERS)]
            tokens = [
                (provider, f"{20_000 + number:064x}" if provider == "apns"
                 else f"told-{provider}-{number}", {"app": f"{provider}-{self.number(provider)}"})
                for provider in (next(makers), ("apns", "fcm")[number % 2])]
            app = Interface.of_user(
                self.world.kinglet, f"{user}@{self.world.kinglet.domain}",
                self.world.password(user))
            assert app.register(
                f"phone-{number}", *tokens, tags=["odd" if number % 2 else "even"]).status == 201

    def number(self, provider):
        return self.world.sites[provider, 1].number

    def attach(self):
        self.publishers = [Publisher(self.world.kinglet, domain) for domain in DOMAINS]
        self._turns = itertools.cycle(self.publishers)

    def detach(self):
        for publisher in self.publishers:
            publisher.close()

    def wake(self, devices):
        """All of them; raises when the server is gone."""
        requests = []
        for site, node in devices:
            at = time.monotonic()
            publisher = next(self._turns)
            self.attempted += 1
            if site.name.rpartition("-")[0] in OWN:
                publisher.say(site.account)
            else:
                identifier = publisher.request(node, pushModule=site.name)
                requests.append((site, node, at, publisher, identifier))
        for site, node, at, publisher, identifier in requests:
            if publisher.answer(identifier) is None:
                self.asked[site, node] = at
                self.acknowledged += 1

    def restart(self):
        self.world.kill()
        self.detach()
        self.world.start()
        self.attach()

    def tell(self):
        """A program tells some something; the server may be gone before it says that it did."""
        to = self.choice.choice([
            {"all": True}, {"tags": ["odd"]}, {"tags": ["even"]},
            {"users": [f"{self.choice.choice(USERS)}@{self.world.kinglet.domain}"]}])
        reply = self.program.send(to, title="Now", dedupe_key=f"task-{len(self.tasks)}")
        assert reply.status == 202, reply
        self.tasks.append(reply.json["id"])

    # What happens

    def rest(self):
        time.sleep(self.choice.uniform(0, 0.1))

    def outage(self):
        site = self.choice.choice(list(self.nodes))
        with site.fake.outage():
            self.wake(self.choice.sample(self.all, 30))
            time.sleep(OUTAGE * self.choice.random())

    def quota(self):
        """Apple says of some devices that it is too much for them; a maker, that it is for the day.
        Somebody has it raised, and tries again."""
        site = self.choice.choice([
            site for site in self.nodes
            if site.name.rpartition("-")[0] in ("apns", "xiaomi", "oppo", "vivo", "meizu")])
        site.fake.quota = 0
        self.wake(self.choice.sample([(site, node) for node in self.nodes[site]], 10))
        time.sleep(0.3)
        site.fake.quota = None
        self.world.kinglet.signal(signal.SIGHUP)

    def death(self):
        site, node = self.choice.choice([
            (site, node) for site, node in self.all
            if hasattr(site.fake, "unregister") or hasattr(site.fake, "dead")])
        if hasattr(site.fake, "unregister"):
            site.fake.unregister(node)
        else:
            site.fake.dead.add(node)
        self.dead.add((site, node))

    def loss(self):
        """A device that registered by HTTP has lost the token of its maker."""
        number = self.choice.randrange(TOLD)
        provider = list(FAKES)[number % len(FAKES)]
        self.world.sites[provider, 1].fake.dead.add(f"told-{provider}-{number}")

    def kill(self):
        self.wake(self.choice.sample(self.all, 40))
        self.restart()


@pytest.fixture
def day(push_authority, tmp_path):
    with contextlib.ExitStack() as stops:
        names = [(provider, 1) for provider in APPS] + [
            (provider, number) for provider, count in OWN.items() for number in range(count)]
        made = Day(World(push_authority, tmp_path, stops, names, {
            **Publisher.settings(Publisher.domain, *DOMAINS), "push.rate": 1000,
            "push.dead_letters": 100_000, "limits.push_targets": 100}, USERS).register_all())
        yield made
        made.detach()


def test_a_day(day):
    day.wake(day.all)
    day.tell()
    events = [day.rest] * 6 + [
        day.outage, day.outage, day.quota, day.death, day.death, day.loss, day.tell, day.tell]
    kills = sorted(day.choice.uniform(0, SECONDS) for _ in range(max(2, int(SECONDS / 20))))
    begin = time.monotonic()
    while time.monotonic() - begin < SECONDS:
        if kills and time.monotonic() - begin > kills[0]:
            kills.pop(0)
            day.kill()
        day.wake(day.choice.sample(day.all, 20))
        day.choice.choice(events)()
    # Whoever died was asked for once more, and so was everybody else.
    time.sleep(1)
    day.wake(day.all)
    day.tell()
    # A way that failed is tried anew after a reload.
    day.world.kinglet.signal(signal.SIGHUP)
    books = day.world.state.settle(timeout=60)
    print(f"{day.acknowledged} of {day.attempted}; {books}")

    for site in day.nodes:
        site.fake.check()
    delivered = {site: site.fake.deliveries() for site in day.nodes}
    last = {
        (site, request.token): request.at
        for site, requests in delivered.items() for request in requests
        if "," not in request.token}
    late = [
        (site.name, node) for (site, node), at in day.asked.items()
        if (site, node) not in day.dead and last.get((site, node), 0) < at]
    assert not late, f"{len(late)} devices were not woken: {late[:5]}"
    assert not [pair for pair in day.all if pair not in last and pair not in day.dead]

    # Every device that died is known to be dead, and no other.
    disabled = day.world.state.rows("""
        SELECT * FROM push_targets
        WHERE disabled IS NOT NULL AND (account IS NULL OR device IS NULL)""")
    assert len(disabled) == len(day.dead)

    # Every task has an end for each whom it was for, and says the same as the books.
    counts = {}
    for number in day.tasks:
        task = day.program.task(number)
        assert task["state"] == "done", task
        so = task["counts"]
        assert so["targets"] == so["sent"] + so["failed"] and so["targets"] > 0, task
        for provider, row in task["providers"].items():
            mine = counts.setdefault(provider, dict.fromkeys(row, 0))
            for name, count in row.items():
                mine[name] += count
    print(f"{len(day.tasks)} tasks: {counts}")

    def less(provider, name, of):
        return books[provider][name] - counts.get(provider, {}).get(of, 0)

    apps = {provider: books[provider] for provider in APPS}
    assert day.acknowledged <= sum(
        less(provider, "requested", "targets") for provider in books) <= day.attempted
    assert sum(less(provider, "dead", "failed") for provider in books) == len(
        day.world.state.dead())
    assert all(less(provider, "passed", "passed_on") == 0 for provider in books)
    assert all(book["waiting"] == book["dropped"] == 0 for book in books.values())
    for site in day.nodes:
        if (provider := site.name.rpartition("-")[0]) in apps:
            single = [request for request in delivered[site] if "," not in request.token]
            assert len(single) >= less(provider, "sent", "sent")
