"""The interface for programs and apps (/api/): devices that apps register with their users' passwords,
notifications that programs send with a token, and what became of each."""

import contextlib
import json
import re
import ssl

import pytest

from push_api import Interface, make_token
from push_fakes import never
from push_town import MAKERS, PEOPLE, Town

@pytest.fixture(scope="module")
def whole_town(push_authority, tmp_path_factory):
    with contextlib.ExitStack() as stops:
        town = Town(push_authority, tmp_path_factory.mktemp("town"), stops)
        yield town
        for site in town.world.sites.values():
            site.fake.check()
        town.world.state.settle()


@pytest.fixture
def town(whole_town):
    yield whole_town
    whole_town.clear()


# Devices


def test_an_app_registers_its_device(town):
    app = town.app("anna")
    token = town.token("huawei")
    made = app.register("mate-60", ("huawei", token), tags=["news", "class-7b"], alias="customer-17")
    assert made.status == 201 and made.headers["Location"] == "/api/v1/registrations/mate-60"
    device = made.json
    assert (device["user"], device["device"]) == (town.jid("anna"), "mate-60")
    assert device["tags"] == ["class-7b", "news"] and device["alias"] == "customer-17"
    assert [one["provider"] for one in device["tokens"]] == ["huawei"]
    assert device["tokens"][0]["app"] == town.name("huawei") and device["tokens"][0]["state"] == "enabled"
    assert token not in made.text.decode()

    again = app.register("mate-60", ("huawei", token), tags=["sport"])
    assert again.status == 200 and again.json["tags"] == ["sport"] and "alias" not in again.json
    assert again.json["tokens"][0]["target"] == device["tokens"][0]["target"]
    assert app.get("/api/v1/registrations/mate-60").json == again.json
    assert app.get("/api/v1/registrations").json == {"devices": [again.json]}

    gone = app.ask("DELETE", "/api/v1/registrations/mate-60")
    assert gone.status == 204 and gone.text == b""
    assert app.get("/api/v1/registrations").json == {"devices": []}
    assert app.get("/api/v1/registrations/mate-60").problem == "not-found"


def test_a_token_is_one_devices(town):
    """A telephone that was given away rings for its new owner alone."""
    token = town.phone("anna", "xiaomi", device="given-away")
    reply = town.app("ben").register("new", ("xiaomi", token))
    assert reply.status == 201
    assert town.app("anna").get("/api/v1/registrations/given-away").status == 404
    town.program.done(town.send({"users": [town.jid("ben")]}, title="For Ben"), targets=1, sent=1)
    assert town.program.send({"users": [town.jid("anna")]}, title="For Anna").problem == "nobody"


def test_an_alias_is_one_users(town):
    town.phone("anna", "honor", device="a", alias="captain")
    assert town.phone("anna", "honor", device="b", alias="captain")
    other = town.app("ben").register("c", ("honor", town.token("honor")), alias="captain")
    assert (other.status, other.problem) == (409, "conflict")


@pytest.mark.parametrize(("document", "pointer"), [
    ({}, "/tokens"), ({"tokens": []}, "/tokens"), ({"tokens": "x"}, "/tokens"),
    ({"tokens": [{"provider": "huawei"}]}, "/tokens/0/token"),
    ({"tokens": [{"provider": "nokia", "token": "x"}]}, "/tokens/0/provider"),
    ({"tokens": [{"provider": "xmpp", "token": "x"}]}, "/tokens/0/provider"),
    ({"tokens": [{"provider": "huawei", "token": "x", "app": "none"}]}, "/tokens/0/app"),
    ({"tokens": [{"provider": "huawei", "token": "a,b"}]}, "/tokens/0/token"),
    ({"tokens": [{"provider": "apns", "token": "no-hexadecimal"}]}, "/tokens/0/token"),
    ({"tokens": [{"provider": "ntfy", "token": "nowhere"}]}, "/tokens/0/token"),
    ({"tokens": [{"provider": "huawei", "token": "x", "colour": "red"}]}, "/tokens/0/colour"),
    ({"tokens": [{"provider": "huawei", "token": "x"}] * 2}, "/tokens/1/token"),
    ({"tokens": [{"provider": "huawei", "token": "x"}], "tags": ["a b"]}, "/tags/0"),
    ({"tokens": [{"provider": "huawei", "token": "x"}], "badge": -1}, "/badge"),
    ({"tokens": [{"provider": "huawei", "token": "x"}], "alias": "ä"}, "/alias"),
    ({"tokens": [{"provider": "huawei", "token": "x"}], "a/b~": 1}, "/a~1b~0"),
])
def test_what_is_wrong_with_a_registration_is_said(town, document, pointer):
    """A token in the shape of another maker's among it."""
    reply = town.app("ben").ask("PUT", "/api/v1/registrations/phone", document)
    assert (reply.status, reply.problem) == (422, "invalid"), reply
    assert pointer in [error["pointer"] for error in reply.json["errors"]]


