"""Messages between two clients that are online (RFC 6121 sections 5 and 8)."""

import asyncio

import pytest

from people import Person
from waiting import arrives

EMOJI = "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳 \N{PILE OF POO} é e\u0301 مرحبا 日本語 \U0010FFFD"


async def test_messages_go_both_ways(connect, server, person):
    """RFC 6121 section 5.2: what is said arrives as it was said, from the full JID that said it;
    and it is counted and timed."""
    before = server.metric("kinglet_message_delivery_seconds_count")
    romeo, juliet = await connect(person(), "orchard"), await connect(person(), "balcony")
    romeo.send_message(mto=juliet.boundjid.bare, mbody="Neither, fair saint", mtype="chat")
    heard = await juliet.next_message()
    assert (heard["body"], heard["type"]) == ("Neither, fair saint", "chat")
    assert heard["from"] == romeo.boundjid
    heard.reply("How camest thou hither?").send()
    answer = await romeo.next_message()
    assert answer["body"] == "How camest thou hither?"
    assert answer["from"] == juliet.boundjid
    await juliet.settled()
    assert server.metric("kinglet_message_delivery_seconds_count") >= before + 2


async def test_order_is_kept(connect, person):
    """RFC 6120 section 10.1: what one client sends to another arrives in order."""
    romeo, juliet = await connect(person()), await connect(person())
    sent = [f"line {number}" for number in range(200)]
    for line in sent:
        romeo.send_message(mto=juliet.boundjid.bare, mbody=line)
    assert [(await juliet.next_message())["body"] for _ in sent] == sent


@pytest.mark.parametrize(
    "body",
    [
        "x" * 5000,
        "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich. " * 90,
        EMOJI,
        EMOJI * 200,
        "<message to='&amp;'>]]> \"quoted\" &#x0;</message>",
        "line one\nline two\tand a tab",
    ],
    ids=["5000", "5000_umlauts", "emoji", "much_emoji", "markup", "whitespace"],
)
async def test_bodies_arrive_unchanged(connect, person, body):
    """RFC 6121 section 5.2.3: long texts, every plane of Unicode, and markup as text."""
    romeo, juliet = await connect(person()), await connect(person())
    romeo.send_message(mto=juliet.boundjid, mbody=body)
    assert (await juliet.next_message())["body"] == body


async def test_a_stanza_close_to_the_limit_arrives(connect, person):
    """RFC 6120 section 13.12: 256 KiB are allowed, and go through many TLS records."""
    romeo, juliet = await connect(person()), await connect(person())
    body = "0123456789abcde\n" * 16_000
    romeo.send_message(mto=juliet.boundjid, mbody=body)
    assert (await juliet.next_message())["body"] == body


async def test_both_resources_get_what_goes_to_the_account(connect, person):
    """RFC 6121 section 8.5.2.1.1: of equal priority, both; a full JID is for one alone (section
    8.5.3.1)."""
    romeo, juliet = await connect(person()), person()
    balcony, chamber = await connect(juliet, "balcony"), await connect(juliet, "chamber")
    romeo.send_message(mto=juliet.jid, mbody="to all")
    assert (await balcony.next_message())["body"] == "to all"
    assert (await chamber.next_message())["body"] == "to all"
    romeo.send_message(mto=chamber.boundjid, mbody="to one")
    assert (await chamber.next_message())["body"] == "to one"
    await romeo.settled()
    await balcony.settled()
    assert balcony.messages.empty()


async def test_a_negative_priority_takes_no_messages(connect, person):
    """RFC 6121 section 8.5.2.1.1: such a resource is left out."""
    romeo, juliet = await connect(person()), person()
    chamber = await connect(juliet, "chamber", online=False)
    await chamber.come_online(priority=-1)
    balcony = await connect(juliet, "balcony")
    romeo.send_message(mto=juliet.jid, mbody="to who listens")
    assert (await balcony.next_message())["body"] == "to who listens"
    await chamber.settled()
    assert chamber.messages.empty()


@pytest.mark.parametrize("name", ["nobody", "nobody/anywhere"])
async def test_a_message_to_an_unknown_user_comes_back(connect, server, person, name):
    """RFC 6121 section 8.5.1: service-unavailable, from the address that was meant."""
    romeo = await connect(person())
    local, _, resource = name.partition("/")
    to = f"{local}@{server.domain}" + (f"/{resource}" if resource else "")
    romeo.send_message(mto=to, mbody="is anybody there?", mtype="chat")
    error = await romeo.next_message()
    assert error["type"] == "error"
    assert error["error"]["condition"] == "service-unavailable"
    assert error["from"] == to


async def test_a_domain_elsewhere_cannot_be_reached(connect, person):
    """RFC 6120 section 10.4: without federation, remote-server-not-found."""
    romeo = await connect(person())
    romeo.send_message(mto="juliet@elsewhere.test", mbody="hello?")
    error = await romeo.next_message()
    assert error["error"]["condition"] == "remote-server-not-found"


async def test_domains_of_one_server_reach_each_other(connect, server, person):
    """RFC 6120 section 10.5: both domains are local."""
    server.add_user("ursel@münchen.test", "Servus Ursel")
    romeo = await connect(person())
    ursel = await connect(Person("ursel", "münchen.test", "Servus Ursel"))
    romeo.send_message(mto="ursel@münchen.test", mbody="hin")
    assert (await ursel.next_message())["body"] == "hin"
    ursel.send_message(mto=romeo.boundjid.bare, mbody="her")
    assert (await romeo.next_message())["body"] == "her"


async def test_many_chat_at_once(connect, person):
    """RFC 6120 section 10.1: conversations on different event loops do not mix."""
    pairs = [(await connect(person()), await connect(person())) for _ in range(4)]

    async def converse(number, romeo, juliet):
        for turn in range(20):
            romeo.send_message(mto=juliet.boundjid, mbody=f"{number}.{turn}")
            assert (await juliet.next_message())["body"] == f"{number}.{turn}"
            juliet.send_message(mto=romeo.boundjid, mbody=f"{turn}.{number}")
            assert (await romeo.next_message())["body"] == f"{turn}.{number}"

    await arrives(
        asyncio.gather(*(converse(number, *pair) for number, pair in enumerate(pairs))),
        "all conversations", timeout=30)
