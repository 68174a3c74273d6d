"""`kinglet push`: with and without a running server, with fakes of push services, and what users
can do about their own targets with any client."""

import json
import subprocess

import pytest
from slixmpp.exceptions import IqError

from fake_gotify import FakeGotify
from fake_ntfy import FakeNtfy
from fake_web_push import FakeWebPush
from kinglet import BINARY, one_line
from people import JULIET, ROMEO, USERS
from waiting import arrives, eventually

# What --isolated does, but that pushes go out.
LOOPBACK = {
    "listen.addresses": "127.0.0.1", "listen.client_port": "0", "listen.client_tls_port": "0",
    "listen.server_port": "0", "listen.web_port": "0", "metrics.port": "0",
    "federation.policy": "off", "hardware.ups": '""',
}
TOPIC = "https://ntfy.example.org/kinglet-0123456789abcdef"
ENDPOINT = "https://up.example.org/UP0123456789abcdef?up=1"
SECRET = "tk_verysecretverysecretverysecre"
COMMANDS = ["list", "add", "remove", "test", "queue", "dead", "redrive", "providers"]


@pytest.fixture(params=["running", "stopped"])
def kinglet(request, make_server):
    """In both states; one that runs keeps to itself."""
    kinglet = make_server(users=USERS)
    if request.param == "running":
        kinglet.start()
    return kinglet


@pytest.fixture
def start(make_server, push_authority):
    """A server that pushes to this machine."""

    def make(**settings):
        return make_server(users=USERS, settings={
            **LOOPBACK, "push.allow_private_targets": "true",
            "push.authorities": str(push_authority.file), **settings}).start(isolated=False)

    return make


def push(kinglet, *arguments, **options):
    return kinglet.command("push", *arguments, **options)


def targets(kinglet, *arguments):
    return kinglet.json("push", "list", *arguments)["targets"]


def add(kinglet, *arguments, secret=None, person=ROMEO):
    """The target that is added, by a document."""
    if secret:
        arguments += ("--secret-stdin",)
    done = push(
        kinglet, "add", person.jid, *arguments, "--json", stdin=f"{secret}\n" if secret else "")
    return json.loads(done.stdout)


def without(text, *secrets):
    for secret in secrets:
        assert secret not in text
    return text


# Targets


def test_targets_are_added_listed_and_removed(kinglet):
    said = push(
        kinglet, "add", ROMEO.jid, "--ntfy", TOPIC, "--secret-stdin", stdin=SECRET + "\n").stdout
    assert "added target 1 of romeo@example.test: ntfy https://ntfy.example.org\n" in said
    done = add(kinglet, "--unifiedpush", ENDPOINT, "--device", "phone", "--always")
    assert done["result"] == "added"
    made = done["target"]
    assert (made["provider"], made["server"], made["device"], made["always"]) == (
        "unified_push", "https://up.example.org", "phone", True)
    add(kinglet, "--gotify", "https://gotify.example.org/", secret="Atoken", person=JULIET)
    found = targets(kinglet)
    assert [(target["id"], target["jid"], target["provider"]) for target in found] == [
        (1, ROMEO.jid, "ntfy"), (2, ROMEO.jid, "unified_push"), (3, JULIET.jid, "gotify")]
    assert all(target["failures"] == 0 and not target.get("disabled") for target in found)
    assert [target["id"] for target in targets(kinglet, "juliet")] == [3]
    lines = push(kinglet, "list").stdout.splitlines()
    assert len(lines) == 3 and "phone (always)" in lines[1] and "nothing sent yet" in lines[0]
    assert len({line.index("since ") for line in lines}) == 1, "columns are aligned"
    removed = kinglet.json("push", "remove", ROMEO.jid, "1")
    assert removed["result"] == "removed" and removed["target"]["id"] == 1
    assert [target["id"] for target in targets(kinglet)] == [2, 3]


def test_the_same_url_is_the_same_target(kinglet):
    assert add(kinglet, "--ntfy", TOPIC)["result"] == "added"
    again = add(kinglet, "--ntfy", TOPIC, "--always", secret=SECRET)
    assert again["result"] == "replaced" and again["target"]["id"] == 1
    assert [target["always"] for target in targets(kinglet)] == [True]
    # The same of another account, or another way to it, is another one.
    assert add(kinglet, "--ntfy", TOPIC, person=JULIET)["target"]["id"] == 2
    assert add(kinglet, "--unifiedpush", TOPIC)["target"]["id"] == 3


