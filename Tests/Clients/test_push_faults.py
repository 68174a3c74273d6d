"""What push services, publishers and clocks do wrong: nothing is lost, nothing is sent that must
not be, and no secret is where somebody could read it."""

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from slixmpp.exceptions import IqError

import push_fakes
from fake_apns import going_away
from kinglet import FIXTURES
from push_fakes import Answer
from push_publisher import Publisher
from push_server import Device, person
from push_sites import World

PROVIDERS = ("apns", "fcm", "web-push", "ntfy", "gotify")
FOREIGN = "elsewhere.test"
SOURCE = Path(__file__).with_name("bad_machine.c")
# Each is answered once; then the service does what it should.
FAULTS = {
    "slow": lambda: push_fakes.slow(1.5),
    "an-error-inside": lambda: push_fakes.error_inside({"error": {"code": 500}}),
    "nothing-inside": lambda: push_fakes.error_inside(b"\x00\xff"),
    "redirect-to-itself": lambda: push_fakes.redirect("/"),
    "headers-of-a-megabyte": push_fakes.huge_headers,
    "body-of-16-megabytes": push_fakes.huge_body,
    "reset-after-it-was-taken": lambda: push_fakes.reset(delivers=True),
    "hang-up-after-it-was-taken": lambda: push_fakes.hang_up(delivers=True),
}
# What is accepted by its status alone, whatever else comes.
_TAKEN = {"web-push": {"an-error-inside", "nothing-inside", "slow"}}


@pytest.fixture(scope="module")
def make_world(push_authority, tmp_path_factory):
    with contextlib.ExitStack() as stops:

        def make(names, settings=None):
            return World(
                push_authority, tmp_path_factory.mktemp("faults"), stops, names, settings)

        yield make


@pytest.fixture(scope="module")
def world(make_world):
    return make_world(
        [(provider, fault) for provider in PROVIDERS for fault in (*FAULTS, "never")]
        + [("apns", "goaway"), ("apns", "goaway-after"), ("fcm", "publishers")],
        {**Publisher.settings(Publisher.domain, FOREIGN), "limits.push_devices": 10_000})


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_service_that_is_unwell(world, provider, fault):
    """The push arrives in the end, and the device stays."""
    site = world.site((provider, fault))
    site.fake.script(site.token, FAULTS[fault]())
    site.wake()
    count = 1 if fault == "slow" or fault in _TAKEN.get(provider, ()) else 2
    site.fake.wait_for_requests(count, site.token)
    site.until(lambda: not site.waiting(), "the queue is empty")
    assert site.row()["disabled"] is None and not site.dead()
    if fault == "slow":
        assert len(site.fake.requests_for(site.token)) == 1


def test_services_that_never_answer(world):
    """Half a minute is enough; the services are asked again, and the others go on meanwhile."""
    sites = [world.site((provider, "never")) for provider in PROVIDERS]
    for site in sites:
        site.fake.script(site.token, push_fakes.never(delivers=False))
        site.wake()
    for site in sites:
        site.fake.wait_for_requests(1, site.token)
        assert site.waiting()
    for site in sites:
        site.fake.wait_for_deliveries(1, site.token, timeout=45)
        site.until(lambda site=site: not site.waiting(), "the queue is empty")
        assert site.row()["disabled"] is None and not site.dead()


@pytest.mark.parametrize("name", ["goaway", "goaway-after"])
def test_a_connection_that_ends(world, name):
    """GOAWAY instead of an answer, and right behind one (RFC 9113 section 6.8)."""
    site = world.site(("apns", name))
    site.fake.script(site.token, going_away("Shutdown", answers=name == "goaway-after"))
    site.wake()
    site.fake.wait_for_deliveries(1, site.token)
    site.until(lambda: not site.waiting(), "the queue is empty")
    site.wake()
    site.fake.wait_for_deliveries(2, site.token)
    assert site.row()["disabled"] is None and not site.dead()
    site.fake.check()


@pytest.fixture
async def device(world):
    """Somebody with a phone, on the server of the other tests."""
    name = world.sites["ntfy", "slow"].name
    client = Device(world.kinglet, person(name), "phone")
    await client.log_in()
    yield client
    await client.leave()


async def test_registrations_that_are_refused(world, device):
    """A token that is none, a type that nobody has, a node that is nobody's."""
    refused = world.kinglet.metric("kinglet_push_refusals_total", reason="malformed")
    app = world.sites["apns", "goaway"].name
    for token in ("", "xyz", "ab" * 3, "g" * 64, "ab" * 2000):
        with pytest.raises(IqError) as error:
            await device.run("push.example.test", "register-push-apns", {
                "token": token, "device-id": "d", "app": app})
        assert error.value.condition == "bad-request"
    with pytest.raises(IqError):
        await device.run("push.example.test", "v1-register-push", {
            "type": "pigeon", "node": "n", "token": "t"})
    assert world.kinglet.metric("kinglet_push_refusals_total", reason="malformed") == refused + 5
    assert not [row for row in world.state.devices(app) if row["domain"]]


