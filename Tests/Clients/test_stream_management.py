"""XEP-0198 with slixmpp's own implementation of it."""

import asyncio
import signal

from people import JULIET, ROMEO, USERS
from test_roster import befriend
from waiting import arrives

PLUGINS = ("xep_0198",)


async def test_a_stock_client_learns_what_the_server_has(connect, person):
    """Sections 3 and 4: it enables, and each message that waits for its receiver is acknowledged
    once it is stored."""
    away = person()
    client = await connect(person(), plugins=PLUGINS)
    acknowledged = asyncio.Queue()
    client.add_event_handler("stanza_acked", acknowledged.put_nowait)
    management = client.plugin["xep_0198"]
    assert client.features & {"stream_management"}
    assert management.enabled_in
    for number in range(20):
        client.send_message(away.jid, f"message {number}", mtype="chat")
    bodies = []
    while len(bodies) < 20:
        management.request_ack()
        stanza = await arrives(acknowledged.get(), "the next acknowledgement")
        if stanza.name == "message":
            bodies.append(stanza["body"])
    assert bodies == [f"message {number}" for number in range(20)]

    receiver = await connect(away)
    for number in range(20):
        message = await arrives(receiver.messages.get(), "a message that waited")
        assert message["body"] == f"message {number}"


async def say(sender, receiver, *texts):
    """Sends messages and waits until the server has read them."""
    for text in texts:
        sender.send_message(mto=receiver.boundjid.bare, mbody=text, mtype="chat")
    await sender.settled()


async def test_a_broken_connection_costs_nothing(connect, person):
    """Section 5: again and again the connection breaks, in the middle of what both say; the
    client resumes, nothing is lost or doubled, and its contact sees nothing of it."""
    juliet = await connect(person(), "phone", plugins=PLUGINS)
    romeo = await connect(person(), "orchard")
    await befriend(romeo, juliet)
    await romeo.settled()
    said, answered = [], []
    for turn in range(6):
        said += [f"{turn} before", f"{turn} after"]
        answered.append(f"{turn} answer")
        await say(romeo, juliet, said[-2])
        if turn % 2:
            # The server has it, and its client does not know.
            await say(juliet, romeo, answered[-1])
            juliet.cut()
        else:
            juliet.cut_with_next_message()
            juliet.send_message(mto=romeo.boundjid.bare, mbody=answered[-1], mtype="chat")
        await say(romeo, juliet, said[-1])
        assert await juliet.come_back(), "resumed"
        await juliet.settled()
    await juliet.hears(*said)
    await romeo.hears(*answered)
    assert romeo.presences.empty(), "no unavailable, no new presence"


async def test_what_was_acknowledged_is_not_sent_again(connect, server, person):
    """Section 5: the h of <resumed/> tells the client what the server has, whose own
    acknowledgements got lost."""
    away = person()
    client = await connect(person(), plugins=PLUGINS)
    acknowledged = asyncio.Queue()
    client.add_event_handler("stanza_acked", acknowledged.put_nowait)
    # It would ask every five stanzas.
    client.plugin["xep_0198"].window_counter = 1000
    waiting = server.metric("kinglet_offline_messages")
    for number in range(3):
        client.send_message(away.jid, f"message {number}", mtype="chat")
    await client.settled()
    server.becomes(waiting + 3, "kinglet_offline_messages")
    assert client.plugin["xep_0198"].unacked_queue
    client.cut()
    assert await client.come_back()
    bodies = []
    while len(bodies) < 3:
        stanza = await arrives(acknowledged.get(), "what <resumed/> acknowledges")
        if stanza.name == "message":
            bodies.append(stanza["body"])
    assert bodies == [f"message {number}" for number in range(3)]
    receiver = await connect(away)
    await receiver.hears(*bodies)


async def test_one_who_comes_too_late_finds_it_offline(connect, make_server):
    """Sections 4 and 5: when the time is up the session ends, and what its client did not get
    goes to the offline store; the client is told that it failed and begins anew."""
    server = make_server(users=USERS, settings={"limits.hibernation": "1s"}).start()
    juliet = await connect(JULIET, "phone", on=server, plugins=PLUGINS)
    romeo = await connect(ROMEO, on=server)
    await befriend(romeo, juliet)
    await say(romeo, juliet, "1")
    await juliet.hears("1")
    juliet.plugin["xep_0198"].send_ack()
    await juliet.settled()
    juliet.cut()
    await say(romeo, juliet, "2")
    gone = await romeo.presence_from(JULIET.jid)
    assert gone["type"] == "unavailable", "the time is up"
    await say(romeo, juliet, "3")
    server.becomes(1, "kinglet_resumptions_total", result="expired")
    server.becomes(2, "kinglet_offline_messages")
    failures = asyncio.Queue()
    juliet.add_event_handler("sm_failed", failures.put_nowait)
    assert not await juliet.come_back(), "a new session"
    failure = await arrives(failures.get(), "<failed/>")
    assert failure.xml.find("{urn:ietf:params:xml:ns:xmpp-stanzas}item-not-found") is not None
    await juliet.come_online()
    await juliet.hears("2", "3")


async def test_a_restart_of_the_server_costs_nothing(connect, make_server):
    """Section 5, across SIGTERM and a new start on the same data: both resume, and each gets what
    the other had said, also while it was not there."""
    server = make_server(users=USERS).start()
    juliet = await connect(JULIET, "phone", on=server, plugins=PLUGINS)
    romeo = await connect(ROMEO, "orchard", on=server, plugins=PLUGINS)
    await befriend(romeo, juliet)
    await say(romeo, juliet, "1")
    await juliet.hears("1")
    juliet.cut()
    await arrives(juliet.gone.wait(), "the end of the connection")
    await say(romeo, juliet, "2")
    # As the server goes: whether it still has it, the client learns from the next one.
    romeo.send_message(mto=JULIET.jid, mbody="3", mtype="chat")
    await romeo.settled()
    server.signal(signal.SIGTERM)
    assert (await romeo.next_stream_error())["condition"] == "system-shutdown"
    assert server.wait() == 0
    server.process = None

    server.start()
    assert server.metric("kinglet_sessions_hibernating") == 2
    assert await romeo.come_back(on=server), "resumed"
    await say(romeo, juliet, "4")
    assert await juliet.come_back(on=server), "resumed"
    await juliet.hears("2", "3", "4")
    await say(juliet, romeo, "5")
    await romeo.hears("5")
    assert all(
        presence["type"] != "unavailable" for presence in [
            romeo.presences.get_nowait() for _ in range(romeo.presences.qsize())])
    server.becomes(0, "kinglet_offline_messages")
