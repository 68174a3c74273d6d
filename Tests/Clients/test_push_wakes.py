"""A sleeping phone wakes: stock registrations, real requests to fakes that know the vendors' rules."""

import asyncio
import contextlib
import socket

import pytest

from name_server import OddNameServer
from push_server import OPEN, Device, PushWorld, person
from waiting import arrives

FEDERATED = {
    "federation.policy": "open", "federation.allow_private_addresses": "true",
    "federation.longest_pause": "1s"}


class Loopback:
    """The only host there is."""

    address = "127.0.0.1"

    def listen(self, kind, port=0):
        made = socket.socket(socket.AF_INET, kind)
        made.bind((self.address, 0))
        return made


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


async def sleeping(log_in, name="juliet"):
    """Somebody whose phone was registered and is gone."""
    device = await log_in(name)
    await device.register_as_conversations("push.example.test", f"token-of-{name}")
    await device.leave()
    return device


async def test_monal(push, server, log_in):
    """`v1-register-push`, and a message with a text is an alert (priority 10)."""
    juliet = await log_in("juliet")
    token = "ab" * 32
    form = await juliet.run(
        "push.example.test", "v1-register-push",
        {"type": "apns", "node": "device-of-juliet", "token": token})
    await juliet.enable(form["jid"], form["node"], form["secret"])
    await juliet.leave()
    romeo = await log_in("romeo")
    romeo.say("juliet@example.test", "hello")
    delivery = await delivered(push.apns, token)
    assert delivery.header("apns-priority") == "10"
    assert "hello" not in str(delivery.payload) and "romeo" not in str(delivery.payload)


async def test_a_node_that_is_a_token(push, server, log_in):
    """fpush's way: nothing is registered, the node is the token and an option names the app."""
    juliet = await log_in("juliet")
    token = "cd" * 32
    iq = juliet.make_iq_set()
    enable = juliet._child(iq.xml, "urn:xmpp:push:0", "enable")
    enable.set("jid", "push.example.test")
    enable.set("node", token)
    form = juliet._child(enable, "jabber:x:data", "x")
    form.set("type", "submit")
    for name, value in {
            "FORM_TYPE": "http://jabber.org/protocol/pubsub#publish-options",
            "pushModule": "ios"}.items():
        field = juliet._child(form, "jabber:x:data", "field")
        field.set("var", name)
        juliet._child(field, "jabber:x:data", "value").text = value
    await arrives(iq.send(), "the answer to enable")
    await juliet.leave()
    romeo = await log_in("romeo")
    romeo.say("juliet@example.test", "hello")
    await delivered(push.apns, token)


async def test_a_call(push, server, log_in):
    """A call (XEP-0353) wakes at once and for as long as it rings."""
    await sleeping(log_in)
    romeo = await log_in("romeo")
    call = romeo.make_message(mto="juliet@example.test", mtype="chat")
    propose = romeo._child(call.xml, "urn:xmpp:jingle-message:0", "propose")
    propose.set("id", "call-1")
    romeo._child(call.xml, "urn:xmpp:hints", "store")
    call.send()
    delivery = await delivered(push.fcm, "token-of-juliet")
    assert delivery.payload["android"]["priority"] == "HIGH"
    assert int(delivery.payload["android"]["ttl"].rstrip("s")) <= 60


async def test_what_wakes_nobody(push, server, log_in):
    """Chat states, receipts, blocked people and one's own messages do not wake; what comes after
    them does."""
    juliet = await log_in("juliet")
    await juliet.register_as_conversations("push.example.test", "token-of-juliet")
    juliet.register_plugin("xep_0191")
    await arrives(juliet.plugin["xep_0191"].block(["villain@example.test"]), "the block list")
    await juliet.leave()
    romeo = await log_in("romeo")
    state = romeo.make_message(mto="juliet@example.test", mtype="chat")
    romeo._child(state.xml, "http://jabber.org/protocol/chatstates", "composing")
    state.send()
    receipt = romeo.make_message(mto="juliet@example.test", mtype="chat")
    romeo._child(receipt.xml, "urn:xmpp:receipts", "received").set("id", "1")
    receipt.send()
    server.add_user("villain@example.test", "password of villain")
    villain = await log_in("villain")
    villain.say("juliet@example.test", "threat")
    await villain.settled()
    desktop = await log_in("juliet", "desktop")
    desktop.say("juliet@example.test", "note to self")
    await desktop.settled()
    romeo.say("juliet@example.test", "hello")
    await delivered(push.fcm, "token-of-juliet")
    assert push.fcm.delivered["token-of-juliet"] == 1