def test_targets_outlive_the_server(make_server):
    kinglet = make_server(users=USERS)
    add(kinglet, "--ntfy", TOPIC)
    kinglet.start()
    add(kinglet, "--unifiedpush", ENDPOINT)
    kinglet.crash()
    assert [target["id"] for target in targets(kinglet)] == [1, 2]
    kinglet.command("user", "remove", ROMEO.jid)
    assert targets(kinglet) == []


@pytest.mark.parametrize("url", [
    "https://127.0.0.1/topic", "https://127.1/topic", "https://0x7f000001/topic",
    "https://2130706433/topic", "https://[::1]/topic", "https://[::ffff:10.0.0.1]/topic",
    "https://192.168.1.2:8443/topic", "https://169.254.1.1/topic", "https://[fe80::1]/topic",
    "https://localhost/topic", "https://0.0.0.0/topic", "https://100.64.0.1/topic",
    "http://ntfy.example.org/topic"])
@pytest.mark.parametrize("option", ["--ntfy", "--unifiedpush"])
def test_private_targets_are_refused(make_server, option, url):
    kinglet = make_server(users=USERS)
    line = one_line(push(kinglet, "add", ROMEO.jid, option, url, check=False))
    assert "push.allow_private_targets" in without(line, url)
    assert targets(kinglet) == []


def test_private_targets_may_be_allowed(make_server):
    kinglet = make_server(users=USERS, settings={"push.allow_private_targets": "true"})
    add(kinglet, "--ntfy", "http://192.168.1.2:8080/topic")
    assert [target["server"] for target in targets(kinglet)] == ["http://192.168.1.2:8080"]


@pytest.mark.parametrize("url", [
    "ntfy.example.org/topic", "https://ntfy.example.org", "https://", "ftp://a.example/topic", "",
    "https://user:password@ntfy.example.org/topic", "https://ntfy.example.org/a topic",
    "https://ntfy.example.org/topic#part", "https://ntfy.example.org/" + "x" * 2000])
def test_what_is_no_topic_is_refused(kinglet, url):
    line = one_line(push(kinglet, "add", ROMEO.jid, "--ntfy", url, check=False))
    assert "expected" in line and "password" not in line and "xxx" not in line
    assert targets(kinglet) == []


def test_an_account_has_so_many_targets(make_server):
    kinglet = make_server(users=USERS, settings={"limits.push_targets": "2"})
    for number in range(2):
        add(kinglet, "--ntfy", f"{TOPIC}{number}")
    line = one_line(push(kinglet, "add", ROMEO.jid, "--ntfy", TOPIC, check=False))
    assert "limits.push_targets" in line
    add(kinglet, "--ntfy", TOPIC, person=JULIET)


@pytest.mark.parametrize("arguments", [
    ["list"], ["add", "--ntfy", TOPIC], ["test"], ["remove", "1"]])
@pytest.mark.parametrize("jid", ["nobody", "nobody@example.test", "nobody@elsewhere.example"])
def test_an_account_that_there_is_not(kinglet, jid, arguments):
    command, *rest = arguments
    line = one_line(push(kinglet, command, jid, *rest, check=False))
    assert ("no target" if command == "remove" else "not running" if command == "test"
            and kinglet.process is None else "no user") in line


@pytest.mark.parametrize("arguments", [
    ["remove", ROMEO.jid, "7"], ["dead", "--drop", "7"], ["redrive", "7"]])
def test_a_number_that_there_is_not(kinglet, arguments):
    assert "7" in one_line(push(kinglet, *arguments, check=False))


def test_nobody_removes_the_targets_of_others(kinglet):
    add(kinglet, "--ntfy", TOPIC)
    assert "no target 1" in one_line(push(kinglet, "remove", JULIET.jid, "1", check=False))
    assert "no target 1" in one_line(push(kinglet, "remove", "example.test", "1", check=False))
    assert len(targets(kinglet)) == 1


@pytest.mark.parametrize("arguments", [
    ["add", ROMEO.jid], ["add", ROMEO.jid, "--ntfy", TOPIC, "--gotify", "https://a.example"],
    ["add", ROMEO.jid, "--gotify", "https://a.example"],
    ["add", ROMEO.jid, "--ntfy", TOPIC, "--p256dh", "a", "--auth", "b"],
    ["add", ROMEO.jid, "--unifiedpush", ENDPOINT, "--p256dh", "a"],
    ["add", ROMEO.jid, "--unifiedpush", ENDPOINT, "--auth", "b"],
    ["add", ROMEO.jid, "--ntfy", TOPIC, "--token", SECRET],
    ["add"], ["remove", ROMEO.jid], ["remove", ROMEO.jid, "one"], ["test"], ["redrive"],
    ["redrive", "1", "--all"], ["dead", "--drop", "1", "--drop-all"], ["queue", "--limit", "0"],
    ["dead", "--limit", "100000"], ["redo"]])
