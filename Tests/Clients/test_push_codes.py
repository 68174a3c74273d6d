"""Each answer that a push service knows does to the message, the device and the service what its
document says: the real program, and the tables of `push_codes`. Each case has a service of its own,
so that none has to wait for another's."""

import contextlib
import datetime
import time

import pytest

import push_codes
import push_codes_vendors
from fake_apns import reason
from fake_fcm import OAUTH
from fake_vendors import FAKES, LOGIN
from push_sites import World

BAD_HEALTH = [
    (provider, unwell)
    for provider in ("apns", "fcm", "web-push", "ntfy", "gotify")
    # A service that never answers keeps a request for half a minute: `test_push_faults`.
    for unwell in (*push_codes.UNWELL, "away") if unwell != "never"]


OF_MAKERS = [
    (provider, case.name)
    for provider, table in push_codes_vendors.TABLES.items() for case in table("")]


@pytest.fixture(scope="module")
def make_world(push_authority, tmp_path_factory):
    with contextlib.ExitStack() as stops:
        yield lambda cases: World(
            push_authority, tmp_path_factory.mktemp("codes"), stops, cases).register_all()


@pytest.fixture(scope="module")
def world(make_world):
    return make_world([(case.provider, case.name) for case in push_codes.ALL])


@pytest.fixture(scope="module")
def bad_world(make_world):
    """Where all services are unwell at one time."""
    world = make_world(BAD_HEALTH)
    away = [site for (_, unwell), site in world.sites.items() if unwell == "away"]
    for site in away:
        site.fake.go_down()
    for (_, unwell), site in world.sites.items():
        if unwell != "away":
            site.fake.script(site.token, push_codes.UNWELL[unwell]())
        site.wake()
    for site in away:
        site.until(lambda site=site: site.waiting(), "the message waits")
    time.sleep(0.5)
    for site in away:
        site.fake.come_back()
    return world


@pytest.fixture(scope="module")
def makers(make_world):
    """Two servers, for one has 64 apps at most."""
    halves = OF_MAKERS[:len(OF_MAKERS) // 2], OF_MAKERS[len(OF_MAKERS) // 2:]
    return [make_world(half) for half in halves]


@pytest.mark.parametrize("case", push_codes.ALL, ids=str)
def test_codes(world, case):
    answers(world, world.sites[case.provider, case.name], case)


@pytest.mark.parametrize("provider, name", OF_MAKERS)
def test_codes_of_makers(makers, provider, name):
    """What they answer may name the device."""
    world = next(world for world in makers if (provider, name) in world.sites)
    site = world.sites[provider, name]
    cases = push_codes_vendors.TABLES[provider](site.token)
    answers(world, site, next(case for case in cases if case.name == name))


def answers(world, site, case):
    case.script(site.fake, site.token)
    site.wake()
    site.fake.wait_for_requests(1, site.token if case.token is None else case.token)
    CHECKS[case.outcome.kind](site, case)
    site.fake.check()
    world.state.balance()


def is_accepted(site, case):
    site.fake.wait_for_deliveries(1, site.token)
    site.until(lambda: not site.waiting(), "the queue is empty")
    assert site.row()["disabled"] is None and not site.dead()
    assert site.row()["reason"] == "accepted"


def is_invalid(site, case):
    if case.outcome.since is not None:
        # It registered since then: it is tried again, and stays.
        site.fake.wait_for_deliveries(1, site.token)
        site.until(lambda: site.row()["reason"] == "accepted", "it arrived")
        site.fake.script(site.token, reason(case.name, time.time() + 10))
        site.wake()
    site.until(lambda: site.row()["disabled"], "the device is disabled")
    assert not site.waiting() and len(site.dead()) == 1
    asked = len(site.fake.requests)
    assert site.wake() in ("item-not-found", None)
    assert not site.waiting() and len(site.fake.requests) == asked
    assert not site.is_open


def is_retried(site, case):
    if case.outcome.after is None:
        site.fake.wait_for_deliveries(1, site.token)
        site.until(lambda: not site.waiting(), "the queue is empty")
    elif case.outcome.scope == "circuit":
        left_alone(site, case.outcome.after)
    else:
        row = site.until(lambda: [row for row in site.waiting() if row["tries"]], "it waits")[0]
        assert row["due"] / 1000 - time.time() >= case.outcome.after - 5
        assert not site.is_open
    assert site.row()["disabled"] is None and not site.dead()


def left_alone(site, seconds):
    """Nothing is sent for so long; the message waits."""
    site.until(lambda: site.is_open, "nothing is sent")
    until = datetime.datetime.fromisoformat(site.circuit()["until"]).timestamp()
    assert until - time.time() >= seconds - 5
    assert len(site.waiting()) == 1 and site.row()["disabled"] is None


def needs_another_login(site, case):
    if case.outcome.scope == "expired" and case.provider == "apns":
        # Who signs twice within twenty minutes is refused for that.
        left_alone(site, 20 * 60 - 30)
    elif case.outcome.scope == "expired":
        site.fake.wait_for_deliveries(1, site.token)
        if case.provider == "fcm":
            assert len(site.fake.requests_for(OAUTH)) == 2
        elif case.provider in FAKES:
            assert len(site.fake.requests_for(LOGIN)) == 2
        assert not site.is_open
    else:
        left_alone(site, 900)
        assert not site.fake.deliveries(site.token)


def is_rejected(site, case):
    row = site.until(site.dead, "the message is given up")[0]
    assert not site.waiting() and site.row()["disabled"] is None
    assert row["tries"] == 1
    # One bad message does not keep the next.
    site.wake()
    site.fake.wait_for_deliveries(1, site.token)


def waits_for_tomorrow(site, case):
    # The makers' days begin in China.
    offset = 8 * 3600 if case.provider in FAKES else 0
    left_alone(site, 86_400 - (time.time() + offset) % 86_400)


CHECKS = {
    "accepted": is_accepted, "invalid-token": is_invalid, "retry": is_retried,
    "auth-expired": needs_another_login, "rejected": is_rejected,
    "quota-day": waits_for_tomorrow}


@pytest.mark.parametrize("provider, unwell", BAD_HEALTH)
def test_services_that_are_unwell(bad_world, provider, unwell):
    """The message waits, and goes once the service is well again."""
    site = bad_world.sites[provider, unwell]
    site.fake.wait_for_deliveries(1, site.token)
    site.until(lambda: not site.waiting(), "the queue is empty")
    assert site.row()["disabled"] is None and not site.dead()
    assert not [request for request in site.fake.requests if request.path == "/elsewhere"]
    site.fake.check()
    bad_world.state.balance()