def test_who_registers_shows_a_password(town):
    path = "/api/v1/registrations"
    nobody = Interface(town.kinglet).get(path)
    assert (nobody.status, nobody.problem) == (401, "unauthorized")
    assert nobody.headers["WWW-Authenticate"].startswith("Basic ")
    for name, password in (("anna", "wrong"), ("nobody", "wrong"), ("anna", "")):
        reply = Interface.of_user(town.kinglet, town.jid(name), password).get(path)
        assert (reply.status, reply.problem) == (401, "unauthorized")
        assert reply.json["detail"] in (
            "the user or the password is wrong",)
    assert Interface(town.kinglet, "Basic !!!").get(path).status == 401
    assert town.program.get(path).status == 401
    assert town.app("anna").get(path).status == 200


def test_too_many_devices_are_refused(town):
    for number in range(20):
        town.phone("cleo", "vivo", device=f"phone-{number}")
    reply = town.app("cleo").register("one-more", ("vivo", town.token("vivo")))
    assert (reply.status, reply.problem) == (409, "too-many")


def test_an_app_learns_what_it_can_register_with(town):
    found = town.app("anna").get("/api/v1/apps").json
    assert {(app["provider"], app["app"]) for app in found["apps"]} == {
        (provider, town.name(provider)) for provider in (*MAKERS, "apns", "fcm")}
    assert len(found["web_push_key"]) == 87


# Telling


@pytest.mark.parametrize("provider", [*MAKERS, "apns", "fcm"])
def test_a_program_tells_a_user(town, provider):
    token = town.phone("dora", provider)
    task = town.send(
        {"users": [town.jid("dora")]}, title="Tür 3", text="Jemand klingelt 🔔",
        data={"door": 3, "picture": "https://example.org/3.jpg"})
    town.fake(provider).wait_for_deliveries(1, token)
    town.program.done(task, targets=1, sent=1, failed=0)
    [target] = town.program.targets(task)
    assert (target["user"], target["device"]) == (town.jid("dora"), "phone")
    assert (target["provider"], target["state"]) == (provider, "sent")
    text = json.dumps(town.fake(provider).deliveries(token)[0].payload, ensure_ascii=False)
    for part in ("Tür 3", "Jemand klingelt 🔔", "door"):
        assert part in text
    assert town.app("dora").get("/api/v1/registrations/phone").json["woken_by"] == provider


@pytest.mark.parametrize("provider", MAKERS)
def test_what_is_too_long_is_cut_between_characters(town, provider):
    """Makers count as Java does; a family of emoji is one character of eleven units."""
    family = "\U0001F469\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466"
    token = town.phone("dora", provider, device="long")
    task = town.send(
        {"devices": [{"user": town.jid("dora"), "device": "long"}]}, title=family * 36,
        text="\u6c49\U0001F600" * 2000)
    town.program.done(task, sent=1)
    text = json.dumps(town.fake(provider).deliveries(token)[0].payload, ensure_ascii=False)
    texts = re.findall(r'"((?:[^"\\]|\\.)*\u2026)"', text)
    assert texts and all(
        not one.replace(family, "").strip("\u2026\u6c49\U0001F600") for one in texts), texts
    limits = {"xiaomi": (49, 127), "oppo": (50, 50), "vivo": (40, 100), "meizu": (32, 100)}
    for one, most in zip(sorted(texts, key=len), limits.get(provider, ())):
        assert len(one.encode("utf-16-le")) // 2 <= most


