"""Rosters, subscriptions and presence (RFC 6121 sections 2 to 4)."""

from slixmpp.exceptions import IqError

import pytest

from waiting import arrives


async def befriend(romeo, juliet):
    """Both see each other's presence afterwards."""
    for asker, asked in ((romeo, juliet), (juliet, romeo)):
        asker.send_presence_subscription(pto=asked.boundjid.bare)
        request = await asked.next_request()
        assert request["from"] == asker.boundjid.bare
        asked.send_presence_subscription(pto=asker.boundjid.bare, ptype="subscribed")
        approval = await asker.presence_from(asked.boundjid.bare)
        assert approval["type"] == "subscribed"
        shown = await asker.presence_from(asked.boundjid.bare)
        assert (shown["type"], shown["from"]) == ("available", asked.boundjid)


async def roster_of(client):
    """All of it: a client that says which version it has gets nothing when it has the last."""
    iq = client.Iq(stype="get")
    iq.enable("roster")
    answer = await arrives(iq.send(), "the roster")
    return {str(jid): item for jid, item in answer["roster"]["items"].items()}


async def change(client, **item):
    """A roster set."""
    iq = client.Iq(stype="set")
    iq["roster"]["items"] = {item.pop("jid"): item}
    return await arrives(iq.send(), "the answer to a roster set")


async def test_two_people_subscribe_to_each_other(connect, person):
    """RFC 6121 section 3.1: request, approval, presence both ways, and both in both rosters."""
    romeo, juliet = await connect(person(), "orchard"), await connect(person(), "balcony")
    await befriend(romeo, juliet)
    for one, other in ((romeo, juliet), (juliet, romeo)):
        items = await roster_of(one)
        assert items.keys() == {other.boundjid.bare}
        assert items[other.boundjid.bare]["subscription"] == "both"

    juliet.send_presence(pshow="away", pstatus="asleep")
    seen = await romeo.presence_from(juliet.boundjid.bare)
    assert (seen["from"], seen["show"], seen["status"]) == (juliet.boundjid, "away", "asleep")
    romeo.send_presence(pshow="dnd")
    assert (await juliet.presence_from(romeo.boundjid.bare))["show"] == "dnd"


async def test_a_request_waits_for_who_is_offline(connect, person):
    """RFC 6121 section 3.1.3: delivered at the next login, and shown as asked until answered."""
    romeo, absent = await connect(person()), person()
    romeo.send_presence_subscription(pto=absent.jid)
    assert (await romeo.next_push()).keys() == {absent.jid}
    item = (await roster_of(romeo))[absent.jid]
    assert (item["subscription"], item["ask"]) == ("none", "subscribe")
    juliet = await connect(absent)
    assert (await juliet.next_request())["from"] == romeo.boundjid.bare
    assert await roster_of(juliet) == {}


async def test_a_refused_request_ends(connect, person):
    """RFC 6121 section 3.2: unsubscribed, and no presence is shown."""
    romeo, juliet = await connect(person()), await connect(person())
    romeo.send_presence_subscription(pto=juliet.boundjid.bare)
    await juliet.next_request()
    juliet.send_presence_subscription(pto=romeo.boundjid.bare, ptype="unsubscribed")
    assert (await romeo.presence_from(juliet.boundjid.bare))["type"] == "unsubscribed"
    item = (await roster_of(romeo))[juliet.boundjid.bare]
    assert (item["subscription"], item["ask"]) == ("none", "")


async def test_the_end_of_a_subscription(connect, person):
    """RFC 6121 section 3.2.1: the contact is no longer seen."""
    romeo, juliet = await connect(person()), await connect(person())
    await befriend(romeo, juliet)
    juliet.send_presence_subscription(pto=romeo.boundjid.bare, ptype="unsubscribed")
    types = {(await romeo.presence_from(juliet.boundjid.bare))["type"] for _ in range(2)}
    assert types == {"unsubscribed", "unavailable"}
    assert (await roster_of(romeo))[juliet.boundjid.bare]["subscription"] == "from"
    assert (await roster_of(juliet))[romeo.boundjid.bare]["subscription"] == "to"


