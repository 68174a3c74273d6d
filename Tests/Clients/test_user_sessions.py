"""`kinglet user show` and `kinglet user sessions`: what is kept for a user, and their devices."""

import re
from datetime import datetime, timezone

import pytest

from kinglet import NO_LOGIN_DELAY, one_line, run
from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import eventually

NOTHING = {
    "archive_bytes": 0, "archive_messages": 0, "blocked_addresses": 0, "offline_messages": 0,
    "push_targets": 0, "roster_items": 0}


@pytest.fixture
def kinglet(make_server):
    return make_server(users=USERS, settings=NO_LOGIN_DELAY).start()


def online(kinglet, person, resource, priority=0):
    """A client that takes messages."""
    client = RawClient.logged_in(kinglet, person, resource)
    client.send(f"<presence><priority>{priority}</priority></presence>")
    client.read_through(f"<presence[^>]*from=.{person.jid}/{resource}.*?</presence>")
    return client


def resumable(kinglet, person, resource, max=300):
    """One that may come back for its session (XEP-0198), and its session's id."""
    client = online(kinglet, person, resource)
    client.send(f"<enable xmlns='urn:xmpp:sm:3' resume='true' max='{max}'/>")
    return client, re.search(" id='([^']+)'", client.read_through("<enabled[^>]*/>"))[1]


def come_back(kinglet, person, id):
    """A new connection that has resumed a session."""
    client = RawClient.secure(kinglet)
    client.log_in(person)
    client.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")
    client.read_through("<resumed[^>]*/>")
    return client


def say(client, body, to):
    """Sends a message."""
    client.send(f"<message to='{to}' type='chat' id='{body}'><body>{body}</body></message>")


def sessions(kinglet, person=JULIET, *options):
    return kinglet.json("user", "sessions", person.jid, *options)["sessions"]


def fails(kinglet, *arguments):
    """The one line of a command that has to fail."""
    return one_line(kinglet.command(*arguments, check=False))


def sizes(kinglet, person=JULIET):
    return kinglet.json("user", "show", person.jid)["sizes"]


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# What is shown


def test_a_user_without_anything(make_server):
    """Everything is named, also where it is nothing; without a server nobody knows of sessions."""
    kinglet = make_server(users=USERS)
    user = kinglet.json("user", "show", JULIET.jid)
    assert user["sizes"] == NOTHING
    assert not {"lastLogin", "online", "sessions"} & user.keys()
    text = kinglet.command("user", "show", JULIET.jid).stdout
    assert text.splitlines()[0] == JULIET.jid
    assert re.search(r"(?m)^last login +never$", text)
    assert re.search(r"(?m)^archive bytes +0 bytes$", text)
    assert re.search(r"(?m)^sessions +none, the server does not run$", text)
    kinglet.start()
    user = kinglet.json("user", "show", JULIET.jid)
    assert user["sizes"] == NOTHING and user["sessions"] == []
    assert re.search(
        r"(?m)^sessions +none$", kinglet.command("user", "show", JULIET.jid).stdout)


def test_sizes_with_and_without_a_server(kinglet):
    """Contacts, the archive, what waits offline, and who is blocked."""
    with online(kinglet, ROMEO, "orchard") as romeo:
        for number in range(3):
            say(romeo, f"line {number}", JULIET.jid)
        romeo.send(f"<presence to='{JULIET.jid}' type='subscribe'/>")
        romeo.expect_answer()
        eventually(
            lambda: sizes(kinglet)["archive_messages"] == 3, "the messages are in the archive")
    with RawClient.logged_in(kinglet, JULIET) as juliet:
        juliet.send(
            "<iq type='set' id='block'><block xmlns='urn:xmpp:blocking'>"
            "<item jid='paris@example.test'/><item jid='tybalt@example.test'/></block></iq>")
        juliet.read_through("<iq[^>]*id=.block.[^>]*>")
    found = sizes(kinglet)
    size = found.pop("archive_bytes")
    assert found == {
        "archive_messages": 3, "blocked_addresses": 2, "offline_messages": 3, "push_targets": 0,
        "roster_items": 1}
    assert 3 * 60 < size < 3 * 500
    assert sizes(kinglet, ROMEO) == {
        **NOTHING, "archive_messages": 3, "archive_bytes": size, "roster_items": 1}
    shown = kinglet.command("user", "show", JULIET.jid).stdout
    assert re.search(r"(?m)^offline messages +3$", shown)
    assert re.search(rf"(?m)^archive bytes +{size} bytes$", shown)

    kinglet.stop()
    user = kinglet.json("user", "show", JULIET.jid)
    assert user["sizes"] == {**found, "archive_bytes": size}
    assert instant(user["lastLogin"]) <= datetime.now(timezone.utc)
    assert "sessions" not in user


