"""Two devices of one user and one of another, by slixmpp: at the end all have the same history."""

import signal

from device import Device, conversation
from people import JULIET, ROMEO, USERS
from test_roster import befriend


async def test_the_same_history_everywhere(connect, make_server):
    """A conversation with copies, corrections, reactions and reads, with a device that sleeps, one
    that loses its connection, one that is away, all away, and a restart of the server. Each device
    has what came live, in copies, by resumption and from the archive since its last message; all
    of them the same in the same order, nothing twice, and so has one that comes new."""
    server = make_server(users=USERS).start()
    laptop = Device(connect, server, ROMEO, "laptop")
    phone = Device(connect, server, JULIET, "phone")
    tablet = Device(connect, server, JULIET, "tablet")
    everybody = (laptop, phone, tablet)
    for device in (laptop, phone):
        await device.arrive()
    await befriend(laptop.client, phone.client)
    await tablet.arrive()
    romeo, juliet = ROMEO.jid, JULIET.jid

    async def all_have(*ids, of=everybody):
        for device in of:
            await device.has(*ids)

    # Everybody is there: to the account, from one device, to one device.
    laptop.compose(juliet)
    first = laptop.say(juliet, "But soft, what light?")
    await all_have(first)
    second = phone.say(romeo, "Ay me")
    await all_have(second)
    third = laptop.say(phone.client.boundjid, "She speaks")
    await all_have(third)

    # The phone sleeps while they go on on the tablet; a correction wakes it.
    phone.client.plugin["xep_0352"].send_inactive()
    await phone.client.settled()
    seen = tablet.read(romeo, third)
    fourth = tablet.say(romeo, "Wherefore art thou Romeo?")
    laptop.compose(juliet)
    await all_have(seen, fourth, of=(laptop, tablet))
    assert fourth not in {entry.id for entry in phone.entries}, "it waits"
    await all_have(laptop.correct(juliet, third, "She speaks!"))
    assert server.metric("kinglet_csi_held_total") >= 2

    # It sleeps again, and loses its connection with what waits for it and what it is sent.
    liked = tablet.react(romeo, first, "❤️")
    await all_have(liked, of=(laptop, tablet))
    phone.client.cut()
    fifth = laptop.say(juliet, "Call me but love")
    await all_have(fifth, of=(laptop, tablet))
    sixth = tablet.reply(romeo, fifth, "What man art thou?")
    await all_have(sixth, of=(laptop, tablet))
    assert await phone.client.come_back(), "resumed"
    await all_have(liked, fifth, sixth)

    # The tablet is away; the phone's connection breaks as it sends.
    await tablet.leave()
    seventh = laptop.say(juliet, "By a name I know not")
    await all_have(seventh, of=(laptop, phone))
    phone.client.cut_with_next_message()
    seen = phone.read(romeo, seventh)
    assert await phone.client.come_back(), "resumed"
    await laptop.has(seen)
    changed = laptop.react(juliet, second, "🙂")
    await all_have(seen, changed, of=(laptop, phone))

    # All of hers are away: what comes waits, and the phone reads it from the archive first.
    await phone.leave()
    eighth = laptop.say(juliet, "A mistake")
    gone = laptop.retract(juliet, eighth)
    ninth = laptop.say(juliet, "With love's light wings")
    changed = laptop.react(juliet, second)
    await laptop.stored()
    server.becomes(4, "kinglet_offline_messages")
    await phone.arrive()
    await all_have(eighth, gone, ninth, changed, of=(laptop, phone))
    server.becomes(0, "kinglet_offline_messages")

    # The server is restarted between two messages.
    seen = phone.read(romeo, ninth)
    await laptop.has(seen)
    tenth = laptop.say(juliet, "Wilt thou leave me?")
    await laptop.stored()
    server.signal(signal.SIGTERM)
    for device in (laptop, phone):
        assert (await device.client.next_stream_error())["condition"] == "system-shutdown"
    assert server.wait() == 0
    server.process = None
    server.start()
    assert await laptop.client.come_back(on=server), "resumed"
    eleventh = laptop.say(juliet, "So unsatisfied?")
    assert await phone.client.come_back(on=server), "resumed"
    await all_have(tenth, eleventh, of=(laptop, phone))

    # The tablet comes back after all that, and has the last word.
    await tablet.arrive()
    await all_have(eleventh)
    twelfth = tablet.say(romeo, "What satisfaction?")
    await all_have(twelfth)
    await all_have(
        laptop.read(juliet, twelfth), laptop.correct(juliet, eleventh, "O, so unsatisfied?"))

    # One that comes new reads everything from the archive.
    for device in everybody:
        await device.stored()
        await device.client.settled()
    new, his = Device(connect, server, JULIET, "new"), Device(connect, server, ROMEO, "new")
    for device in (new, his):
        await device.arrive()
    assert new.entries == his.entries
    assert len({entry.id for entry in new.entries}) == len(new.entries) == 22
    archive_ids = dict(new.log)
    for device in everybody:
        assert device.entries == new.entries, f"{device.person.name}'s {device.name}"
        assert all(known in (None, archive_ids[entry]) for entry, known in device.log)
        assert conversation(device.entries) == conversation(new.entries)
    told = conversation(new.entries)
    assert told[third]["text"] == "She speaks!" and told[third]["read"] == {juliet}
    assert told[first]["reactions"] == {juliet: "❤️"}
    assert told[second]["reactions"] == {romeo: ""} and told[eighth]["text"] is None
    assert list(told.values())[-1]["read"] == {romeo}
    await new.client.settled()
    server.becomes(0, "kinglet_offline_messages")