def test_wrong_usage(make_server, arguments):
    """Status 64, as every command has it."""
    done = push(make_server(), *arguments, check=False)
    assert done.returncode == 64 and done.stderr


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_help(make_server, arguments):
    assert "OVERVIEW" in push(make_server(), *arguments, "--help").stdout


def test_everything_is_one_document(kinglet):
    assert kinglet.json("push", "list") == {"targets": [], "hasMore": False}
    assert kinglet.json("push", "queue") == {"entries": [], "total": 0}
    assert kinglet.json("push", "dead") == {"letters": [], "total": 0}
    assert kinglet.json("push", "dead", "--drop-all") == {"result": "dropped", "dropped": 0}
    assert kinglet.json("push", "redrive", "--all") == {"done": [], "failed": []}
    providers = kinglet.json("push", "providers")
    assert (providers["sending"], providers["circuits"], providers["books"]) == (False, [], [])
    assert {"ntfy", "gotify", "unified_push"} <= {app["provider"] for app in providers["apps"]}
    for name in ("list", "queue", "dead", "providers"):
        assert push(kinglet, name).stdout


def test_the_status_has_a_line(kinglet):
    add(kinglet, "--ntfy", TOPIC)
    status = kinglet.json("status")["push"]
    assert status.pop("openCircuits", None) == (None if kinglet.process is None else 0)
    assert status == {"targets": 1, "disabled": 0, "waiting": 0}
    assert "\npush      1 target\n" in kinglet.command("status").stdout


# Secrets


def test_secrets_are_nowhere_to_be_seen(make_server):
    """Neither in the list of processes nor in what is said, nor as they are in the data."""
    kinglet = make_server(users=USERS, settings={"log.level": "debug"}).start()
    process = subprocess.Popen(
        [BINARY, "push", "add", ROMEO.jid, "--unifiedpush", "-", "--secret-stdin", "--p256dh",
         "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
         "--config", str(kinglet.configuration)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    path, auth = "/verysecretpath", "BTBZMqHH6r4Tts7J_aSIgg"
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(process.pid)],
                           capture_output=True, text=True, check=True).stdout
    said, _ = process.communicate(f"https://up.example.org{path}\n{auth}\n")
    add(kinglet, "--ntfy", TOPIC, secret=SECRET)
    add(kinglet, "--gotify", "https://gotify.example.org/", secret="Atokenofgotify")
    bad = push(kinglet, "add", ROMEO.jid, "--ntfy", TOPIC, "--secret-stdin", check=False,
               stdin="tk_\x01verysecret\n")
    assert bad.returncode == 1
    texts = [shown, said, bad.stderr, kinglet.log.text, push(kinglet, "list").stdout]
    texts += [push(kinglet, name, "--json").stdout for name in ("list", "providers", "queue")]
    kinglet.stop()
    data = b"".join(file.read_bytes() for file in kinglet.data.glob("kinglet.db*"))
    texts.append(data.decode("latin-1"))
    assert len(targets(kinglet)) == 3, said
    for text in texts:
        without(text, path, auth, SECRET, "verysecret", "Atokenofgotify", TOPIC[-16:])


# Deliveries


def test_a_test_reaches_all(start, start_fake):
    kinglet = start(**{"push.contact": "mailto:admin@example.org"})
    ntfy, _ = start_fake(FakeNtfy, bearer=SECRET)
    gotify, _ = start_fake(FakeGotify)
    endpoints, _ = start_fake(FakeWebPush)
    topic, token, device = ntfy.new_topic(), gotify.add_application(), endpoints.subscribe()
    add(kinglet, "--ntfy", f"{ntfy.url}/{topic}", secret=SECRET)
    add(kinglet, "--gotify", gotify.url, secret=token)
    add(kinglet, "--unifiedpush", device.endpoint, "--p256dh", device.p256dh, secret=device.auth)
    done = kinglet.json("push", "test", ROMEO.jid)
    assert done["ok"] and [target["ok"] for target in done["targets"]] == [True] * 3
    for target in done["targets"]:
        steps = target["steps"]
        assert [step["step"] for step in steps] == [
            "registration", "credential", "request", "answer"]
        assert all(step["ok"] and step["milliseconds"] >= 0 for step in steps)
        assert steps[2]["value"] == "localhost" and steps[2]["bytes"] > 0
        assert steps[3]["outcome"] == "accepted"
    for fake in (ntfy, gotify, endpoints):
        fake.check()
    assert (ntfy.delivered, gotify.delivered, endpoints.delivered) == (
        {topic: 1}, {token: 1}, {device.token: 1})
    text = push(kinglet, "test", "romeo", "--target", "1").stdout
    without(text, topic, SECRET)
    assert "romeo@example.test is woken through 1 target" in text and "to localhost" in text
    assert ntfy.delivered == {topic: 2} and gotify.delivered == {token: 1}
    # A test is nothing that was asked for.
    assert kinglet.json("push", "providers")["books"] == []
    assert not targets(kinglet)[0].get("lastSent")


