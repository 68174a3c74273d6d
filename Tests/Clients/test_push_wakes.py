"""A sleeping phone wakes: stock registrations, real requests to fakes that know the vendors' rules."""

import asyncio
import contextlib

import pytest

from push_server import Device, PushWorld, person


@pytest.fixture
def push(push_authority, tmp_path):
    with contextlib.ExitStack() as stops:
        world = PushWorld(push_authority, tmp_path, stops)
        yield world
        world.check()


@pytest.fixture
def server(make_server, push):
    """Romeo and Juliet on a server whose pushes go to fakes."""
    kinglet = make_server(
        users={"romeo@example.test": "password of romeo",
               "juliet@example.test": "password of juliet"}, settings=push.settings)
    kinglet.start(isolated=False)
    return kinglet


@pytest.fixture
async def log_in(server):
    devices = []

    async def log_in(name, resource="phone", on=None):
        device = Device(on or server, person(name), resource)
        devices.append(device)
        await device.log_in()
        await device.come_online()
        return device

    yield log_in
    for device in devices:
        await device.leave()


async def delivered(fake, token, count=1):
    """The latest of so many pushes; the clients' loop goes on meanwhile."""
    return (await asyncio.to_thread(fake.wait_for_deliveries, count, token))[-1]


async def test_conversations(push, server, log_in):
    """Registration at the app server, enable, go offline, message, FCM gets a wake-up."""
    juliet = await log_in("juliet")
    await juliet.register_as_conversations("push.example.test", "token-of-juliet")
    account = juliet.account_hash()
    await juliet.leave()
    romeo = await log_in("romeo")
    romeo.say("juliet@example.test", "hello")
    delivery = await delivered(push.fcm, "token-of-juliet")
    assert delivery.payload["data"]["account"] == account
    assert "hello" not in str(delivery.payload) and "romeo" not in str(delivery.payload)