def test_tags_aliases_devices_and_all(town):
    one = town.phone("emil", "huawei", device="one", tags=["red", "big"], alias="emil-17")
    two = town.phone("emil", "meizu", device="two", tags=["blue"])
    three = town.phone("fina", "oppo", device="three", tags=["red"])

    def told(to):
        before = {provider: len(town.fake(provider).deliveries()) for provider in MAKERS}
        task = town.send(to, title="x")
        town.program.done(task)
        return {
            token for provider in MAKERS
            for request in town.fake(provider).deliveries()[before[provider]:]
            for token in request.token.split(",")}

    assert told({"tags": ["red"]}) == {one, three}
    assert told({"tags": ["red", "blue", "big"]}) == {one, two, three}
    assert told({"aliases": ["emil-17"]}) == {one}
    assert told({"devices": [{"user": town.jid("emil"), "device": "two"}]}) == {two}
    assert told({"users": [town.jid("emil")], "tags": ["red"]}) == {one, two, three}
    assert told({"all": True}) >= {one, two, three}

    reply = town.program.send(
        {"users": [town.jid("emil"), town.jid("nobody"), "elsewhere@example.net"],
         "tags": ["green"], "aliases": ["none"],
         "devices": [{"user": town.jid("emil"), "device": "none"}]}, title="x")
    assert reply.status == 202 and reply.json["unreached"] == {
        "users": ["elsewhere@example.net", town.jid("nobody")], "tags": ["green"],
        "aliases": ["none"], "devices": [{"user": town.jid("emil"), "device": "none"}]}
    town.program.done(reply.json["id"], targets=2)
    for to in ({"tags": ["green"]}, {"users": ["x"]}, {"aliases": ["none"]}):
        reply = town.program.send(to, title="x")
        assert (reply.status, reply.problem) == (404, "nobody")
    found = town.program.get("/api/v1/devices?tag=red").json["devices"]
    assert {device["device"] for device in found} == {"one", "three"}
    assert len(town.program.get("/api/v1/devices?alias=emil-17").json["devices"]) == 1
    user = town.program.get(f"/api/v1/devices?user={town.jid('emil')}").json
    assert {device["device"] for device in user["devices"]} == {"one", "two"}


@pytest.mark.parametrize("provider", ["huawei", "honor", "xiaomi", "oppo", "meizu"])
def test_many_are_told_in_one_request(town, provider):
    """Those who are gone among them are disabled, and the others have it."""
    fake = town.fake(provider)
    tag = f"crowd-{provider}"
    tokens = [
        town.phone(name, provider, device=f"{provider}-{number}", tags=[tag])
        for name in PEOPLE for number in range(3)]
    fake.dead |= set(tokens[3:5])
    before = len(fake.requests_for())
    task = town.send({"tags": [tag]}, title="All of you", text="at once", collapse_key="crowd")
    town.program.done(task, targets=18, sent=16, failed=2)
    messages = [
        request for request in fake.requests_for()[before:] if request.token != "login"]
    assert len(messages) == 1 and sorted(messages[0].token.split(",")) == sorted(tokens)
    failed = [one for one in town.program.targets(task) if one["state"] == "failed"]
    assert {one["reason"] for one in failed} == {"unregistered"}
    again = town.send({"tags": [tag]}, title="Still there?")
    town.program.done(again, targets=16, sent=16)


def test_the_next_token_is_tried(town):
    """Several tokens of one device have an order; which of them reached it is shown."""
    first, second = town.phone("ben", "huawei", "fcm", device="both")
    task = town.send({"users": [town.jid("ben")]}, title="one")
    town.program.done(task, targets=1, sent=1)
    assert town.fake("huawei").deliveries(first) and not town.fake("fcm").deliveries(second)
    device = town.app("ben").get("/api/v1/registrations/both").json
    assert device["woken_by"] == "huawei"

    town.fake("huawei").dead.add(first)
    task = town.send({"users": [town.jid("ben")]}, title="two")
    done = town.program.done(task, targets=1, sent=1, failed=0)
    assert done["providers"]["huawei"]["passed_on"] == done["providers"]["fcm"]["sent"] == 1
    assert [one["provider"] for one in town.program.targets(task)] == ["fcm"]
    assert len(town.fake("fcm").deliveries(second)) == 1
    device = town.app("ben").get("/api/v1/registrations/both").json
    assert device["woken_by"] == "fcm"
    assert [token["state"] for token in device["tokens"]] == ["disabled", "enabled"]
    listed = town.kinglet.command("push", "list", town.jid("ben")).stdout
    assert "both, token 1" in listed and "device woken by FCM" in listed