async def test_inactive_and_hibernating(push, server, log_in):
    """A client is woken that says nobody looks (XEP-0352) or that lost its connection (XEP-0198);
    one that is in use is not."""
    juliet = await log_in("juliet")
    await juliet.register_as_conversations("push.example.test", "token-of-juliet")
    romeo = await log_in("romeo")
    romeo.say("juliet@example.test", "in use")
    await juliet.gets("the message", lambda stanza: stanza["body"] == "in use")
    juliet.send_raw("<inactive xmlns='urn:xmpp:csi:0'/>")
    await juliet.settled()
    romeo.say("juliet@example.test", "inactive")
    await delivered(push.fcm, "token-of-juliet")
    juliet.send_raw("<active xmlns='urn:xmpp:csi:0'/>")
    await juliet.settled()
    juliet.cut()
    await arrives(juliet.gone.wait(), "the end of the connection")
    server.becomes(1, "kinglet_sessions_hibernating")
    romeo.say("juliet@example.test", "hibernating")
    latest = await delivered(push.fcm, "token-of-juliet", 2)
    # What came while it was in use, or was there again since, does not count (absolute).
    assert latest.payload["data"].get("unread", "1") == "1"


async def test_own_targets(push, server, log_in):
    """An administrator names targets that need no vendor, no federation and no public address."""
    topic = push.ntfy.new_topic()
    server.command("push", "add", "juliet@example.test", "--ntfy", f"{push.ntfy.url}/{topic}")
    token = push.gotify.add_application()
    server.command(
        "push", "add", "juliet@example.test", "--gotify", push.gotify.url, "--secret-stdin",
        stdin=f"{token}\n")
    subscription = push.web.subscribe()
    server.command(
        "push", "add", "juliet@example.test", "--unifiedpush", subscription.endpoint,
        "--p256dh", subscription.p256dh, "--secret-stdin", stdin=f"{subscription.auth}\n")
    romeo = await log_in("romeo")
    romeo.say("juliet@example.test", "hello")
    for fake, name in ((push.ntfy, topic), (push.gotify, token), (push.web, subscription.token)):
        assert "hello" not in str((await delivered(fake, name)).payload)
    rows = server.json("push", "list", "juliet@example.test")
    assert len(str(rows)) > 0 and topic not in str(rows) and token not in str(rows)


async def test_disable(push, server, log_in):
    """XEP-0357 section 6: then nothing is sent any more."""
    juliet = await log_in("juliet")
    form = await juliet.register_as_conversations("push.example.test", "token-of-juliet")
    await juliet.disable(form["jid"], form["node"])
    await juliet.leave()
    romeo = await log_in("romeo")
    romeo.say("juliet@example.test", "hello")
    await romeo.settled()
    assert server.json("push", "list", "juliet@example.test")["targets"] == []
    assert push.fcm.delivered["token-of-juliet"] == 0


async def test_an_app_server_elsewhere(push, make_server, server, log_in):
    """The same with the app server on another server, which is reached by federation."""
    names = OddNameServer(Loopback())
    far = make_server(
        domains=("far.test",), users={}, settings={**push.settings, **FEDERATED})
    near = make_server(
        users={"romeo@example.test": "password of romeo",
               "juliet@example.test": "password of juliet"},
        settings={**OPEN, **FEDERATED})
    for one in (near, far):
        one.settings["federation.authorities"] = f"[{near.authority}, {far.authority}]"
        one.settings["federation.nameservers"] = f"[127.0.0.1:{names.port}]"
        one.start(isolated=False)
        names.answers["target.test", "A"] = [("target.test", "A", "127.0.0.1")]
        for domain in (one.domain, f"push.{one.domain}"):
            service = f"_xmpp-server._tcp.{domain}"
            names.answers[service, "SRV"] = [
                (service, "SRV", (0, 0, one.ports["server"], "target.test"))]
    juliet = await log_in("juliet", on=near)
    await juliet.register_as_conversations("push.far.test", "token-of-juliet")
    account = juliet.account_hash()
    await juliet.leave()
    romeo = await log_in("romeo", on=near)
    romeo.say("juliet@example.test", "hello")
    delivery = await delivered(push.fcm, "token-of-juliet")
    assert delivery.payload["data"]["account"] == account
    # Google says that the device is gone: the publication is refused from then on.
    push.fcm.unregister("token-of-juliet")
    romeo.say("juliet@example.test", "are you there?")
    await asyncio.to_thread(push.fcm.wait_for_requests, 2, "token-of-juliet")
    names.stop()
