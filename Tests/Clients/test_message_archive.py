"""XEP-0313, XEP-0059, XEP-0359 and XEP-0441 with slixmpp's own implementations of them, XEP-0431
with the form that it lets one fill in."""

import datetime
import xml.etree.ElementTree as ElementTree

import pytest
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from waiting import arrives

PLUGINS = ("xep_0030", "xep_0059", "xep_0308", "xep_0313", "xep_0334", "xep_0359", "xep_0441")
NAMESPACE = "urn:xmpp:mam:2"
FULL_TEXT = "{urn:xmpp:fulltext:0}fulltext"


def archive(client):
    return client.plugin["xep_0313"]


def told(result):
    """The message in a result."""
    return result["mam_result"]["forwarded"]["stanza"]


def bodies(results):
    return [told(result)["body"] for result in results]


def ids(results):
    return [result["mam_result"]["id"] for result in results]


async def pages(client, **options):
    """All that a query finds, page by page, as slixmpp asks for it."""
    found = []
    options.setdefault("rsm", {"max": 3})
    query = archive(client).retrieve(iterator=True, **options)
    while True:
        try:
            page = await arrives(query.next(), "a page")
        except StopAsyncIteration:
            return found
        results = page["mam"]["results"]
        assert 0 < len(results) <= options["rsm"]["max"]
        found.append(results)


async def ask(client, fields=(), rsm=(), flip=False):
    """One query with any fields of the form: its results and the end of it."""
    query, _ = archive(client)._pre_mam_retrieve()
    for name, value in dict(fields).items():
        query["mam"]._setup_form()
        kind = "text-multi" if isinstance(value, list) else None
        query["mam"]["form"].add_field(var=name, ftype=kind, value=value)
    for name, value in dict(rsm).items():
        query["mam"]["rsm"][name] = value
    if flip:
        ElementTree.SubElement(query["mam"].xml, f"{{{NAMESPACE}}}flip-page")
    results = []
    name = f"results of {query['id']}"
    client.register_handler(Callback(name, StanzaPath("message/mam_result"), results.append))
    try:
        answer = await arrives(query.send(), "the end of a query")
    finally:
        client.remove_handler(name)
    assert all(result["mam_result"]["queryid"] == query["id"] for result in results)
    return results, answer["mam_fin"]


async def conversation(connect, person):
    """Juliet, who has said nothing for long, with ten lines between her and Romeo and one to the
    nurse; and all results of her archive."""
    romeo, nurse = await connect(person(), plugins=PLUGINS), await connect(person())
    juliet = await connect(person(), "balcony", plugins=PLUGINS)
    for number in range(10):
        sender, receiver = (juliet, romeo) if number % 2 else (romeo, juliet)
        sender.send_message(mto=receiver.boundjid.bare, mbody=f"line {number}", mtype="chat")
        assert (await receiver.next_message())["body"] == f"line {number}"
    juliet.send_message(mto=nurse.boundjid.bare, mbody="Anon, good nurse", mtype="chat")
    await nurse.next_message()
    everything = [result for page in await pages(juliet) for result in page]
    assert bodies(everything) == [f"line {number}" for number in range(10)] + ["Anon, good nurse"]
    return juliet, romeo, nurse, everything


async def test_the_server_says_that_it_has_archives(connect, person):
    """XEP-0313 section 9 and XEP-0359 section 6: of the account and of its form."""
    client = await connect(person(), plugins=PLUGINS)
    info = await arrives(
        client.plugin["xep_0030"].get_info(jid=client.boundjid.bare), "the account's information")
    assert {
        NAMESPACE, f"{NAMESPACE}#extended", "urn:xmpp:sid:0", "urn:xmpp:fulltext:0",
    } <= set(info["disco_info"]["features"])
    form = await arrives(archive(client).get_fields(), "the form")
    assert {
        "with", "start", "end", "before-id", "after-id", "ids", FULL_TEXT,
    } <= form.get_fields().keys()