def test_a_test_says_what_fails(start, start_fake):
    kinglet = start()
    ntfy, _ = start_fake(FakeNtfy, bearer=SECRET)
    topic = ntfy.new_topic()
    add(kinglet, "--ntfy", f"{ntfy.url}/{topic}", secret="tk_wrong")
    add(kinglet, "--unifiedpush", "https://does-not-exist.invalid/endpoint")
    done = push(kinglet, "test", ROMEO.jid, "--json", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    refused, unknown = json.loads(done.stdout)["targets"]
    assert (refused["ok"], refused["reason"], refused["code"]) == (
        False, "credential_refused", "40101")
    assert "token" in refused["advice"]
    assert (unknown["ok"], unknown["reason"]) == (False, "name") and unknown["advice"]
    with ntfy.outage():
        said = push(kinglet, "test", ROMEO.jid, "--target", "1", check=False)
    assert said.returncode == 1
    assert "1 of 1 target of romeo@example.test did not get it" in said.stderr
    without(said.stdout + said.stderr, "tk_wrong", topic)
    assert "connection" in said.stdout


def test_a_test_needs_targets_and_a_server(kinglet):
    line = one_line(push(kinglet, "test", ROMEO.jid, check=False))
    assert ("not running" if kinglet.process is None else "no push targets") in line


async def write_to(person, connect, kinglet, *texts):
    client = await connect(JULIET, on=kinglet)
    for text in texts:
        client.send_message(mto=person.jid, mbody=text, mtype="chat")
    await client.settled()


async def test_what_was_given_up_is_listed_and_tried_again(start, start_fake, connect):
    kinglet = start(**{"push.window": "0s"})
    ntfy, _ = start_fake(FakeNtfy)
    topic = ntfy.new_topic()
    ntfy.forbidden.add(topic)
    add(kinglet, "--ntfy", f"{ntfy.url}/{topic}")
    await write_to(ROMEO, connect, kinglet, "Ay me!")
    dead = eventually(
        lambda: kinglet.json("push", "dead")["letters"], "a push that was given up")
    assert [(letter["target"], letter["jid"], letter["provider"], letter["kind"]) for letter in dead
            ] == [(1, ROMEO.jid, "ntfy", "message")]
    assert (dead[0]["reason"], dead[0]["code"], dead[0]["unread"]) == (
        "credential_refused", "40301", 1)
    assert "credential refused (40301)" in push(kinglet, "dead").stdout
    assert targets(kinglet)[0]["reason"] == "credential_refused"
    (books,) = kinglet.json("push", "providers")["books"]
    assert (books["requested"], books["dead"], books["balanced"]) == (1, 1, True)
    # Mended.
    ntfy.forbidden.clear()
    number = dead[0]["id"]
    assert kinglet.json("push", "redrive", str(number)) == {"done": [number], "failed": []}
    ntfy.wait_for_deliveries(1, topic)
    eventually(lambda: targets(kinglet)[0].get("reason") == "accepted", "the answer is noted")
    assert kinglet.json("push", "dead")["total"] == 0
    (books,) = kinglet.json("push", "providers")["books"]
    assert (books["requested"], books["sent"], books["dead"], books["balanced"]) == (2, 1, 1, True)
    without(push(kinglet, "list").stdout + push(kinglet, "dead").stdout + kinglet.log.text, topic)


async def test_what_cannot_be_tried_again_stays(start, start_fake, connect):
    kinglet = start(**{"push.window": "0s"})
    ntfy, _ = start_fake(FakeNtfy)
    topic = ntfy.new_topic()
    ntfy.forbidden.add(topic)
    add(kinglet, "--ntfy", f"{ntfy.url}/{topic}")
    await write_to(ROMEO, connect, kinglet, "Ay me!")
    eventually(lambda: kinglet.json("push", "dead")["total"] == 1, "a push that was given up")
    push(kinglet, "remove", ROMEO.jid, "1")
    done = push(kinglet, "redrive", "1", check=False)
    assert done.returncode == 1 and "1 stays: target 1 was removed" in done.stdout
    assert len(kinglet.json("push", "redrive", "--all")["failed"]) == 1
    assert kinglet.json("push", "dead", "--drop", "1")["dropped"] == 1
    assert kinglet.json("push", "dead")["total"] == 0


async def test_what_waits_is_listed(start, start_fake, connect):
    kinglet = start()
    gotify, _ = start_fake(FakeGotify)
    token = gotify.add_application()
    add(kinglet, "--gotify", gotify.url, secret=token)
    with gotify.outage():
        await write_to(ROMEO, connect, kinglet, "Ay me!", "She speaks.")
        queue = eventually(
            lambda: (found := kinglet.json("push", "queue"))["entries"] and
            found["entries"][0]["push"]["unread"] == 2 and found, "two messages that wait")
        assert queue["total"] == 1 and queue["oldestAge"] >= 0
        (entry,) = queue["entries"]
        assert (entry["target"], entry["jid"], entry["provider"]) == (1, ROMEO.jid, "gotify")
        assert "1 push waits" in push(kinglet, "queue").stdout
        assert targets(kinglet)[0]["waiting"]["unread"] == 2
        assert kinglet.json("status")["push"]["waiting"] == 1
        (books,) = kinglet.json("push", "providers")["books"]
        assert books["waiting"] == 1 and books["balanced"]
    gotify.wait_for_deliveries(1, token)
    eventually(lambda: kinglet.json("push", "queue")["total"] == 0, "nothing waits")


# Users' own commands (XEP-0050)


async def run(client, node, **fields):
    """Runs a command of one form, or without one; gives the result's element."""
    client.register_plugin("xep_0050")
    plugin = client.plugin["xep_0050"]
    begun = await arrives(
        plugin.send_command("example.test", node), f"the answer to {node}")
    command = begun["command"]
    if command["status"] == "completed" or not fields:
        return begun
    form = client.plugin["xep_0004"].make_form("submit")
    for name, value in fields.items():
        form.add_field(var=name, value=value)
    return await arrives(
        plugin.send_command(
            "example.test", node, action="complete", payload=form,
            sessionid=command["sessionid"]), f"the end of {node}")


def notes(answer):
    return " ".join(text for _, text in answer["command"]["notes"])


async def test_users_see_to_their_own_targets(start, start_fake, connect):
    kinglet = start()
    ntfy, _ = start_fake(FakeNtfy, bearer=SECRET)
    topic = ntfy.new_topic()
    add(kinglet, "--ntfy", TOPIC, person=JULIET)
    client = await connect(ROMEO, on=kinglet)
    assert "no push targets" in notes(await run(client, "push-targets"))
    assert "no push targets" in notes(await run(client, "push-test"))
    added = await run(
        client, "push-add", type="ntfy", url=f"{ntfy.url}/{topic}", secret=SECRET, always="1")
    assert "added" in notes(added)
    (target,) = targets(kinglet, ROMEO.jid)
    assert target["always"] and target["provider"] == "ntfy"
    listed = str(await run(client, "push-targets"))
    assert ntfy.url in without(listed, topic, SECRET)
    tested = await run(client, "push-test")
    assert "all targets" in notes(tested) and "accepted" in str(tested)
    assert ntfy.delivered == {topic: 1}
    removed = await run(client, "push-remove", target=str(target["id"]))
    assert "removed" in notes(removed)
    assert [target["jid"] for target in targets(kinglet)] == [JULIET.jid]


@pytest.mark.parametrize("fields", [
    {"type": "ntfy", "url": "https://127.0.0.1/topic"},
    {"type": "ntfy", "url": "http://a.example/b"},
    {"type": "gotify", "url": "https://gotify.example.org"}, {"type": "apns", "url": TOPIC},
    {"type": "ntfy", "url": "nonsense"}, {"type": "ntfy"}])
async def test_users_are_told_what_is_wrong(make_server, connect, fields):
    kinglet = make_server(users=USERS).start()
    client = await connect(ROMEO, on=kinglet)
    with pytest.raises(IqError) as caught:
        await run(client, "push-add", **fields)
    assert caught.value.condition == "bad-request"
    assert targets(kinglet) == []


async def test_users_remove_nobody_elses(make_server, connect):
    kinglet = make_server(users=USERS).start()
    add(kinglet, "--ntfy", TOPIC, person=JULIET)
    add(kinglet, "--ntfy", TOPIC)
    client = await connect(ROMEO, on=kinglet)
    with pytest.raises(IqError):
        await run(client, "push-remove", target="1")
    assert len(targets(kinglet)) == 2
