"""XEP-0198 with slixmpp's own implementation of it."""

import asyncio

from waiting import arrives


async def test_a_stock_client_learns_what_the_server_has(connect, person):
    """Sections 3 and 4: it enables, and each message that waits for its receiver is acknowledged
    once it is stored."""
    away = person()
    client = await connect(person(), plugins=("xep_0198",))
    acknowledged = asyncio.Queue()
    client.add_event_handler("stanza_acked", acknowledged.put_nowait)
    management = client.plugin["xep_0198"]
    assert client.features & {"stream_management"}
    assert management.enabled_in
    for number in range(20):
        client.send_message(away.jid, f"message {number}", mtype="chat")
    bodies = []
    while len(bodies) < 20:
        management.request_ack()
        stanza = await arrives(acknowledged.get(), "the next acknowledgement")
        if stanza.name == "message":
            bodies.append(stanza["body"])
    assert bodies == [f"message {number}" for number in range(20)]

    receiver = await connect(away)
    for number in range(20):
        message = await arrives(receiver.messages.get(), "a message that waited")
        assert message["body"] == f"message {number}"