@pytest.mark.parametrize("size", [1, 4, 11, 50])
async def test_pages_in_both_directions(connect, person, size):
    """XEP-0059 sections 2.2 and 2.3: each message once, and the same from either end."""
    juliet, _, _, everything = await conversation(connect, person)
    forward = await pages(juliet, rsm={"max": size})
    assert ids([result for page in forward for result in page]) == ids(everything)
    backward = await pages(juliet, reverse=True, rsm={"max": size})
    assert ids([result for page in reversed(backward) for result in page]) == ids(everything)
    assert len(forward) == len(backward) == -(-len(everything) // size)


async def test_one_page_and_what_is_beyond(connect, person):
    """XEP-0059 sections 2.1, 2.5 and 2.7, XEP-0313 sections 4.3 and 4.3.3: the last page, whether
    it is complete, flipped, and the number alone."""
    juliet, _, _, everything = await conversation(connect, person)
    last, end = await ask(juliet, rsm={"max": "4", "before": True})
    assert ids(last) == ids(everything)[-4:]
    assert (end["rsm"]["first"], end["rsm"]["last"]) == (ids(last)[0], ids(last)[-1])
    assert end["complete"] != "true"
    flipped, end = await ask(juliet, rsm={"max": "4", "before": True}, flip=True)
    assert ids(flipped) == ids(last)[::-1]
    assert end["rsm"]["first"] == ids(last)[0]
    _, end = await ask(juliet, rsm={"max": "50"})
    assert end["complete"] == "true"
    none, end = await ask(juliet, rsm={"max": "0"})
    assert (none, end["rsm"]["count"]) == ([], "11")


async def test_with_whom_and_when(connect, person):
    """XEP-0313 sections 4.1.1 and 4.1.2."""
    juliet, romeo, nurse, everything = await conversation(connect, person)

    async def found(**options):
        return bodies([result for page in await pages(juliet, **options) for result in page])

    assert await found(with_jid=nurse.boundjid.bare) == ["Anon, good nurse"]
    assert len(await found(with_jid=romeo.boundjid.bare)) == 10
    assert len(await found(with_jid=romeo.boundjid.full)) == 5, "she wrote to his account"
    assert await found(with_jid="nobody@example.test") == []
    times = [result["mam_result"]["forwarded"]["delay"]["stamp"] for result in everything]
    assert times == sorted(times)
    day = datetime.timedelta(days=1)
    assert len(await found(start=times[0])) == 11
    assert len(await found(end=times[-1])) == 11
    assert await found(start=times[-1] + day) == await found(end=times[0] - day) == []
    assert len(await found(start=times[0] - day, end=times[-1] + day)) == 11


async def test_by_ids(connect, person):
    """XEP-0313 sections 4.1.3 and 4.1.4; of what is not there, item-not-found."""
    juliet, romeo, _, everything = await conversation(connect, person)
    all_ids = ids(everything)
    after, _ = await ask(juliet, {"after-id": all_ids[6]})
    assert ids(after) == all_ids[7:]
    before, _ = await ask(juliet, {"before-id": all_ids[2]})
    assert ids(before) == all_ids[:2]
    between, _ = await ask(juliet, {"after-id": all_ids[2], "before-id": all_ids[5]})
    assert ids(between) == all_ids[3:5]
    some, _ = await ask(juliet, {"ids": [all_ids[1], all_ids[8]]})
    assert ids(some) == [all_ids[1], all_ids[8]]
    for fields in ({"after-id": "nonsense"}, {"ids": [all_ids[0], "nonsense"]}):
        with pytest.raises(IqError) as error:
            await ask(juliet, fields)
        assert error.value.condition == "item-not-found"
    with pytest.raises(IqError) as error:
        await ask(romeo, {"after-id": all_ids[10]})
    assert error.value.condition == "item-not-found", "it is hers"


async def test_metadata(connect, person):
    """XEP-0313 section 5: the ends of the archive."""
    juliet, _, _, everything = await conversation(connect, person)
    answer = await arrives(archive(juliet).get_archive_metadata(), "the metadata")
    start, end = answer["mam_metadata"]["start"], answer["mam_metadata"]["end"]
    assert (start["id"], end["id"]) == (ids(everything)[0], ids(everything)[-1])
    times = [result["mam_result"]["forwarded"]["delay"]["stamp"] for result in everything]
    assert (start["timestamp"], end["timestamp"]) == (times[0], times[-1])


async def test_the_id_of_a_message_is_that_of_its_archive(connect, person):
    """XEP-0359 section 4, XEP-0313 section 3.1: live, offline and in the archive the same; what
    claims to be one is gone."""
    romeo, away = await connect(person(), plugins=PLUGINS), person()
    juliet = await connect(away, plugins=PLUGINS)
    message = romeo.make_message(mto=away.jid, mbody="But soft", mtype="chat")
    message["stanza_id"]["by"] = away.jid
    message["stanza_id"]["id"] = "forged"
    message.send()
    live = await juliet.next_message()
    assert live["stanza_id"]["by"] == away.jid
    assert len(live.xml.findall("{urn:xmpp:sid:0}stanza-id")) == 1
    await juliet.leave()
    romeo.send_message(mto=away.jid, mbody="What light", mtype="chat")
    await romeo.settled()
    juliet = await connect(away, plugins=PLUGINS)
    late = await juliet.next_message()
    results, _ = await ask(juliet)
    assert bodies(results) == ["But soft", "What light"]
    assert ids(results) == [live["stanza_id"]["id"], late["stanza_id"]["id"]]
    sent, _ = await ask(romeo)
    assert bodies(sent) == bodies(results)
    # The owner knows it by the result; nobody else's is told to him.
    assert all(
        told(result).xml.find("{urn:xmpp:sid:0}stanza-id") is None for result in [*sent])


async def test_hints_are_obeyed(connect, person):
    """XEP-0334 section 4."""
    romeo, juliet = await connect(person(), plugins=PLUGINS), await connect(
        person(), plugins=PLUGINS)
    for hint in ("no-store", "no-permanent-store", "store"):
        message = romeo.make_message(mto=juliet.boundjid.bare, mbody=hint, mtype="chat")
        message.enable(hint)
        message.send()
        assert (await juliet.next_message())["body"] == hint
    for client in (romeo, juliet):
        assert bodies((await ask(client))[0]) == ["store"]


async def test_preferences(connect, person):
    """XEP-0441 sections 2 and 3: default, always and never, each for oneself."""
    romeo, nurse = await connect(person(), plugins=PLUGINS), await connect(person())
    juliet = await connect(person(), plugins=PLUGINS)
    settings = juliet.plugin["xep_0441"]
    assert await arrives(settings.get_preferences(), "preferences") == ("always", set(), set())
    await arrives(
        settings.set_preferences("never", [nurse.boundjid.bare], [romeo.boundjid.bare]),
        "the answer")
    assert await arrives(settings.get_preferences(), "preferences") == (
        "never", {nurse.boundjid.bare}, {romeo.boundjid.bare})
    for sender in (romeo, nurse):
        sender.send_message(mto=juliet.boundjid.bare, mbody="Juliet", mtype="chat")
        await juliet.next_message()
    results, _ = await ask(juliet)
    assert [told(result)["from"] for result in results] == [nurse.boundjid]
    assert len((await ask(romeo))[0]) == 1, "his own choice"


async def test_words_are_found(connect, person):
    """XEP-0431: in what has just been said, with pages and together with other fields."""
    juliet, romeo, nurse, _ = await conversation(connect, person)

    async def found(words, rsm=(), **fields):
        return bodies((await ask(juliet, {FULL_TEXT: words, **fields}, rsm))[0])

    assert await found("NURSE") == ["Anon, good nurse"]
    assert await found("good anon") == ["Anon, good nurse"]
    assert len(await found("line")) == 10
    assert await found("line", {"max": "2", "before": True}) == ["line 8", "line 9"]
    assert await found("line", **{"with": nurse.boundjid.bare}) == []
    assert await found("nonesuch") == []
    assert bodies((await ask(romeo, {FULL_TEXT: "nurse"}))[0]) == [], "it is not his"


async def test_nobody_reads_somebody_elses(connect, person):
    """XEP-0313 section 10."""
    juliet, romeo, _, _ = await conversation(connect, person)
    for request in (
        archive(romeo).retrieve(jid=juliet.boundjid.bare),
        archive(romeo).get_archive_metadata(jid=juliet.boundjid.bare),
    ):
        with pytest.raises(IqError) as error:
            await arrives(request, "an error")
        assert error.value.condition == "forbidden"


async def test_what_was_fetched_does_not_come_again(connect, person):
    """XEP-0313 section 6.1.1: one who reads the archive first gets only the rest from the offline
    store."""
    romeo, away = await connect(person(), plugins=PLUGINS), person()
    for number in range(4):
        romeo.send_message(mto=away.jid, mbody=f"line {number}", mtype="chat")
    # What one has sent before one asks is in the archive.
    assert len((await ask(romeo))[0]) == 4
    juliet = await connect(away, online=False, plugins=PLUGINS)
    results, _ = await ask(juliet, rsm={"max": "3"})
    assert bodies(results) == ["line 0", "line 1", "line 2"]
    juliet.send_presence()
    await juliet.hears("line 3")