def test_publishers_who_may_not(world):
    """XEP-0357 section 7: in an account's name, from the account's server, with the secret."""
    site = world.site(("fcm", "publishers"))
    form = world.publisher.register("fcm", site.token, app=site.name)
    node, secret = form["node"], form["secret"]
    publish = world.publisher.publish

    def refused(reason):
        return world.kinglet.metric("kinglet_push_refusals_total", reason=reason)

    before = {name: refused(name) for name in ("publisher", "secret", "unknown_node")}
    full = f"romeo@{world.publisher.domain}/phone"
    assert publish(node, sender=full, secret=secret) == "forbidden"
    with contextlib.closing(Publisher(world.kinglet, FOREIGN)) as other:
        assert other.publish(node, secret=secret) == "forbidden"
    assert publish(node, secret="a guess") == "forbidden"
    assert publish(node) == "forbidden"
    assert publish("no-such-node", pushModule="no-such-app") == "item-not-found"
    assert {name: refused(name) - before[name] for name in before} == {
        "publisher": 2, "secret": 2, "unknown_node": 1}
    assert not site.fake.requests and not world.state.waiting(site.row()["id"])
    assert publish(node, secret=secret) is None
    site.fake.wait_for_deliveries(1, site.token)


def clock(directory):
    """The environment of a process whose clock the test moves, and the file that says how far."""
    library = directory / "bad_machine.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    offset, awake = directory / "clock", directory / "awake"
    offset.write_text("0")
    awake.write_text("0")
    return offset, {"LD_PRELOAD": str(library), "CLOCK": str(offset), "UPTIME": str(awake)}


def test_a_clock_without_a_battery(make_world, tmp_path):
    """A Pi begins in 1970: nothing is signed, nothing is lost, and all goes out once it knows the
    time."""
    machine = tmp_path / "machine"
    shutil.copytree(FIXTURES / "hardware/pi4-healthy", machine, symlinks=True)
    world = make_world(
        [("apns", "1970"), ("fcm", "1970")], {"hardware.root": str(machine)})
    world.stop()
    offset, environment = clock(tmp_path)
    offset.write_text(str(1000 - int(time.time())))
    world.start(environment=environment)
    sites = list(world.sites.values())
    for site in sites:
        site.wake()
        site.until(lambda site=site: len(site.waiting()) == 1, "it waits")
    time.sleep(2)
    for site in sites:
        assert not site.fake.requests, "something was signed in 1970"
    offset.write_text("0")
    for site in sites:
        site.fake.wait_for_deliveries(1, site.token, timeout=30)
        site.until(lambda site=site: not site.waiting(), "the queue is empty")
        site.fake.check()
    world.state.balance()


def test_secrets_stay_secret(make_world):
    """No token, credential or secret part of a URL is in the log, the metrics, the arguments of a
    process or the database."""
    world = make_world(
        [(provider, "secret") for provider in PROVIDERS], {"log.level": "debug"})
    sites = list(world.sites.values())
    for site in sites:
        site.register()
        # Once as it should be, once refused, once not at all: errors talk.
        site.fake.script(site.token, Answer(), Answer(400, b"no"), push_fakes.garbage())
        for _ in range(3):
            site.wake()
            site.until(lambda site=site: not site.waiting(), "the queue is empty")
    secrets = {site.name: site.token for site in sites}
    secrets |= {
        "auth": world.sites["web-push", "secret"].subscription.auth,
        "key": world.sites["apns", "secret"].fake.key.pem.splitlines()[1],
        "p8": "PRIVATE KEY", "bearer": "eyJ", "access": "ya29."}
    texts = {
        "log": world.kinglet.log.text, "metrics": world.kinglet.get("/metrics")[2],
        "lists": "".join(
            world.kinglet.command("push", *command).stdout for command in (
                ["list"], ["queue"], ["dead"], ["providers"])),
        "arguments": Path(f"/proc/{world.kinglet.process.pid}/cmdline").read_text()}
    for suffix in ("", "-wal"):
        file = world.kinglet.data / f"kinglet.db{suffix}"
        texts[file.name] = file.read_bytes().decode("latin-1")
    found = [
        (name, place) for name, secret in secrets.items() for place, text in texts.items()
        if secret in text]
    assert not found