def test_a_way_that_is_closed_is_not_waited_for(town):
    """The device's other token is tried at once, though the first may work later."""
    first, second = town.phone("ben", "vivo", "apns", device="both")
    with town.fake("vivo").outage():
        for number in range(7):
            task = town.send({"users": [town.jid("ben")]}, title=f"{number}")
            town.program.done(task, targets=1, sent=1)
    assert len(town.fake("apns").deliveries(second)) == 7
    town.kinglet.command("push", "providers")


def test_the_same_is_not_sent_twice(town):
    token = town.phone("anna", "meizu")
    to = {"users": [town.jid("anna")]}
    task = town.send(to, title="once", dedupe_key="order-17")
    again = town.program.send(to, title="once", dedupe_key="order-17")
    assert again.status == 200 and again.json["id"] == task
    other = town.program.send(to, title="twice", dedupe_key="order-17")
    assert (other.status, other.problem) == (409, "conflict")
    town.program.done(task, targets=1, sent=1)
    assert len(town.fake("meizu").deliveries(token)) == 1
    # Another program has keys of its own.
    second = Interface.of_program(town.kinglet, name="second")
    assert second.send(to, title="once", dedupe_key="order-17").status == 202
    assert second.get(f"/api/v1/tasks/{task}").problem == "not-found"
    town.kinglet.command("token", "revoke", "second")


def test_badges_are_counted(town):
    token = town.phone("anna", "apns", badge=3)
    to = {"users": [town.jid("anna")]}
    for badge, shown in (("+2", 5), (9, 9), ("-4", 5), ("+1", 6)):
        town.program.done(town.send(to, title="x", badge=badge), sent=1)
        assert town.fake("apns").deliveries(token)[-1].payload["aps"]["badge"] == shown
    assert town.app("anna").get("/api/v1/registrations/phone").json["badge"] == 6


def test_google_keeps_what_many_programs_tell(town):
    """It keeps four keys for a device: with more, it would drop some."""
    token = town.phone("anna", "fcm")
    to = {"users": [town.jid("anna")]}
    for number in range(6):
        town.program.done(town.send(to, title="x", collapse_key=f"key-{number % 3}"), sent=1)
    messages = [request.json()["message"] for request in town.fake("fcm").deliveries(token)]
    assert len({message["data"]["collapse"] for message in messages}) == 3
    assert not [message for message in messages if "collapse_key" in message["android"]]


def test_extras_of_one_service(town):
    apple, google = town.phone("anna", "apns"), town.phone("anna", "fcm", device="two")
    task = town.send(
        {"users": [town.jid("anna")]}, title="x", priority="normal", collapse_key="k",
        vendor={"apns": {"aps": {"sound": "bell.caf", "thread-id": "t"}},
                "fcm": {"android": {"notification": {"icon": "bell"}}, "token": "stolen"}})
    town.program.done(task, targets=2, sent=2)
    request = town.fake("apns").deliveries(apple)[-1]
    assert request.payload["aps"]["sound"] == "bell.caf" and "alert" in request.payload["aps"]
    assert request.header("apns-priority") == "5"
    message = town.fake("fcm").deliveries(google)[-1].json()["message"]
    assert message["token"] == google and message["android"]["priority"] == "NORMAL"
    assert message["android"]["notification"] == {"icon": "bell"}


