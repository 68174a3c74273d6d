"""What commands do to sessions, and what no command shows."""

import os
import stat

import pytest

from kinglet import NO_LOGIN_DELAY
from people import JULIET, ROMEO, USERS, Person
from stock_client import LoginRefused
from waiting import arrives


@pytest.fixture
def running(make_server):
    return make_server(users=USERS, settings=NO_LOGIN_DELAY).start()


async def test_disabling_ends_the_sessions(connect, running):
    client = await connect(ROMEO, on=running)
    assert running.json("user", "show", ROMEO.jid)["online"] == [client.boundjid.resource]
    running.command("user", "disable", ROMEO.jid)
    assert (await client.next_stream_error())["condition"] == "policy-violation"
    await arrives(client.gone.wait(), "the end of the session")
    with pytest.raises(LoginRefused) as refused:
        await connect(ROMEO, on=running, mechanism="SCRAM-SHA-1")
    assert refused.value.args == ("account-disabled",)


async def test_removing_ends_the_sessions_and_deletes_everything(connect, running):
    """A new account of the same name inherits nothing."""
    client = await connect(ROMEO, on=running)
    juliet = await connect(JULIET, on=running)
    client.send_presence_subscription(pto=juliet.boundjid.bare)
    await juliet.next_request()
    running.command("user", "remove", ROMEO.jid)
    await arrives(client.gone.wait(), "the end of the session")
    juliet.send_message(mto=ROMEO.jid, mbody="where art thou?")
    assert (await juliet.next_message())["error"]["condition"] == "service-unavailable"
    running.add_user(ROMEO.jid, ROMEO.password)
    again = await connect(ROMEO, on=running)
    await again.settled()
    assert again.messages.empty()
    assert not [jid for jid in again.client_roster.keys() if jid != ROMEO.jid]


async def test_passwords_appear_nowhere(connect, make_server):
    """Neither in the log at its most talkative, nor in metrics, status or any file."""
    secrets = ["wherefore-art-thou", "balcony-scene-two", "a-new-secret-word"]
    kinglet = make_server(
        users={"romeo@example.test": secrets[0]}, settings={"log.level": "debug"}).start()
    kinglet.add_user("juliet@example.test", secrets[1])
    romeo = Person("romeo", "example.test", secrets[0])
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        await connect(romeo, on=kinglet, mechanism=mechanism)
    with pytest.raises(LoginRefused):
        await connect(Person("romeo", "example.test", secrets[1]), on=kinglet, mechanism="PLAIN")
    kinglet.command("user", "password", romeo.jid, "--password-stdin", stdin=secrets[2] + "\n")
    texts = [
        kinglet.get("/metrics")[2], kinglet.command("status").stdout,
        kinglet.command("user", "list").stdout]
    kinglet.stop()
    texts.append(kinglet.log.text)
    files = [path.read_bytes() for path in kinglet.data.rglob("*") if path.is_file()]
    for secret in secrets:
        assert not any(secret in text for text in texts)
        assert not any(secret.encode() in data for data in files)


def test_the_control_socket_is_private(running):
    """Only the owner of the data talks to it."""
    sockets = [path for path in running.data.iterdir() if stat.S_ISSOCK(path.stat().st_mode)]
    assert [path.name for path in sockets] == ["control.sock"]
    assert stat.S_IMODE(os.stat(running.data).st_mode) == 0o700
    assert stat.S_IMODE(sockets[0].stat().st_mode) & 0o077 == 0