def test_sessions(kinglet):
    """Each device: since when, from where, with which TLS, and how it is available."""
    before = datetime.now(timezone.utc).replace(microsecond=0)
    with online(kinglet, JULIET, "phone", priority=5), \
            RawClient.logged_in(kinglet, JULIET, "tablet"):
        phone, tablet = sessions(kinglet)
        assert (phone["resource"], tablet["resource"]) == ("phone", "tablet")
        assert phone["address"] == "127.0.0.1" and phone["tls"] == "TLSv1.3"
        assert before <= instant(phone["since"]) <= datetime.now(timezone.utc)
        assert phone["available"] is True and phone["priority"] == 5
        assert tablet["available"] is False and "priority" not in tablet
        assert not {"hibernatesFor", "unacknowledged"} & (phone.keys() | tablet.keys())
        assert sessions(kinglet, JULIET, "--resource", "tablet") == [tablet]
        assert sessions(kinglet, ROMEO) == []
        user = kinglet.json("user", "show", JULIET.jid)
        assert user["sessions"] == [phone, tablet] and user["online"] == ["phone", "tablet"]
        assert "lastLogin" in user

        lines = kinglet.command("user", "sessions", "juliet").stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["phone", "tablet"]
        assert "TLSv1.3" in lines[0] and "available with priority 5" in lines[0]
        assert "unavailable" in lines[1]
        shown = kinglet.command("user", "show", JULIET.jid).stdout
        assert re.findall(r"(?m)^session +(\w+) ", shown) == ["phone", "tablet"]
    assert "is not online" in kinglet.command("user", "sessions", ROMEO.jid).stdout


def test_a_session_that_hibernates(kinglet):
    """XEP-0198 section 5: how long it waits for its client, and with how many stanzas."""
    phone, id = resumable(kinglet, JULIET, "phone")
    [before] = sessions(kinglet)
    assert before["unacknowledged"] == 0 and "hibernatesFor" not in before
    phone.abort()
    kinglet.becomes(1, "kinglet_sessions_hibernating")
    with online(kinglet, ROMEO, "orchard") as romeo:
        say(romeo, "1", f"{JULIET.jid}/phone")
        say(romeo, "2", f"{JULIET.jid}/phone")
        kinglet.becomes(2, "kinglet_unacknowledged_stanzas")
    [away] = sessions(kinglet)
    assert 200 < away["hibernatesFor"] <= 300 and away["unacknowledged"] == 2
    assert "tls" not in away and away["address"] == "127.0.0.1"
    assert away["since"] == before["since"] and away["available"] is True
    line = kinglet.command("user", "sessions", JULIET.jid).stdout
    assert re.search(r"away, kept for \d+ s, 2 unacknowledged$", line.strip())

    with come_back(kinglet, JULIET, id):
        [back] = sessions(kinglet)
        assert "hibernatesFor" not in back and back["tls"] == "TLSv1.3"
        assert back["since"] == before["since"] and back["unacknowledged"] == 2


def test_a_session_is_as_old_after_a_planned_restart(kinglet):
    """XEP-0198 section 5: the same session, hibernating."""
    with resumable(kinglet, JULIET, "phone")[0]:
        [before] = sessions(kinglet)
        # A session of the next second would be a new one.
        started = instant(before["since"])
        eventually(
            lambda: (datetime.now(timezone.utc) - started).total_seconds() > 1, "a second later")
        kinglet.stop()
    assert "nobody is online" in kinglet.command("user", "sessions", JULIET.jid).stdout
    kinglet.start()
    [after] = sessions(kinglet)
    assert after["since"] == before["since"]
    assert after["hibernatesFor"] > 60 and after["resource"] == "phone"


