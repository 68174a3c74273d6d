"""Ways of what a program tells besides the provider's: the app's own connection, which comes first;
what makers say later; and that nothing which was acknowledged is lost with the server."""

import asyncio
import contextlib
import http.client
import json
import re
import ssl
import urllib.parse

import pytest
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from push_fakes import never
from push_town import Town
from waiting import arrives, eventually

NOTIFICATION = "{urn:kinglet:push:0}notification"
JSON = "{urn:xmpp:json:0}json"


@pytest.fixture(scope="module")
def town(push_authority, tmp_path_factory):
    with contextlib.ExitStack() as stops:
        town = Town(push_authority, tmp_path_factory.mktemp("town"), stops, **{
            "push.public_url": "https://chat.example.org:8443"})
        yield town
        for site in town.world.sites.values():
            site.fake.check()
        town.world.state.settle()


# The app's own connection


class App:
    """An app that takes what programs tell over its connection."""

    def __init__(self, client):
        self.client = client
        self.told = asyncio.Queue()
        client.register_handler(Callback(
            "notification", MatchXPath(f"{{jabber:client}}iq/{NOTIFICATION}"),
            self.told.put_nowait))

    async def take(self):
        """The next one, which is answered; its sender and document."""
        iq = await arrives(self.told.get(), "a notification")
        assert iq["type"] == "set"
        iq.reply().send()
        return iq["from"], json.loads(iq.xml.find(f"{NOTIFICATION}/{JSON}").text)


async def test_an_app_that_is_connected_is_told_over_its_connection(town, connect):
    token = await asyncio.to_thread(
        town.phone, "anna", "huawei", device="phone", resource="phone", badge=1)
    app = App(await connect(town.person("anna"), "phone", on=town.kinglet))
    task = await asyncio.to_thread(
        town.send, {"users": [town.jid("anna")]}, title="Hello", text="there", badge="+1",
        data={"n": 1})
    sender, document = await app.take()
    assert sender == f"push.{town.kinglet.domain}"
    assert document == {
        "type": "notification", "title": "Hello", "text": "there", "badge": 2, "data": {"n": 1},
        "task": task}
    await asyncio.to_thread(town.program.done, task, targets=1, reached=1, sent=0)
    [target] = await asyncio.to_thread(town.program.targets, task)
    assert (target["state"], target["provider"]) == ("reached", "connection")
    assert not town.fake("huawei").deliveries(token)
    device = (await asyncio.to_thread(town.app("anna").get, "/api/v1/registrations/phone")).json
    assert device["woken_by"] == "connection"

    # Without its connection it is told by its maker.
    await app.client.leave()
    task = await asyncio.to_thread(town.send, {"users": [town.jid("anna")]}, title="Again")
    await asyncio.to_thread(town.program.done, task, targets=1, reached=0, sent=1)
    assert len(town.fake("huawei").deliveries(token)) == 1


async def test_an_app_that_knows_nothing_of_it_is_told_by_its_maker(town, connect):
    """What a stock client does not know it refuses (RFC 6120 section 8.4)."""
    token = await asyncio.to_thread(
        town.phone, "ben", "xiaomi", device="phone", resource="stock")
    await connect(town.person("ben"), "stock", on=town.kinglet)
    task = await asyncio.to_thread(town.send, {"users": [town.jid("ben")]}, title="Hello")
    await asyncio.to_thread(town.program.done, task, targets=1, sent=1, reached=0)
    assert len(town.fake("xiaomi").deliveries(token)) == 1


async def test_a_message_wakes_the_next_token_too(town, connect):
    """Devices that registered by HTTP are woken for messages, and in the same order."""
    first, second = await asyncio.to_thread(
        town.phone, "cleo", "honor", "meizu", device="phone", resource="phone")
    sender = await connect(town.person("dora"), "pc", on=town.kinglet)
    town.fake("honor").dead.add(first)
    sender.send_message(town.jid("cleo"), "wake up", mtype="chat")
    await asyncio.to_thread(town.fake("meizu").wait_for_deliveries, 1, second)
    assert not town.fake("honor").deliveries(first)
    listed = await asyncio.to_thread(town.kinglet.json, "push", "list", town.jid("cleo"))
    targets = {target["provider"]: target for target in listed["targets"]}
    assert (targets["honor"]["order"], targets["meizu"]["order"]) == (1, 2)
    await asyncio.to_thread(eventually, lambda: town.kinglet.json(
        "push", "list", town.jid("cleo"))["targets"][1].get("wokenBy") == "meizu", "the waker")
    books = await asyncio.to_thread(town.world.state.settle)
    assert books["honor"]["passed"] == 1


# Receipts


