"""XEP-0280 with slixmpp's own implementation of it, and with its implementations of what is
copied: XEP-0085, XEP-0184, XEP-0308, XEP-0333, XEP-0334, XEP-0353, XEP-0424, XEP-0444, XEP-0461."""

import asyncio

import pytest
from slixmpp.exceptions import IqError

from waiting import arrives

PLUGINS = (
    "xep_0085", "xep_0184", "xep_0280", "xep_0308", "xep_0333", "xep_0334", "xep_0353", "xep_0359",
    "xep_0380", "xep_0424", "xep_0444", "xep_0461")


async def copying(connect, person, resource):
    """A client that wants copies, and a queue of those that it gets: direction and message."""
    client = await connect(person, resource, plugins=PLUGINS)
    client.plugin["xep_0184"].auto_ack = False
    copies = asyncio.Queue()
    for direction in ("received", "sent"):
        def note(wrapper, direction=direction):
            assert wrapper["from"] == client.boundjid.bare
            assert wrapper["to"] == client.boundjid
            copies.put_nowait((direction, wrapper[f"carbon_{direction}"]))
        client.add_event_handler(f"carbon_{direction}", note)
    await arrives(client.plugin["xep_0280"].enable(), "copies enabled")
    return client, copies


async def test_the_server_says_that_it_copies(connect, server, person):
    """Sections 3 and 6.2."""
    client = await connect(person())
    info = await arrives(
        client.plugin["xep_0030"].get_info(jid=server.domain), "the server's information")
    assert {"urn:xmpp:carbons:2", "urn:xmpp:carbons:rules:0"} <= set(
        info["disco_info"]["features"])


async def test_each_device_has_both_sides(connect, person):
    """Sections 7 and 8: what comes in and what goes out, with the id of the own archive."""
    romeo, juliet = person(), person()
    orchard, orchard_copies = await copying(connect, romeo, "orchard")
    home, home_copies = await copying(connect, romeo, "home")
    balcony, balcony_copies = await copying(connect, juliet, "balcony")
    phone, phone_copies = await copying(connect, juliet, "phone")
    orchard.send_message(mto=balcony.boundjid, mbody="But soft", mtype="chat")
    live = await balcony.next_message()
    direction, copy = await arrives(phone_copies.get(), "a copy")
    assert (direction, copy["body"], copy["from"]) == ("received", "But soft", orchard.boundjid)
    assert copy["stanza_id"]["id"] == live["stanza_id"]["id"]
    assert copy["stanza_id"]["by"] == juliet.jid
    direction, copy = await arrives(home_copies.get(), "a copy")
    assert (direction, copy["body"], copy["to"]) == ("sent", "But soft", balcony.boundjid)
    assert copy["stanza_id"]["by"] == romeo.jid, "of his archive, not of hers"
    balcony.send_message(mto=romeo.jid, mbody="Ay me", mtype="chat")
    for client in (orchard, home):
        assert (await client.next_message())["body"] == "Ay me", "to all of his, so no copy"
    assert (await arrives(phone_copies.get(), "a copy"))[0] == "sent"
    for client, copies in (
        (orchard, orchard_copies), (home, home_copies), (balcony, balcony_copies),
        (phone, phone_copies),
    ):
        await client.settled()
        assert copies.empty() and client.messages.empty()


async def test_none_for_one_who_does_not_want_them(connect, person):
    """Sections 4, 5 and 9: not before they are enabled, not after, and nothing private."""
    romeo = await connect(person(), plugins=PLUGINS)
    juliet = person()
    balcony = await connect(juliet, "balcony")
    phone, copies = await copying(connect, juliet, "phone")

    async def say(text, private=False):
        message = romeo.make_message(mto=balcony.boundjid, mbody=text, mtype="chat")
        if private:
            message.enable("carbon_private")
            message.enable("no-copy")
        message.send()
        assert (await balcony.next_message())["body"] == text
        await phone.settled()

    await say("copied")
    assert (await arrives(copies.get(), "a copy"))[1]["body"] == "copied"
    await say("private", private=True)
    await arrives(phone.plugin["xep_0280"].disable(), "copies disabled")
    await say("not any more")
    assert copies.empty()
    with pytest.raises(IqError) as error:
        iq = romeo.make_iq_set(ito=juliet.jid)
        iq.enable("carbon_enable")
        await arrives(iq.send(), "an error")
    assert error.value.condition == "not-allowed"