@pytest.mark.parametrize(("document", "pointer"), [
    ({"title": "x"}, "/to"), ({"to": {}, "title": "x"}, "/to"),
    ({"to": {"all": True, "tags": ["a"]}, "title": "x"}, "/to"),
    ({"to": {"all": False}, "title": "x"}, "/to/all"),
    ({"to": {"users": []}, "title": "x"}, "/to/users"),
    ({"to": {"tags": ["a b"]}, "title": "x"}, "/to/tags/0"),
    ({"to": {"devices": [{"user": "a@b"}]}, "title": "x"}, "/to/devices/0/device"),
    ({"to": {"users": ["a"] * 600, "aliases": ["b"] * 600}, "title": "x"}, "/to"),
    ({"to": {"users": ["a"] * 1001}, "title": "x"}, "/to/users"),
    ({"to": {"all": True}}, ""), ({"to": {"all": True}, "title": ""}, "/title"),
    ({"to": {"all": True}, "title": "x" * 257}, "/title"),
    ({"to": {"all": True}, "title": 7}, "/title"),
    ({"to": {"all": True}, "title": "x", "text": "x" * 4001}, "/text"),
    ({"to": {"all": True}, "title": "x", "data": {"a": "x" * 2048}}, "/data"),
    ({"to": {"all": True}, "title": "x", "badge": "many"}, "/badge"),
    ({"to": {"all": True}, "title": "x", "ttl": 2419201}, "/ttl"),
    ({"to": {"all": True}, "title": "x", "priority": "urgent"}, "/priority"),
    ({"to": {"all": True}, "title": "x", "vendor": {"nokia": {}}}, "/vendor/nokia"),
    ({"to": {"all": True}, "title": "x", "vendor": {"fcm": 1}}, "/vendor/fcm"),
    ({"to": {"all": True}, "title": "x", "dedupe_key": "ä"}, "/dedupe_key"),
    ({"to": {"all": True}, "title": "x", "titel": "y"}, "/titel"),
])
def test_what_is_wrong_with_a_message_is_said(town, document, pointer):
    reply = town.program.ask("POST", "/api/v1/tasks", document)
    assert (reply.status, reply.problem) == (422, "invalid"), reply
    assert pointer in [error["pointer"] for error in reply.json["errors"]]


