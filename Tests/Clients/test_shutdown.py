"""The end of the server: asked for, or by a crash."""

import signal

import pytest

from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import arrives, eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda it: it.name)
async def test_clients_are_told(connect, make_server, number):
    """RFC 6120 section 4.9.3.20: system-shutdown, the end of the stream, and status 0 in time."""
    kinglet = make_server(users=USERS).start()
    client = await connect(ROMEO, on=kinglet)
    with RawClient.plain(kinglet) as idle:
        kinglet.signal(number)
        assert (await client.next_stream_error())["condition"] == "system-shutdown"
        await arrives(client.gone.wait(), "the end of the connection")
        idle.read_to_end()
    assert kinglet.wait() == 0
    assert kinglet.json("status")["running"] is False


async def test_a_deaf_client_does_not_hold_up_the_end(make_server):
    """Within ten seconds, also when a client neither reads nor closes."""
    kinglet = make_server(users=USERS).start()
    with RawClient.logged_in(kinglet, ROMEO), RawClient(kinglet.ports["client_tls"]):
        kinglet.signal(signal.SIGTERM)
        assert kinglet.wait(timeout=10) == 0


async def test_a_restart_keeps_what_was_stored(connect, make_server):
    """Accounts, rosters and messages survive SIGTERM."""
    kinglet = make_server(users=USERS).start()
    romeo = await connect(ROMEO, on=kinglet)
    romeo.send_presence_subscription(pto=JULIET.jid)
    romeo.send_message(mto=JULIET.jid, mbody="till then")
    await romeo.settled()
    kinglet.stop()
    kinglet.start()
    juliet = await connect(JULIET, on=kinglet)
    assert (await juliet.next_message())["body"] == "till then"
    assert (await juliet.next_request())["from"] == ROMEO.jid


async def test_a_crash_loses_nothing_that_was_stored(connect, make_server):
    """kill -9 in the middle of the work: what was counted as stored is there, in order, and the
    database needs no repair."""
    kinglet = make_server(users=USERS).start()
    romeo = await connect(ROMEO, on=kinglet)
    lines = [f"line {number}" for number in range(300)]
    for line in lines:
        romeo.send_message(mto=JULIET.jid, mbody=line)

    async def stored():
        while not (count := kinglet.metric("kinglet_offline_messages")):
            await romeo.settled()
        return count

    count = await arrives(stored(), "stored messages")
    kinglet.crash()
    await arrives(romeo.gone.wait(), "the end of the connection")

    kinglet.start()
    # Counted soon after the start.
    waiting = int(eventually(
        lambda: kinglet.metric("kinglet_offline_messages"), "stored messages are counted"))
    assert waiting >= count
    juliet = await connect(JULIET, on=kinglet)
    assert [(await juliet.next_message())["body"] for _ in range(waiting)] == lines[:waiting]
    assert {user["jid"] for user in kinglet.json("user", "list")} == {
        "admin@example.test", *USERS}


def test_an_added_user_survives_a_crash(make_server):
    """What a command reported as done is done."""
    kinglet = make_server().start()
    for jid, password in USERS.items():
        kinglet.add_user(jid, password)
    kinglet.crash()
    assert {user["jid"] for user in kinglet.json("user", "list")} == {
        "admin@example.test", *USERS}
    kinglet.start()
    with RawClient.logged_in(kinglet, ROMEO) as client:
        client.expect_answer()