def receipt(client, to, of):
    message = client.make_message(mto=to)
    message["receipt"] = of
    message.send()


def chat_state(client, to, _):
    message = client.make_message(mto=to)
    message["chat_state"] = "composing"
    message.send()


def correction(client, to, of):
    client.plugin["xep_0308"].build_correction(of, to, mbody="corrected").send()


def reply(client, to, of):
    client.plugin["xep_0461"].make_reply(to, of, mto=to, mbody="a reply", mtype="chat").send()


def encrypted(client, to, _):
    message = client.make_message(mto=to, mbody="This is encrypted")
    message["eme"]["namespace"] = "eu.siacs.conversations.axolotl"
    message["eme"]["name"] = "OMEMO"
    message.enable("store")
    message.send()


# What sends it, and the element that tells it.
KINDS = {
    "receipt": (receipt, "{urn:xmpp:receipts}received"),
    "chat state": (chat_state, "{http://jabber.org/protocol/chatstates}composing"),
    "marker": (
        lambda client, to, of: client.plugin["xep_0333"].send_marker(to, of, "displayed"),
        "{urn:xmpp:chat-markers:0}displayed"),
    "correction": (correction, "{urn:xmpp:message-correct:0}replace"),
    "reactions": (
        lambda client, to, of: client.plugin["xep_0444"].send_reactions(to, of, ["👋"]),
        "{urn:xmpp:reactions:0}reactions"),
    "reply": (reply, "{urn:xmpp:reply:0}reply"),
    "retraction": (
        lambda client, to, of: client.plugin["xep_0424"].send_retraction(to, of),
        "{urn:xmpp:message-retract:1}retract"),
    "call": (
        lambda client, to, _: client.plugin["xep_0353"].propose(to, "call", [
            ("urn:xmpp:jingle:apps:rtp:1", "audio")]),
        "{urn:xmpp:jingle-message:0}propose"),
    "taken call": (
        lambda client, to, _: client.plugin["xep_0353"].proceed(to, "call"),
        "{urn:xmpp:jingle-message:0}proceed"),
    "encrypted": (encrypted, "{urn:xmpp:eme:0}encryption"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_passes_through_is_copied(connect, person, kind):
    """Section 6.1: as slixmpp writes it, often without a type, to the account and to a client."""
    send, tag = KINDS[kind]
    romeo, juliet = person(), person()
    orchard, _ = await copying(connect, romeo, "orchard")
    home, home_copies = await copying(connect, romeo, "home")
    balcony, balcony_copies = await copying(connect, juliet, "balcony")
    phone, phone_copies = await copying(connect, juliet, "phone")
    live = {balcony: [], phone: []}
    for client, seen in live.items():
        client.add_filter("in", lambda stanza, seen=seen: seen.append(stanza) or stanza)
    orchard.send_message(mto=balcony.boundjid, mbody="But soft", mtype="chat")
    message = await balcony.next_message()
    for copies in (home_copies, phone_copies):
        await arrives(copies.get(), "a copy of the text")

    send(orchard, balcony.boundjid, message["id"])
    direction, copy = await arrives(phone_copies.get(), "a received copy")
    assert direction == "received" and copy.xml.find(tag) is not None
    direction, copy = await arrives(home_copies.get(), "a sent copy")
    assert direction == "sent" and copy.xml.find(tag) is not None
    await balcony.settled()
    assert sum(stanza.xml.find(tag) is not None for stanza in live[balcony]) == 1

    send(orchard, juliet.jid, message["id"])
    assert (await arrives(home_copies.get(), "a sent copy"))[0] == "sent"
    for client, copies in ((balcony, balcony_copies), (phone, phone_copies)):
        await client.settled()
        assert copies.empty(), "it went to both"
    assert sum(stanza.xml.find(tag) is not None for stanza in live[balcony]) == 2
    assert sum(stanza.xml.find(tag) is not None for stanza in live[phone]) == 1
    assert home_copies.empty()
