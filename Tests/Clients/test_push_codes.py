"""Each answer that a push service knows does to the message, the device and the service what its
document says: the real program, and the tables of `push_codes`."""

import pytest

import push_codes
import push_codes_vendors
from waiting import LONG

# By provider: a function of a device that makes its table.
TABLES = {
    **{provider: lambda device, provider=provider: [
        case for case in push_codes.ALL if case.provider == provider]
       for provider in ("apns", "fcm", "web-push", "ntfy", "gotify")},
    **push_codes_vendors.TABLES}


@pytest.fixture(params=TABLES)
def any_provider(request):
    return request.param


@pytest.mark.parametrize("provider, name", [
    (provider, case.name) for provider, table in TABLES.items() for case in table("device")])
def test_codes(push_server, provider, name):
    """`push_server.device(provider)` is a registration and its fake, with what Kinglet knows of
    them: `fake`, `token`, `wake()` (a message that is to be pushed), `row()` (the device in `push
    list --json`), `queued()`, `dead()` and `provider()` (its rows in the other commands)."""
    device = push_server.device(provider)
    case = next(case for case in TABLES[provider](device.token) if case.name == name)
    case.script(device.fake, device.token)
    device.wake()
    device.fake.wait_for_requests(1, device.token if case.token is None else case.token)
    CHECKS[case.outcome.kind](device, case)
    device.fake.check()


def is_accepted(device, case):
    assert device.fake.wait_for_deliveries(1, device.token)
    device.until(lambda: not device.queued(), "the queue is empty")
    assert device.row()["state"] == "active" and not device.dead()


def is_invalid(device, case):
    if case.outcome.scope == "environment":
        # Asked once in the other one, which has never heard of it either.
        device.until(lambda: device.row()["state"] == "invalid", "the device is invalid", LONG)
    device.until(lambda: device.row()["state"] == "invalid", "the device is invalid")
    asked = len(device.fake.requests_for(device.token))
    device.wake()
    assert len(device.fake.requests_for(device.token)) == asked
    assert device.provider()["state"] == "closed"


def is_retried(device, case):
    row = device.until(device.queued, "the message waits")[0]
    assert device.row()["state"] == "active" and not device.dead()
    if case.outcome.after:
        assert row["next_attempt_in"] >= case.outcome.after - 2
    if case.outcome.scope == "device":
        assert device.provider()["state"] == "closed"


def needs_another_login(device, case):
    assert device.row()["state"] == "active"
    if case.outcome.scope == "expired":
        device.fake.wait_for_deliveries(1, device.token)
        assert device.provider()["state"] == "closed"
    else:
        device.until(lambda: device.provider()["state"] == "open", "nothing is sent")
        assert device.queued()


def is_rejected(device, case):
    row = device.until(device.dead, "the message is given up")[0]
    assert not device.queued() and device.row()["state"] == "active"
    assert row["attempts"] == 1
    # One bad message does not keep the next.
    device.wake()
    device.fake.wait_for_deliveries(1, device.token)


def waits_for_tomorrow(device, case):
    device.until(lambda: device.provider()["state"] == "quota", "nothing is sent until tomorrow")
    asked = len(device.fake.requests)
    device.wake()
    assert device.queued() and len(device.fake.requests) == asked


CHECKS = {
    "accepted": is_accepted, "invalid-token": is_invalid, "retry": is_retried,
    "auth-expired": needs_another_login, "rejected": is_rejected,
    "quota-day": waits_for_tomorrow}


@pytest.mark.parametrize("unwell", push_codes.UNWELL)
def test_services_that_are_unwell(push_server, any_provider, unwell):
    """The message waits, and goes once the service is well again."""
    device = push_server.device(any_provider)
    device.fake.script(device.token, push_codes.UNWELL[unwell]())
    device.wake()
    device.fake.wait_for_requests(1, device.token)
    device.until(device.queued, "the message waits")
    assert device.row()["state"] == "active"
    assert not [request for request in device.fake.requests if request.path == "/elsewhere"]
    device.retry_now()
    device.fake.wait_for_deliveries(1, device.token)
    device.fake.check()


def test_services_that_are_away(push_server, any_provider):
    device = push_server.device(any_provider)
    with device.fake.outage():
        device.wake()
        device.until(device.queued, "the message waits")
    device.retry_now()
    device.fake.wait_for_deliveries(1, device.token)