@pytest.mark.parametrize(("body", "headers", "status", "problem"), [
    (b"", {}, 400, "malformed"), (b"{", {}, 400, "malformed"), (b"[]", {}, 400, "malformed"),
    (b'{"to": "\xff"}', {}, 400, "malformed"), (b'"x"', {}, 400, "malformed"),
    (b"[" * 100_000, {}, 400, "malformed"),
    (b"to=all", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-type"),
    (b"{}", {"Content-Type": None}, 415, "unsupported-type"),
])
def test_what_cannot_be_read_is_refused(town, body, headers, status, problem):
    reply = town.program.ask("POST", "/api/v1/tasks", body=body, headers=headers)
    assert (reply.status, reply.problem) == (status, problem)
    assert town.program.get("/api/v1/devices").status == 200


def test_a_body_has_a_bound(town):
    """A million targets, and 100 MB."""
    million = json.dumps({"to": {"users": ["a@b"] * 1_000_000}, "title": "x"}).encode()
    for body in (million, b" " * 100_000_000):
        # A client that sends all of it first may find the connection closed.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert town.program.ask("POST", "/api/v1/tasks", body=body).status == 413
        reply = town.program.ask(
            "POST", "/api/v1/tasks", body=b"", headers={"Content-Length": str(len(body))})
        assert reply.status == 413 and reply.problem == "blank"
        assert town.program.get("/api/v1/devices").status == 200


# Tokens


def test_a_token_does_what_it_is_for(town):
    to = {"tags": ["any"]}
    nobody = Interface(town.kinglet).send(to, title="x")
    assert (nobody.status, nobody.problem) == (401, "unauthorized")
    assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="kinglet"'
    wrong = Interface(town.kinglet, "Bearer kinglet_wrong").send(to, title="x")
    assert wrong.status == 401 and 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    weak = Interface.of_program(town.kinglet, "--scope", "devices", name="weak")
    assert weak.send(to, title="x").problem == "forbidden"
    assert weak.get("/api/v1/devices").status == 200
    sender = Interface.of_program(town.kinglet, name="sender")
    assert sender.send(to, title="x").problem == "nobody"
    assert sender.send({"all": True}, title="x").problem == "forbidden"
    assert sender.get("/api/v1/devices").problem == "forbidden"
    for name in ("weak", "sender"):
        town.kinglet.command("token", "revoke", name)


def test_a_token_has_a_rate(town):
    slow = Interface.of_program(town.kinglet, "--scope", "devices", "--rate", "2", name="slow")
    assert [slow.get("/api/v1/devices").status for _ in range(2)] == [200, 200]
    reply = slow.get("/api/v1/devices")
    assert (reply.status, reply.problem) == (429, "rate")
    assert 1 <= int(reply.headers["Retry-After"]) <= 31
    town.kinglet.command("token", "revoke", "slow")


def test_a_token_is_listed_and_revoked(town):
    text = make_token(town.kinglet, "leaked", "--expires", "90d")
    assert text.startswith("kinglet_") and len(text) == 51
    program = Interface(town.kinglet, f"Bearer {text}")
    listed = {token["name"]: token for token in town.kinglet.json("token", "list")}
    assert listed["leaked"]["scopes"] == ["send"] and listed["leaked"]["rate"] == 60
    assert "used" not in listed["leaked"] and "expires" in listed["leaked"]
    assert program.send({"tags": ["any"]}, title="x").problem == "nobody"
    assert "leaked: send, 60 requests a minute" in town.kinglet.command("token", "list").stdout
    # Revoked while it is in use: what it asked for is not sent any more.
    token = town.phone("cleo", "honor")
    town.fake("honor").always(token, never())
    task = program.send({"users": [town.jid("cleo")]}, title="spam")
    assert task.status == 202
    revoked = town.kinglet.command("token", "revoke", "leaked", "--cancel").stdout
    assert revoked == "revoked leaked; 1 task is cancelled\n"
    assert program.send({"users": [town.jid("cleo")]}, title="spam").status == 401
    again = town.kinglet.command("token", "revoke", "leaked", check=False)
    assert again.returncode == 1 and "no token named leaked" in again.stderr
    twice = town.kinglet.command("token", "add", "program", check=False)
    assert twice.returncode == 1 and "revoke it first" in twice.stderr
    town.fake("honor").always(token, None)


def test_no_token_is_in_the_database(town):
    text = make_token(town.kinglet, "secret-one")
    registered = town.phone("cleo", "huawei")
    data = b"".join(file.read_bytes() for file in town.kinglet.directory.rglob("*.db*"))
    assert data and text.encode() not in data and registered.encode() not in data
    assert text.removeprefix("kinglet_").encode() not in data
    town.kinglet.command("token", "revoke", "secret-one")


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--scope", "everything"], "everything is none of send, broadcast, devices"),
    (["--scope", ""], "is none of"), (["--rate", "0"], "the rate"),
    (["--expires", "soon"], "expected a time such as 90d"), (["--expires", "1s"], "expected"),
])
def test_what_a_token_cannot_be(town, arguments, complaint):
    done = town.kinglet.command("token", "add", "other", *arguments, check=False)
    assert done.returncode == 1 and complaint in done.stderr


# The end of tasks


def test_a_task_is_cancelled(town):
    token = town.phone("dora", "oppo", device="slow")
    with town.fake("oppo").outage():
        task = town.send({"devices": [{"user": town.jid("dora"), "device": "slow"}]}, title="x")
        reply = town.program.ask("DELETE", f"/api/v1/tasks/{task}")
        assert reply.status == 200 and reply.json["state"] == "cancelled"
        assert reply.json["counts"]["waiting"] == 0 and reply.json["counts"]["dropped"] == 1
    assert not town.fake("oppo").deliveries(token)
    assert town.program.ask("DELETE", "/api/v1/tasks/999999").problem == "not-found"
    assert town.program.get("/api/v1/tasks/x").problem == "not-found"


def test_metrics_count_the_interface(town):
    town.program.get("/api/v1/devices")
    assert town.kinglet.metric("kinglet_push_api_requests_total", result="accepted") > 0
    assert town.kinglet.metric("kinglet_push_api_requests_total", result="unauthorized") > 0
    assert town.kinglet.metric("kinglet_push_api_tasks_total", result="taken") > 0
    assert town.kinglet.metric("kinglet_push_passed_on_total", provider="huawei") >= 0