def post(town, path, body, kind):
    context = ssl.create_default_context(cafile=str(town.kinglet.authority))
    context.check_hostname = False
    connection = http.client.HTTPSConnection(
        "127.0.0.1", town.kinglet.ports["web"], context=context, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()


FORM, DOCUMENT = "application/x-www-form-urlencoded", "application/json"


def receipt(provider, token, reference, gone=False):
    """Body and type, as the maker has them."""
    one = {"param": reference, "type": 16 if gone else 1, "targets": token}
    if provider == "xiaomi":
        return urllib.parse.urlencode({"data": json.dumps({"id-1": one})}), FORM
    if provider == "meizu":
        return urllib.parse.urlencode({"cb": json.dumps({"id-1": {**one, "targets": [token]}})}), \
            FORM
    if provider == "vivo":
        return json.dumps({"id-1": one}), DOCUMENT
    if provider == "oppo":
        return json.dumps([{
            "eventType": "push_arrive", "registrationIds": token, "param": reference}]), DOCUMENT
    return json.dumps({"statuses": [{
        "token": token, "biTag": reference, "status": 2 if gone else 0}]}), DOCUMENT


def told_to_call(town, provider, token):
    """The path that the maker was told to call, and the word that comes back."""
    payload = town.fake(provider).deliveries(token)[-1].payload
    text = json.dumps(payload)
    reference = re.search(r"task-\d+", text)[0]
    if provider in ("huawei", "honor"):
        apps = town.kinglet.json("push", "providers")["apps"]
        url = next(app["receipts"] for app in apps if app.get("app") == town.name(provider))
    else:
        url = re.search(r"https://chat\.example\.org:8443[/\w]+", text.replace("\\/", "/"))[0]
    return urllib.parse.urlsplit(url).path, reference


@pytest.mark.parametrize("provider", ["huawei", "honor", "xiaomi", "oppo", "vivo", "meizu"])
def test_a_maker_says_that_a_device_has_it(town, provider):
    token = town.phone("emil", provider, device=provider)
    task = town.send(
        {"devices": [{"user": town.jid("emil"), "device": provider}]}, title="Hello")
    town.program.done(task, sent=1, delivered=0)
    path, reference = told_to_call(town, provider, token)
    assert re.fullmatch(r"/push/receipts/[0-9a-f]{32}", path) and reference == f"task-{task}"
    for _ in range(2):
        status, _ = post(town, path, *receipt(provider, token, reference))
        assert status == 200
    town.program.done(task, sent=1, delivered=1)
    [target] = town.program.targets(task)
    assert target["delivered"] >= target["ended"]
    # Nobody else can say it, nor of another's device.
    wrong = path[:-1] + ("0" if path[-1] != "0" else "1")
    assert post(town, wrong, *receipt(provider, token, reference))[0] == 404
    assert post(town, path, *receipt(provider, "other", reference))[0] == 200
    assert post(town, path, b"{", DOCUMENT)[0] == 400
    assert post(town, path, b"\xff" * 1000, FORM)[0] == 400
    town.program.done(task, delivered=1)


@pytest.mark.parametrize("provider", ["huawei", "xiaomi"])
def test_a_maker_says_that_an_app_is_gone(town, provider):
    token = town.phone("fina", provider, device="gone")
    task = town.send({"users": [town.jid("fina")]}, title="Hello")
    town.program.done(task, sent=1)
    path, reference = told_to_call(town, provider, token)
    assert post(town, path, *receipt(provider, token, reference, gone=True))[0] == 200
    device = town.app("fina").get("/api/v1/registrations/gone").json
    assert [one["state"] for one in device["tokens"]] == ["disabled"]
    assert town.program.send({"users": [town.jid("fina")]}, title="x").problem == "nobody"
    assert town.kinglet.metric("kinglet_push_receipts_total", result="gone") >= 1


# The server's end


def test_what_was_taken_survives_the_server(town):
    """kill -9 while services are away, and while requests are under way."""
    providers = ["huawei", "xiaomi", "vivo", "fcm", "apns"]
    tokens = {
        provider: town.phone("dora", provider, device=f"kept-{provider}", tags=["kept"])
        for provider in providers}
    with town.fake("xiaomi").outage(), town.fake("apns").outage():
        town.fake("vivo").always(tokens["vivo"], never(delivers=False))
        tasks = [
            town.send({"tags": ["kept"]}, title=f"{number}", dedupe_key=f"kept-{number}")
            for number in range(3)]
        town.fake("vivo").wait_for_requests(1, tokens["vivo"])
        town.world.kill()
    town.fake("vivo").always(tokens["vivo"], None)
    town.world.start()
    for number, task in enumerate(tasks):
        done = town.program.done(task, targets=5, sent=5)
        assert set(done["providers"]) == set(providers)
        again = town.program.send(
            {"tags": ["kept"]}, title=f"{number}", dedupe_key=f"kept-{number}")
        assert again.status == 200 and again.json["id"] == task
    for provider, token in tokens.items():
        titles = {
            title for request in town.fake(provider).deliveries(token)
            for title in re.findall(r'"(\d)"', json.dumps(request.payload))}
        assert titles >= {"0", "1", "2"}, provider
    town.world.state.settle()
