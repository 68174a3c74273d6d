"""Messages for people who are not there (XEP-0160, XEP-0203)."""

import datetime

from people import JULIET, ROMEO, USERS


async def test_messages_wait_for_the_next_login(connect, server, person):
    """XEP-0160 section 3, XEP-0203: stored, delivered in order with the time and the place of
    their arrival, then gone."""
    romeo, juliet = await connect(person(), "orchard"), person()
    lines = [f"line {number}" for number in range(60)]
    began = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    for line in lines:
        romeo.send_message(mto=juliet.jid, mbody=line, mtype="chat")
    await romeo.settled()
    server.becomes(60, "kinglet_offline_messages")

    balcony = await connect(juliet)
    for line in lines:
        message = await balcony.next_message()
        assert message["body"] == line
        assert message["from"] == romeo.boundjid
        assert began <= message["delay"]["stamp"] <= datetime.datetime.now(datetime.timezone.utc)
        assert message["delay"]["from"] == server.domain
    await balcony.settled()
    server.becomes(0, "kinglet_offline_messages")
    await balcony.leave()

    again = await connect(juliet)
    await again.settled()
    assert again.messages.empty()


async def test_what_is_said_meanwhile_comes_after_what_waited(connect, person):
    """XEP-0160 section 3, RFC 6120 section 10.1: a message sent while stored ones are on their
    way does not overtake them."""
    romeo, juliet = await connect(person()), person()
    lines = [f"line {number}" for number in range(150)]
    for line in lines[:100]:
        romeo.send_message(mto=juliet.jid, mbody=line)
    await romeo.settled()
    balcony = await connect(juliet, online=False)
    balcony.send_presence()
    for line in lines[100:]:
        romeo.send_message(mto=juliet.jid, mbody=line)
    assert [(await balcony.next_message())["body"] for _ in lines] == lines


async def test_messages_wait_until_presence_is_shown(connect, person):
    """XEP-0160 section 3: a session without presence, or with a negative priority, gets none."""
    romeo, juliet = await connect(person()), person()
    romeo.send_message(mto=juliet.jid, mbody="later")
    await romeo.settled()
    balcony = await connect(juliet, online=False)
    await balcony.settled()
    balcony.send_presence(ppriority=-5)
    await balcony.next_presence()
    await balcony.settled()
    assert balcony.messages.empty()
    balcony.send_presence(ppriority=0)
    assert (await balcony.next_message())["body"] == "later"


async def test_what_is_of_no_use_later_is_not_stored(connect, server, person):
    """XEP-0160 section 3, XEP-0334 section 4: headlines, chat states and no-store hints."""
    romeo, juliet = await connect(person()), person()
    romeo.send_message(mto=juliet.jid, mbody="news", mtype="headline")
    romeo.send_raw(
        f"<message type='chat' to='{juliet.jid}'>"
        "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
    romeo.send_raw(
        f"<message type='chat' to='{juliet.jid}'><body>not kept</body>"
        "<no-store xmlns='urn:xmpp:hints'/></message>")
    romeo.send_message(mto=juliet.jid, mbody="kept", mtype="chat")
    await romeo.settled()
    balcony = await connect(juliet)
    assert (await balcony.next_message())["body"] == "kept"
    await balcony.settled()
    assert balcony.messages.empty()


async def test_a_full_store_returns_the_message(connect, make_server):
    """XEP-0160 section 3: the sender learns that it was not stored, and it is counted. (Where
    the receiver's archive has it, it was.)"""
    kinglet = make_server(
        users=USERS,
        settings={"limits.offline_messages": "2", "archive.default": "never"}).start()
    romeo = await connect(ROMEO, on=kinglet)
    for number in range(3):
        romeo.send_message(mto=JULIET.jid, mbody=f"line {number}")
    error = await romeo.next_message()
    assert error["type"] == "error"
    assert error["error"]["condition"] == "service-unavailable"
    assert kinglet.refusals("offline_messages") == 1
    juliet = await connect(JULIET, on=kinglet)
    assert [(await juliet.next_message())["body"] for _ in range(2)] == ["line 0", "line 1"]


async def test_much_that_waited_does_not_shut_its_receiver_out(connect, person):
    """More than limits.outgoing_queue waits: it comes in pieces, each when the socket has taken
    the one before, and is not held against who could not read it before."""
    romeo, juliet = await connect(person()), person()
    body = "x" * 200_000
    for number in range(30):
        romeo.send_message(mto=juliet.jid, mbody=f"{number} {body}")
    await romeo.settled()
    balcony = await connect(juliet)
    for number in range(30):
        assert (await balcony.next_message())["body"].split(" ")[0] == str(number)
