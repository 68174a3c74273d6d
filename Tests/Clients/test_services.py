"""What the server answers: discovery, capabilities, ping, version, time, last activity, and what
it does not know."""

import asyncio
import re
from datetime import datetime, timezone

import pytest
from slixmpp.exceptions import IqError

from kinglet import run
from people import ROMEO, USERS
from waiting import LONG, arrives, eventually


async def test_the_server_lists_what_it_does(connect, server, person):
    """XEP-0030 section 3: identity and features of the server."""
    client = await connect(person())
    info = await arrives(
        client.plugin["xep_0030"].get_info(jid=server.domain), "the server's information")
    identities = {identity[:2] for identity in info["disco_info"]["identities"]}
    assert ("server", "im") in identities
    assert {
        "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
        "jabber:iq:version", "jabber:iq:register", "urn:xmpp:ping",
        "msgoffline",
    } <= set(info["disco_info"]["features"])
    items = await arrives(
        client.plugin["xep_0030"].get_items(jid=server.domain), "the server's items")
    assert {item[0] for item in items["disco_items"]["items"]} == {
        f"push.{domain}" for domain in server.domains}


async def test_an_account_describes_itself(connect, person):
    """XEP-0030 section 3.1: account/registered."""
    client = await connect(person())
    info = await arrives(
        client.plugin["xep_0030"].get_info(jid=client.boundjid.bare), "the account's information")
    assert ("account", "registered") in {
        identity[:2] for identity in info["disco_info"]["identities"]}


async def test_a_stranger_learns_nothing(connect, server, person):
    """XEP-0030 section 8: an account that exists and one that does not look the same."""
    client, juliet = await connect(person()), person()
    conditions = set()
    for jid in (juliet.jid, f"nobody@{server.domain}"):
        with pytest.raises(IqError) as error:
            await arrives(client.plugin["xep_0030"].get_info(jid=jid), f"the answer of {jid}")
        conditions.add(error.value.condition)
    assert conditions == {"service-unavailable"}


async def test_clients_answer_each_other(connect, person):
    """RFC 6121 section 8.5.3.1: an IQ to a full JID is for that client."""
    romeo, juliet = await connect(person()), await connect(person())
    answer = await arrives(
        romeo.plugin["xep_0199"].ping(juliet.boundjid), "the answer of the other client")
    assert answer >= 0
    gone = juliet.boundjid.bare + "/nowhere"
    with pytest.raises(IqError) as error:
        await arrives(romeo.plugin["xep_0199"].send_ping(gone), "the answer of nobody")
    assert error.value.condition == "service-unavailable"


async def test_the_server_answers_a_ping(connect, server, person):
    """XEP-0199 section 4.2: for itself and for one's own account."""
    client = await connect(person())
    for jid in (server.domain, client.boundjid.bare):
        answer = await arrives(client.plugin["xep_0199"].send_ping(jid), f"the pong of {jid}")
        assert answer["type"] == "result"


async def test_the_server_tells_its_version(connect, server, person):
    """XEP-0092 section 3: the version that the program prints."""
    client = await connect(person())
    answer = await arrives(
        client.plugin["xep_0092"].get_version(server.domain), "the server's version")
    assert answer["software_version"]["name"] == "Kinglet"
    printed = run("--version").stdout.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", printed)
    assert answer["software_version"]["version"] == printed


async def test_an_unknown_request_is_refused(connect, server, person):
    """RFC 6120 section 8.4: service-unavailable."""
    client = await connect(person())
    iq = client.make_iq_get(queryxmlns="urn:example:unknown", ito=server.domain)
    with pytest.raises(IqError) as error:
        await arrives(iq.send(), "an answer")
    assert error.value.condition == "service-unavailable"


async def test_slixmpp_trusts_the_capabilities(connect, make_server):
    """XEP-0115 section 5.4: its own hash of the answer is the offered one, forms included."""
    own = make_server(users=USERS, settings={
        "features.contact.abuse": "mailto:abuse@example.test",
        "features.contact.admin": "[xmpp:b@example.test,xmpp:a@example.test]"})
    own.start()
    client = await connect(ROMEO, on=own, plugins=("xep_0115",))
    capabilities = client.plugin["xep_0115"]
    # It keeps a hash only when it has computed the same.
    version = await asyncio.to_thread(
        eventually, lambda: capabilities.static.jid_vers.get(own.domain), "slixmpp's verdict")
    known = await arrives(capabilities.get_caps(verstring=version), "what the hash stands for")
    assert "http://jabber.org/protocol/caps" in known["features"]
    forms = known["substanzas"]
    assert [form["values"]["admin-addresses"] for form in forms] == [
        ["xmpp:b@example.test", "xmpp:a@example.test"]]


async def test_the_server_tells_the_time(connect, server, person):
    """XEP-0202 section 2: UTC to the second."""
    client = await connect(person(), plugins=("xep_0202",))
    answer = await arrives(
        client.plugin["xep_0202"].get_entity_time(server.domain), "the server's time")
    # As text: slixmpp's own readers of both understand no XEP-0082.
    text = {child.tag.split("}")[1]: child.text for child in answer["entity_time"].xml}
    utc = datetime.strptime(text["utc"], "%Y-%m-%dT%H:%M:%S%z")
    assert abs((utc - datetime.now(timezone.utc)).total_seconds()) < LONG
    assert re.fullmatch(r"[+-]\d\d:\d\d", text["tzo"])


async def test_last_activity(connect, server, person):
    """XEP-0012 sections 3 and 5: of the server, a contact who left, and a stranger."""
    romeo = await connect(person(), plugins=("xep_0012",))
    juliet = await connect(person())
    get = romeo.plugin["xep_0012"].get_last_activity

    async def seconds(jid):
        return (await arrives(get(jid), f"{jid}'s last activity"))["last_activity"]["seconds"]

    assert await seconds(server.domain) >= 0
    for jid in (juliet.boundjid.bare, f"nobody@{server.domain}"):
        with pytest.raises(IqError) as error:
            await seconds(jid)
        assert error.value.condition == "forbidden"
    romeo.send_presence_subscription(juliet.boundjid.bare)
    request = await juliet.next_request()
    juliet.send_presence_subscription(request["from"], ptype="subscribed")
    await romeo.presence_from(juliet.boundjid.bare)
    assert await seconds(juliet.boundjid.bare) == 0
    await juliet.leave()
    while (await romeo.presence_from(juliet.boundjid.bare))["type"] != "unavailable":
        pass
    assert 0 <= await seconds(juliet.boundjid.bare) < LONG
