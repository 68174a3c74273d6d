"""XEP-0352 with slixmpp's own implementation of it."""

import asyncio

from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from test_roster import befriend

PLUGINS = ("xep_0085", "xep_0198", "xep_0352")


def stanzas_of(client):
    """All messages and presences of a client in the order in which they come: what they are."""
    seen = []

    def note(stanza):
        if stanza.name == "presence":
            seen.append(stanza["show"] or stanza["type"])
        elif stanza.name == "message":
            seen.append(stanza["body"] or stanza["chat_state"])

    for name in ("message", "presence"):
        client.register_handler(
            Callback(f"All {name}s", MatchXPath(f"{{jabber:client}}{name}"), note))
    return seen


async def sleeping(connect, person):
    """A client that nobody looks at, what it gets, and two contacts."""
    juliet = await connect(person(), "phone", plugins=PLUGINS)
    romeo = await connect(person(), "orchard", plugins=PLUGINS)
    nurse = await connect(person(), "kitchen", plugins=PLUGINS)
    for contact in (romeo, nurse):
        await befriend(contact, juliet)
    await juliet.settled()
    seen = stanzas_of(juliet)
    juliet.plugin["xep_0352"].send_inactive()
    await juliet.settled()
    return juliet, romeo, nurse, seen


def state(sender, receiver, name):
    message = sender.make_message(mto=receiver.boundjid, mtype="chat")
    message["chat_state"] = name
    message.send()


async def test_what_can_wait_waits(connect, person):
    """Sections 4.2 and 5.1: of presence and chat states the last of each contact, before the
    answer to what the client asks after it has become active."""
    juliet, romeo, nurse, seen = await sleeping(connect, person)
    for show in ("away", "xa", "dnd"):
        romeo.send_presence(pshow=show)
    await romeo.settled()
    for show in ("xa", "away"):
        nurse.send_presence(pshow=show)
    for name in ("composing", "paused"):
        state(nurse, juliet, name)
    await nurse.settled()
    juliet.plugin["xep_0352"].send_active()
    await juliet.settled()
    assert seen == ["dnd", "away", "paused"]
    romeo.send_presence(pshow="chat")
    await romeo.settled()
    await juliet.settled()
    assert seen[3:] == ["chat"], "active again"


async def test_a_message_does_not_wait(connect, person):
    """Section 3: it comes at once, and what was held before it, so that the order is kept."""
    juliet, romeo, nurse, seen = await sleeping(connect, person)
    for show in ("away", "dnd"):
        romeo.send_presence(pshow=show)
    state(romeo, juliet, "composing")
    romeo.send_message(mto=juliet.boundjid.bare, mbody="But soft", mtype="chat")
    assert (await juliet.next_message())["body"] == "But soft"
    assert seen == ["dnd", "composing", "But soft"]
    # It still is inactive, and the server does not ask: what comes now waits.
    nurse.send_presence(pshow="away")
    nurse.send_presence(pshow="xa")
    await nurse.settled()
    await juliet.settled()
    assert seen[3:] == ["xa"]


async def test_a_resumed_stream_is_active(connect, person):
    """Section 5.2, and what was held is not lost with the connection."""
    juliet, romeo, nurse, seen = await sleeping(connect, person)
    for show in ("away", "dnd"):
        romeo.send_presence(pshow=show)
    await romeo.settled()
    juliet.cut()
    assert await juliet.come_back(), "resumed"
    await juliet.settled()
    assert seen == ["dnd"]
    states = []
    for show in ("away", "xa"):
        nurse.send_presence(pshow=show)
        await nurse.settled()
        states.append(show)
    await juliet.settled()
    assert seen[1:] == states, "both: nothing waits"


async def test_contacts_see_nothing_of_it(connect, person):
    """Section 6."""
    juliet, romeo, _, _ = await sleeping(connect, person)
    while not romeo.presences.empty():
        romeo.presences.get_nowait()
    others = asyncio.Queue()
    romeo.register_handler(Callback(
        "Any message", MatchXPath("{jabber:client}message"), others.put_nowait))
    juliet.plugin["xep_0352"].send_active()
    juliet.plugin["xep_0352"].send_inactive()
    await juliet.settled()
    await romeo.settled()
    assert romeo.presences.empty() and others.empty()