# Closing


def test_all_sessions_are_closed(kinglet):
    """policy-violation to those who are there; what a hibernating one had waits offline."""
    lost, id = resumable(kinglet, JULIET, "phone")
    lost.abort()
    kinglet.becomes(1, "kinglet_sessions_hibernating")
    with RawClient.logged_in(kinglet, JULIET, "tablet") as tablet, \
            online(kinglet, ROMEO, "orchard") as romeo:
        say(romeo, "1", f"{JULIET.jid}/phone")
        say(romeo, "2", JULIET.jid)
        kinglet.becomes(2, "kinglet_unacknowledged_stanzas")
        done = kinglet.json("user", "sessions", JULIET.jid, "--close")
        assert done["jid"] == JULIET.jid and done["closed"] is True and done["running"] is True
        assert [session["resource"] for session in done["sessions"]] == ["phone", "tablet"]
        assert tablet.stream_error() == "policy-violation"
        assert sessions(kinglet) == []
        romeo.expect_answer()
    eventually(lambda: sizes(kinglet)["offline_messages"] == 2, "the messages wait offline")
    assert kinglet.metric("kinglet_sessions_hibernating") == 0
    assert kinglet.metric("kinglet_unacknowledged_stanzas") == 0
    with RawClient.secure(kinglet) as again:
        again.log_in(JULIET)
        again.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>")
        assert "item-not-found" in again.read_through("</failed>")
        again.bind("phone")
        again.send("<presence/>")
        again.read_through("<body>1</body>")
        again.read_through("<body>2</body>")


def test_one_session_is_closed(kinglet):
    """The others stay, and see it go (RFC 6121 section 4.5)."""
    with online(kinglet, JULIET, "phone") as phone, online(kinglet, JULIET, "tablet") as tablet:
        done = kinglet.command("user", "sessions", JULIET.jid, "--close", "--resource", "tablet")
        assert re.match(r"closed tablet  since .*\n\Z", done.stdout)
        assert tablet.stream_error() == "policy-violation"
        phone.read_through(
            rf"<presence(?=[^>]* type=.unavailable)[^>]* from=.{JULIET.jid}/tablet")
        phone.expect_answer()
        assert [session["resource"] for session in sessions(kinglet)] == ["phone"]
        # There is nothing left to close, which a script has to notice.
        line = fails(
            kinglet, "user", "sessions", JULIET.jid, "--close", "--resource", "tablet")
        assert f"{JULIET.jid} has no session tablet" in line


# What cannot be


def test_who_is_not_there(kinglet):
    """One line says who or what, and the status is 1."""
    for options in ([], ["--close"], ["--close", "--resource", "phone"], ["--json"]):
        line = fails(kinglet, "user", "sessions", "nobody@example.test", *options)
        assert "there is no user nobody@example.test" in line
    for options in ([], ["--close"], ["--json"]):
        line = fails(kinglet, "user", "sessions", JULIET.jid, "--resource", "phone", *options)
        assert f"{JULIET.jid} has no session phone" in line
    assert "domain" in fails(kinglet, "user", "sessions", "example.test")


def test_without_a_server(make_server):
    """Nobody is online, which is an answer; but nothing can be closed."""
    kinglet = make_server(users=USERS)
    answer = kinglet.json("user", "sessions", JULIET.jid)
    assert answer == {"jid": JULIET.jid, "running": False, "closed": False, "sessions": []}
    assert "nobody is online" in kinglet.command("user", "sessions", JULIET.jid).stdout
    for options in ([], ["--resource", "phone"], ["--json"]):
        line = fails(kinglet, "user", "sessions", JULIET.jid, "--close", *options)
        assert "the server does not run" in line
    assert "nobody@example.test" in fails(
        kinglet, "user", "sessions", "nobody@example.test", "--close")


def test_wrong_usage():
    """64, as EX_USAGE, and help."""
    for arguments in ([], [JULIET.jid, "phone"], [JULIET.jid, "--resource"]):
        done = run("user", "sessions", *arguments)
        assert done.returncode == 64 and "Usage: kinglet user sessions" in done.stderr
