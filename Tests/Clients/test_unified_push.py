"""UnifiedPush over XMPP: a client gets endpoints from push.<domain> and hands on what comes there.

The protocol is that of `up` and Conversations; over HTTP it is RFC 8030 without a store.
"""

import asyncio
import base64
import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from certificates import Authority
from kinglet import one_line, run
from people import JULIET, ROMEO, USERS
from waiting import LONG, arrives

NAMESPACE = "http://gultsch.de/xmpp/drafts/unified-push"
TUSKY = "com.keylesspalace.tusky"
RESUMING = ("xep_0198",)


class Reply(NamedTuple):
    """What HTTP answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def digest(name):
    """How Conversations names apps and their instances: base64 of SHA-256."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


class Distributor:
    """A client that has endpoints and gets what is posted there."""

    def __init__(self, client, server):
        self.client = client
        self.service = f"push.{server.domain}"
        self.pushes = asyncio.Queue()
        client.register_handler(Callback(
            "push", MatchXPath(f"{{jabber:client}}iq/{{{NAMESPACE}}}push"),
            self.pushes.put_nowait))

    async def ask(self, **attributes):
        """What the service answers to a registration."""
        iq = self.client.make_iq_set(ito=self.service)
        iq.xml.append(ElementTree.Element(f"{{{NAMESPACE}}}register", attributes))
        return await arrives(iq.send(), "the answer to a registration")

    async def register(self, app=TUSKY, instance="default"):
        """The endpoint and when its life ends."""
        answer = await self.ask(application=digest(app), instance=digest(instance))
        assert answer["from"] == self.service
        registered = answer.xml.find(f"{{{NAMESPACE}}}registered")
        return registered.get("endpoint"), registered.get("expiration")

    async def endpoint(self, **options):
        return (await self.register(**options))[0]

    async def next_push(self):
        """The next one as it came, its application, instance and the bytes in it."""
        iq = await arrives(self.pushes.get(), f"a push for {self.client.boundjid}")
        assert iq["type"] == "set" and iq["from"] == self.service
        push = iq.xml.find(f"{{{NAMESPACE}}}push")
        body = base64.b64decode(push.text, validate=True)
        return iq, push.get("application"), push.get("instance"), body

    async def take(self, condition=None):
        """Answers the next one, with an error if one is given; the bytes in it."""
        iq, _, _, body = await self.next_push()
        reply = iq.reply()
        if condition is not None:
            reply["type"] = "error"
            reply["error"]["type"] = "cancel"
            reply["error"]["condition"] = condition
        reply.send()
        return body


@pytest.fixture
def distributor(connect, server, person):
    """Logs somebody in who has endpoints."""

    async def make(who=None, on=None, **options):
        client = await connect(who or person(), on=on, **options)
        return Distributor(client, on or server)

    return make


async def request(server, url, body=b"", method="POST", headers=None):
    """One request as an app's server makes it, to the domain that the URL names."""
    parts = urlsplit(url)

    def run():
        context = ssl.create_default_context(cafile=str(server.authority))
        plain = socket.create_connection((server.address, parts.port), timeout=2 * LONG)
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        with contextlib.closing(connection):
            connection.sock = context.wrap_socket(plain, server_hostname=parts.hostname)
            connection.request(method, parts.path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())

    assert parts.scheme == "https" and not parts.query
    return await asyncio.to_thread(run)


def posted(server, url, body=b"x", **headers):
    return asyncio.create_task(request(server, url, body, headers=headers))


async def status(server, url, body=b"x", **headers):
    return (await request(server, url, body, headers=headers)).status


# Registrations

async def test_the_service_says_that_it_has_endpoints(connect, server, person):
    """XEP-0030: the namespace is a feature of the service."""
    client = await connect(person())
    info = await arrives(
        client.plugin["xep_0030"].get_info(jid=f"push.{server.domain}"), "its information")
    assert NAMESPACE in info["disco_info"]["features"]