async def test_a_contact_comes_and_goes(connect, person):
    """RFC 6121 sections 4.2, 4.3 and 4.5: a login shows those who are there, a farewell is
    passed on with its words."""
    first, second = person(), person()
    romeo, juliet = await connect(first), await connect(second)
    await befriend(romeo, juliet)
    juliet.send_presence(ptype="unavailable", pstatus="parting is such sweet sorrow")
    gone = await romeo.presence_from(second.jid)
    assert (gone["type"], gone["status"]) == ("unavailable", "parting is such sweet sorrow")
    await juliet.leave()
    juliet = await connect(second)
    assert (await juliet.presence_from(first.jid))["from"] == romeo.boundjid
    assert (await romeo.presence_from(second.jid))["from"] == juliet.boundjid


async def test_a_cut_connection_makes_its_owner_unavailable(connect, server, person):
    """RFC 6121 section 4.5.2: the server speaks for a client that is gone."""
    romeo, juliet = await connect(person()), await connect(person(), "balcony")
    await befriend(romeo, juliet)
    name = juliet.boundjid
    juliet.cut()
    gone = await romeo.presence_from(name.bare)
    assert (gone["type"], gone["from"]) == ("unavailable", name)


async def test_presence_to_a_stranger(connect, person):
    """RFC 6121 section 4.6: directed presence is delivered, and so is its end."""
    romeo, juliet = await connect(person()), await connect(person())
    romeo.send_presence(pto=juliet.boundjid, pstatus="masked")
    assert (await juliet.presence_from(romeo.boundjid.bare))["status"] == "masked"
    romeo.cut()
    assert (await juliet.presence_from(romeo.boundjid.bare))["type"] == "unavailable"


async def test_roster_changes_reach_every_device(connect, person):
    """RFC 6121 sections 2.1.6, 2.3, 2.4 and 2.5: add, change and remove, each pushed to all
    resources that asked for the roster."""
    romeo = person()
    phone, desk = await connect(romeo, "phone"), await connect(romeo, "desk")
    mercutio = "mercutio@example.test"

    await change(phone, jid=mercutio, name="Mercutio", groups=["Friends", "Freunde für's Leben"])
    for device in (phone, desk):
        pushed = await device.next_push()
        assert pushed[mercutio]["name"] == "Mercutio"
        assert pushed[mercutio]["subscription"] == "none"
        assert set(pushed[mercutio]["groups"]) == {"Friends", "Freunde für's Leben"}

    await change(desk, jid=mercutio, name="Mercutio of Verona", groups=[])
    for device in (phone, desk):
        pushed = await device.next_push()
        assert (pushed[mercutio]["name"], pushed[mercutio]["groups"]) == ("Mercutio of Verona", [])
    assert (await roster_of(phone)).keys() == {mercutio}

    await change(phone, jid=mercutio, subscription="remove")
    for device in (phone, desk):
        assert (await device.next_push())[mercutio]["subscription"] == "remove"
    assert await roster_of(desk) == {}


async def test_removing_a_contact_ends_both_subscriptions(connect, person):
    """RFC 6121 section 2.5.2."""
    romeo, juliet = await connect(person()), await connect(person())
    await befriend(romeo, juliet)
    await change(romeo, jid=juliet.boundjid.bare, subscription="remove")
    types = {(await juliet.presence_from(romeo.boundjid.bare))["type"] for _ in range(3)}
    assert types == {"unsubscribe", "unsubscribed", "unavailable"}
    assert (await roster_of(juliet))[romeo.boundjid.bare]["subscription"] == "none"


async def test_what_is_not_in_the_roster_cannot_be_removed(connect, person):
    """RFC 6121 section 2.5.3: item-not-found."""
    romeo = await connect(person())
    with pytest.raises(IqError) as error:
        await change(romeo, jid="tybalt@example.test", subscription="remove")
    assert error.value.condition == "item-not-found"
