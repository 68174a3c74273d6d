"""XEP-0191 with slixmpp's own implementation of it."""

import asyncio

import pytest
from slixmpp.exceptions import IqError

from people import JULIET, ROMEO, USERS
from test_roster import befriend, roster_of
from waiting import arrives

PLUGINS = ("xep_0191",)
NAMESPACE = "urn:xmpp:blocking"


def blocking(client):
    return client.plugin["xep_0191"]


async def block(client, *jids):
    await arrives(blocking(client).block(list(jids)), "the answer to a block")


async def unblock(client, *jids):
    if jids:
        await arrives(blocking(client).unblock(list(jids)), "the answer to an unblock")
    else:
        iq = client.make_iq_set()
        iq.enable("unblock")
        await arrives(iq.send(), "the answer to an unblock of all")


async def blocked(client):
    return await arrives(blocking(client).get_blocked_jids(), "the block list")


def pushes_of(client):
    """A queue of what the server says of changes: the command and its addresses."""
    queue = asyncio.Queue()
    for event, command in (("blocked", "block"), ("unblocked", "unblock")):
        client.add_event_handler(event, lambda iq, command=command: queue.put_nowait(
            (command, {str(item["jid"]) for item in iq[command]})))
    return queue


async def test_the_server_says_that_it_can_block(connect, server, person):
    """Section 3.1."""
    client = await connect(person())
    info = await arrives(
        client.plugin["xep_0030"].get_info(jid=server.domain), "the server's information")
    assert NAMESPACE in info["disco_info"]["features"]


async def test_every_device_has_the_same_list(connect, person):
    """Sections 3.2 to 3.5: block, unblock and unblock all, pushed to who has asked for the list."""
    juliet = person()
    phone, desk, deaf = [
        await connect(juliet, name, plugins=PLUGINS) for name in ("phone", "desk", "deaf")]
    queues = [pushes_of(client) for client in (phone, desk, deaf)]
    assert await blocked(phone) == await blocked(desk) == set()

    async def both_hear(expected):
        for queue in queues[:2]:
            assert await arrives(queue.get(), "a push") == expected

    await block(phone, "romeo@montague.example", "spam.example")
    await both_hear(("block", {"romeo@montague.example", "spam.example"}))
    await unblock(desk, "spam.example")
    await both_hear(("unblock", {"spam.example"}))
    assert await blocked(phone) == await blocked(desk) == {"romeo@montague.example"}
    await unblock(phone)
    await both_hear(("unblock", set()))
    assert await blocked(desk) == set()
    await deaf.settled()
    assert queues[2].empty()


async def test_nothing_passes_between_the_two(connect, person):
    """Section 3.3: service-unavailable for the blocked, not-acceptable with blocked for the
    other, and presence is not answered at all."""
    romeo, juliet = await connect(person()), await connect(person(), plugins=PLUGINS)
    await befriend(romeo, juliet)
    await block(juliet, romeo.boundjid.bare)
    gone = await romeo.presence_from(juliet.boundjid.bare)
    assert (gone["type"], gone["from"]) == ("unavailable", juliet.boundjid)

    romeo.send_message(mto=juliet.boundjid.bare, mbody="Speak again", mtype="chat")
    assert (await romeo.next_message())["error"]["condition"] == "service-unavailable"
    with pytest.raises(IqError) as error:
        await arrives(romeo.plugin["xep_0199"].send_ping(juliet.boundjid), "no pong")
    assert error.value.condition == "service-unavailable"

    juliet.send_message(mto=romeo.boundjid, mbody="Can you hear me now?")
    refused = (await juliet.next_message())["error"]
    assert (refused["type"], refused["condition"]) == ("cancel", "not-acceptable")
    assert refused.xml.find("{urn:xmpp:blocking:errors}blocked") is not None

    romeo.send_presence(pshow="dnd")
    romeo.send_presence(pto=juliet.boundjid, pstatus="masked")
    romeo.send_presence(pto=juliet.boundjid.bare, ptype="probe")
    juliet.send_presence(pshow="away")
    for one in (romeo, juliet):
        await one.settled()
        while not one.presences.empty():
            assert one.presences.get_nowait()["from"] == one.boundjid
        assert one.messages.empty()
    assert (await roster_of(juliet))[romeo.boundjid.bare]["subscription"] == "both"

    await unblock(juliet, romeo.boundjid.bare)
    assert (await romeo.presence_from(juliet.boundjid.bare))["show"] == "away"
    assert (await juliet.presence_from(romeo.boundjid.bare))["show"] == "dnd"
    romeo.send_message(mto=juliet.boundjid.bare, mbody="Speak again", mtype="chat")
    assert (await juliet.next_message())["body"] == "Speak again"


async def test_a_blocked_stranger_cannot_ask(connect, person):
    """Section 3.3: a request for presence is not delivered, then or later."""
    romeo, sheltered = await connect(person()), person()
    juliet = await connect(sheltered, plugins=PLUGINS)
    await block(juliet, romeo.boundjid.bare)
    romeo.send_presence_subscription(pto=sheltered.jid)
    item = (await romeo.next_push())[sheltered.jid]
    assert (item["subscription"], item["ask"]) == ("none", "subscribe")
    await juliet.leave()
    juliet = await connect(sheltered)
    await juliet.settled()
    assert juliet.requests.empty()
    assert await roster_of(juliet) == {}


async def test_a_list_outlives_the_server(connect, make_server):
    """Section 3.3: the block stays until it is lifted, also for one who is offline."""
    server = make_server(users=USERS).start()
    juliet = await connect(JULIET, on=server, plugins=PLUGINS)
    await block(juliet, ROMEO.jid)
    await juliet.leave()
    server.stop()
    server.start()
    romeo = await connect(ROMEO, on=server)
    romeo.send_message(mto=JULIET.jid, mbody="Speak again", mtype="chat")
    assert (await romeo.next_message())["error"]["condition"] == "service-unavailable"
    server.becomes(1, "kinglet_refusals_total", reason="blocked")
    juliet = await connect(JULIET, on=server, plugins=PLUGINS)
    assert await blocked(juliet) == {ROMEO.jid}
    await juliet.settled()
    assert juliet.messages.empty()