async def test_an_endpoint_tells_nothing_and_lives_a_week(distributor, server):
    """It is short enough (UnifiedPush: 1000 bytes) and shows neither address nor app."""
    phone = await distributor()
    endpoint, expiration = await phone.register()
    parts = urlsplit(endpoint)
    assert (parts.scheme, parts.hostname, parts.port) == (
        "https", server.domain, server.ports["web"])
    assert re.fullmatch(r"/push/[A-Za-z0-9_-]{100,}", parts.path) and len(endpoint) <= 1000
    token = parts.path.rpartition("/")[2]
    plain = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert phone.client.boundjid.user.encode() not in plain
    ends = datetime.strptime(expiration, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    life = ends - datetime.now(timezone.utc)
    assert abs(life - timedelta(days=7)) < timedelta(seconds=LONG)
    assert await phone.endpoint() != endpoint, "no two are the same"


@pytest.mark.parametrize("attributes", [
    {}, {"application": digest("a")}, {"application": digest("a"), "instance": "b"},
    {"application": digest("a"), "instance": digest("b")[:-1]},
    {"application": "", "instance": digest("b")}])
async def test_a_registration_without_two_digests_is_refused(distributor, attributes):
    phone = await distributor()
    with pytest.raises(IqError) as error:
        await phone.ask(**attributes)
    assert error.value.condition == "bad-request"


async def test_without_https_there_are_no_endpoints(distributor, make_server):
    for settings in ({"web.enabled": "no"}, {"push.unified_push": "off"}):
        own = make_server(users=USERS, settings=settings).start()
        phone = await distributor(ROMEO, on=own)
        with pytest.raises(IqError) as error:
            await phone.endpoint()
        assert error.value.condition == "service-unavailable"
        info = await arrives(
            phone.client.plugin["xep_0030"].get_info(jid=phone.service), "its information")
        assert NAMESPACE not in info["disco_info"]["features"]


async def test_endpoints_begin_with_the_public_url(distributor, make_server):
    own = make_server(
        users=USERS, settings={"push.public_url": "https://chat.example.net/"}).start()
    phone = await distributor(ROMEO, on=own)
    assert (await phone.endpoint()).startswith("https://chat.example.net/push/")


def test_a_public_url_that_is_none_is_an_error(make_server):
    own = make_server()
    done = run("serve", "--config", own.configuration, "--set", "push.public_url=http://a.test")
    assert "push.public_url" in one_line(done)


# People of other servers

def registration(domain):
    return (
        f"<iq type='set' id='reg' from='eve@{domain.name}/phone' to='push.example.test'>"
        f"<register xmlns='{NAMESPACE}' application='{digest('a')}' instance='{digest('b')}'/>"
        "</iq>")


def answering(domain):
    """The stream on which the service answers a domain."""
    stream = domain.next_stream()
    stream.remote = "push.example.test"
    return stream.accept()


def asking(domain):
    """A stream to the service."""
    kinglet = domain.world.kinglet
    return domain.established(SimpleNamespace(
        address=kinglet.address, ports=kinglet.ports, domain="push.example.test"))


def test_endpoints_are_for_accounts_of_this_server(peers):
    """`local` is the default of push.unified_push."""
    domain = peers.domain().listen()
    asking(domain).send(registration(domain))
    answer = answering(domain).read_through("</iq>")
    assert "type='error'" in answer and "<forbidden " in answer


def test_anybody_may_have_endpoints_where_it_is_said_so(make_peers):
    """Over the streams between servers, and as long as the federation lets them come."""
    world = make_peers(**{"push.unified_push": "anybody"})
    domain = world.domain().listen()
    stream = asking(domain)
    stream.send(registration(domain))
    answers = answering(domain)
    endpoint = re.search(r"endpoint='([^']+)'", answers.read_through("</iq>"))[1]

    def post_while(answer):
        with ThreadPoolExecutor(1) as pool:
            post = pool.submit(
                lambda: asyncio.run(request(world.kinglet, endpoint, b"hello")))
            push = answers.read_through("</iq>")
            assert f"to='eve@{domain.name}/phone'" in push and "from='push.example.test'" in push
            assert base64.b64encode(b"hello").decode() in push
            identifier = re.search(r" id='([^']+)'", push)[1]
            stream.send(
                f"<iq {answer} id='{identifier}' from='eve@{domain.name}/phone' "
                "to='push.example.test'>")
            stream.send(
                "</iq>" if "result" in answer else
                "<error type='cancel'><item-not-found "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
            return post.result().status

    assert post_while("type='result'") == 201
    assert post_while("type='error'") == 404


# Posts

@pytest.mark.parametrize("body", [b"\x00", bytes(range(256)), os.urandom(4096)])
async def test_what_is_posted_reaches_the_client(distributor, server, body):
    """The bytes as they are; 201 once the client has said that the app has them."""
    phone = await distributor()
    endpoint = await phone.endpoint(instance="work")
    post = posted(
        server, endpoint, body, TTL="3600", Urgency="high", Topic="t",
        Authorization="vapid t=x, k=y", **{"Content-Encoding": "aes128gcm"})
    iq, application, instance, received = await phone.next_push()
    assert (application, instance, received) == (digest(TUSKY), digest("work"), body)
    assert not post.done(), "the answer is awaited"
    iq.reply().send()
    reply = await post
    assert (reply.status, reply.headers["TTL"], reply.body) == (201, "0", b"")
    # RFC 8030 section 6.1: where it could be asked for; nothing is kept, so it is gone.
    gone = await request(server, reply.headers["Location"], method="GET")
    assert gone.status == 404


async def test_curl_wakes_an_app(distributor, server, tmp_path):
    """The real program, as a shell script of an app's server would use it."""
    phone = await distributor()
    endpoint = await phone.endpoint()
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 8)
    parts = urlsplit(endpoint)
    curl = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--max-time", str(2 * LONG),
        "--cacert", server.authority, "--data-binary", f"@{body}", "--header", "TTL: 60",
        "--resolve", f"{parts.hostname}:{parts.port}:{server.address}",
        "--write-out", "%{http_code}", endpoint,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    assert await phone.take() == body.read_bytes()
    assert await curl.communicate() == (b"201", b"")


async def test_endpoints_do_not_mix(distributor, server):
    """Each leads to its client and its instance."""
    phone, tablet = await distributor(), await distributor()
    posts = [
        posted(server, await one.endpoint(instance=name), f"{name}".encode())
        for one, name in ((phone, "a"), (phone, "b"), (tablet, "a"))]
    assert {await phone.take(), await phone.take()} == {b"a", b"b"}
    assert await tablet.take() == b"a"
    assert [(await post).status for post in posts] == [201] * 3
    assert phone.pushes.empty() and tablet.pushes.empty()


@pytest.mark.parametrize("condition, expected", [
    ("item-not-found", 404), ("feature-not-implemented", 404), ("service-unavailable", 503),
    ("recipient-unavailable", 503), ("internal-server-error", 500)])
async def test_what_the_client_answers_the_sender_hears(
        distributor, server, condition, expected):
    """As `up` has it: an app that is gone is gone for good, everything else may pass."""
    phone = await distributor()
    post = posted(server, await phone.endpoint())
    await phone.take(condition)
    reply = await post
    assert reply.status == expected
    assert ("Retry-After" in reply.headers) == (expected == 503)


async def test_a_bad_request_is_told_what_is_wrong(distributor, server):
    phone = await distributor()
    endpoint = await phone.endpoint()
    assert await status(server, endpoint, b"") == 400
    assert await status(server, endpoint, b"x" * 4097) == 413
    put = await request(server, endpoint, b"x", "PUT")
    assert put.status == 405 and "POST" in put.headers["Allow"]
    for token in ("x", endpoint.rpartition("/")[2][:-2], endpoint.rpartition("/")[2] + "AA"):
        assert await status(server, endpoint.rpartition("/")[0] + "/" + token) == 404
    assert phone.pushes.empty()


async def test_a_get_tells_good_endpoints_from_bad_to_nobody(distributor, server):
    """What apps ask for to see that it is a push server."""
    phone = await distributor()
    endpoint = await phone.endpoint()
    good = await request(server, endpoint, method="GET")
    bad = await request(server, endpoint[:-9], method="GET")
    assert (good.status, good.body) == (200, b'{"unifiedpush":{"version":1}}')
    assert good.headers["Content-Type"] == "application/json"
    assert good.body == bad.body and good.status == bad.status


async def test_who_is_offline_gets_it_when_the_sender_tries_again(distributor, server, person):
    """503 with a time: nothing is kept here."""
    who = person()
    phone = await distributor(who, resource="phone")
    endpoint = await phone.endpoint()
    await phone.client.leave()
    reply = await request(server, endpoint, b"x")
    assert reply.status == 503 and int(reply.headers["Retry-After"]) > 0
    again = await distributor(who, resource="phone")
    post = posted(server, endpoint, b"again")
    assert await again.take() == b"again"
    assert (await post).status == 201


async def test_an_endpoint_ends_with_its_account(distributor, make_server):
    own = make_server(users=USERS).start()
    phone = await distributor(ROMEO, on=own, resource="phone")
    endpoint = await phone.endpoint()
    await phone.client.leave()
    assert await status(own, endpoint) == 503
    own.command("user", "remove", ROMEO.jid)
    assert await status(own, endpoint) == 404


async def test_one_endpoint_gets_so_many_a_minute(distributor, make_server):
    own = make_server(users=USERS, settings={"limits.push_endpoint_rate": "2"}).start()
    phone = await distributor(ROMEO, on=own, resource="phone")
    endpoint = await phone.endpoint()
    await phone.client.leave()
    assert [await status(own, endpoint) for _ in range(2)] == [503, 503]
    reply = await request(own, endpoint, b"x")
    assert reply.status == 429 and reply.headers["Retry-After"] == "30"


# Sessions that wait for their client (XEP-0198)

async def test_a_client_that_comes_back_gets_it(distributor, server):
    """201 at once while its session waits, and it is there on resumption."""
    phone = await distributor(plugins=RESUMING)
    endpoint = await phone.endpoint()
    hibernating = server.metric("kinglet_sessions_hibernating")
    phone.client.cut()
    await asyncio.to_thread(
        server.becomes, hibernating + 1, "kinglet_sessions_hibernating")
    began = time.monotonic()
    assert await status(server, endpoint, b"while away") == 201
    assert time.monotonic() - began < 5, "no answer is waited for"
    assert await phone.client.come_back()
    assert await phone.take() == b"while away"
    await phone.client.settled()
    assert phone.pushes.empty()


async def test_a_connection_that_breaks_meanwhile_costs_nothing(distributor, server):
    phone = await distributor(plugins=RESUMING)
    post = posted(server, await phone.endpoint(), b"in between")
    await phone.next_push()
    phone.client.cut()
    assert (await post).status == 201
    assert await phone.client.come_back()
    await phone.client.settled()


async def test_a_client_that_is_slow_has_it(distributor, server):
    """After 10 s the sender is told that it is on its way, for it is."""
    phone = await distributor(plugins=RESUMING)
    began = time.monotonic()
    post = posted(server, await phone.endpoint(), b"slow")
    assert (await post).status == 201
    assert 9 < time.monotonic() - began < LONG
    assert await phone.take() == b"slow"
    # Nobody waits for the answer any more, and it does no harm.
    await phone.client.settled()


# Restarts and keys

async def test_endpoints_outlive_restarts_and_keys(distributor, make_server):
    """The keys are a private file among the secrets; the next one does not end the last one's
    endpoints, and without any of them all have ended."""
    own = make_server(users=USERS, settings={"listen.web_port": "0"}).start()
    keys = own.data / "secrets" / "unified-push.keys"
    assert keys.stat().st_mode & 0o777 == 0o600
    path = urlsplit(await (await distributor(ROMEO, on=own, resource="phone")).endpoint()).path

    async def after_restart(expected):
        """Starts again and posts to the old endpoint; the device takes it, if it comes."""
        own.start()
        phone = await distributor(ROMEO, on=own, resource="phone")
        post = posted(own, f"https://{own.domain}:{own.ports['web']}{path}", b"again")
        if expected == 201:
            assert await phone.take() == b"again"
        assert (await post).status == expected
        await phone.client.leave()
        own.stop()

    before = keys.read_text()
    own.stop()
    await after_restart(201)
    assert keys.read_text() == before

    header, key = before.splitlines()
    created, secret = key.split()
    keys.write_text(f"{header}\n{int(created) - 31 * 86_400} {secret}\n")
    await after_restart(201)
    lines = keys.read_text().splitlines()
    assert len(lines) == 3 and lines[2].endswith(secret) and not lines[1].endswith(secret)
    assert keys.stat().st_mode & 0o777 == 0o600

    keys.unlink()
    await after_restart(404)


async def test_what_is_posted_is_counted_and_nothing_of_it_is_logged(distributor, make_server):
    own = make_server(users=USERS, settings={"log.level": "debug"}).start()
    phone = await distributor(JULIET, on=own)
    endpoint = await phone.endpoint()
    post = posted(own, endpoint, b"secret words")
    await phone.take()
    assert (await post).status == 201
    assert await status(own, endpoint[:-8]) == 404
    for outcome in ("delivered", "unknown"):
        own.becomes(1, "kinglet_push_endpoint_requests_total", outcome=outcome)
    own.becomes(1, "kinglet_push_endpoint_registrations_total", result="registered")
    token = endpoint.rpartition("/")[2]
    assert token[:40] not in own.log.text
    assert token not in own.get("/metrics")[2]
    assert "secret words" not in own.log.text


async def test_the_public_url_has_a_certificate_of_its_own(distributor, make_server, tmp_path):
    """A name beside the domains: what TLS shows depends on the name that is asked for."""
    authority = Authority(tmp_path)
    pair = authority.issue("chat.example.net")
    own = make_server(users=USERS)
    with own.configuration.open("a") as file:
        file.write(
            "\ntls:\n  certificates:\n    - domains: [chat.example.net]\n"
            f"      certificate: {pair.certificate}\n      key: {pair.key}\n")
    own.settings["push.public_url"] = "https://chat.example.net"
    own.start()
    phone = await distributor(ROMEO, on=own)
    path = urlsplit(await phone.endpoint()).path
    trusting = SimpleNamespace(address=own.address, authority=authority.file)
    post = posted(trusting, f"https://chat.example.net:{own.ports['web']}{path}", b"hello")
    assert await phone.take() == b"hello"
    assert (await post).status == 201
