"""What people on two servers do with each other, whatever servers these are: the same for Kinglet
with itself, with Prosody and with ejabberd, and for those with each other.

The first stanza is of the first server's person, so that server opens the first stream.
"""

import asyncio
import contextlib
import itertools

from correspondent import Correspondent
from waiting import LONG, arrives

MESSAGES = 10
# TCP may try again that late after a link is back; and servers wait before they connect again.
RECOVERY = 45


class Dialogue:
    """Romeo is the first server's first person, Juliet the second's."""

    def __init__(self, network, first, second):
        self.network = network
        self.servers = (first, second)
        self.people = (first.people[0], second.people[0])
        self.clients = [None, None]
        self._ledgers = ([], [])
        self._numbers = itertools.count(1)
        self._all = []

    @property
    def romeo(self):
        return self.clients[0]

    @property
    def juliet(self):
        return self.clients[1]

    @property
    def pairs(self):
        """Who speaks and who listens, both ways."""
        return [(self.romeo, self.juliet), (self.juliet, self.romeo)]

    async def __aenter__(self):
        for side in (0, 1):
            await self.log_in(side)
        return self

    async def __aexit__(self, *_):
        for client in self._all:
            with contextlib.suppress(AssertionError, ConnectionError):
                await client.leave()

    async def log_in(self, side):
        client = Correspondent(
            self.servers[side], self.people[side], ledger=self._ledgers[side])
        self._all.append(client)
        await client.log_in()
        self.clients[side] = client
        await client.come_online()

    def identifiers(self, count=MESSAGES):
        return [f"message-{next(self._numbers)}" for _ in range(count)]

    # What they do

    async def messages(self, timeout=LONG):
        """RFC 6120 section 10.1: what one sends to another arrives in order; once."""
        for speaker, listener in self.pairs:
            said = self.identifiers()
            speaker.say(listener.person.jid, *said)
            heard = await listener.gets_messages(speaker.person.jid, *said, timeout=timeout)
            assert {str(message["from"]) for message in heard} == {str(speaker.boundjid)}

    async def queries(self):
        """Of servers and of clients on them (RFC 6120 section 8.2.3, XEP-0030, 0092, 0199)."""
        for asker, asked in self.pairs:
            domain = asked.boundjid.domain
            information = await arrives(
                asker.plugin["xep_0030"].get_info(jid=domain, cached=False),
                f"disco#info of {domain}")
            kinds = {identity[0] for identity in information["disco_info"]["identities"]}
            assert "server" in kinds, information
            version = await arrives(
                asker.plugin["xep_0092"].get_version(domain), f"the version of {domain}")
            assert version["software_version"]["name"], version
            for jid in (domain, asked.boundjid):
                await arrives(asker.plugin["xep_0199"].send_ping(jid), f"a ping of {jid}")

    async def subscriptions(self):
        """RFC 6121 section 3.1: each asks once, and is let in."""
        for asker, asked in self.pairs:
            asker.send_presence_subscription(pto=asked.person.jid, ptype="subscribe")
            await asked.gets_presence("subscribe", asker.person.jid)
            asked.send_presence_subscription(pto=asker.person.jid, ptype="subscribed")
            await asker.gets_presence("subscribed", asked.person.jid)
            shown = await asker.gets_presence("available", asked.person.jid)
            assert shown["from"] == asked.boundjid
        for owner, contact in self.pairs:
            await owner.settled()
            item = owner.client_roster[contact.person.jid]
            assert (item["subscription"], item["pending_out"]) == ("both", False), item

    async def presence(self):
        """RFC 6121 sections 4.4, 4.5 and 4.2: who changes, goes and comes is seen to."""
        for shown, watcher in self.pairs:
            shown.send_presence(pshow="away")
            await watcher.gets_presence("away", shown.person.jid)
            shown.send_presence(ptype="unavailable")
            await watcher.gets_presence("unavailable", shown.person.jid)
            shown.send_presence()
            await watcher.gets_presence("available", shown.person.jid)
            # The probe's answer.
            await shown.gets_presence("available", watcher.person.jid)

    async def offline_messages(self):
        """XEP-0160: what is sent to who is away waits, and says since when (XEP-0203)."""
        for side in (1, 0):
            stays, leaves = self.clients[1 - side], self.clients[side]
            await leaves.leave()
            await stays.gets_presence("unavailable", leaves.person.jid)
            said = self.identifiers()
            stays.say(leaves.person.jid, *said)
            # On the way of the messages, and after them, so they are kept by now.
            with contextlib.suppress(Exception):
                await stays.plugin["xep_0030"].get_info(
                    jid=leaves.person.jid, cached=False, timeout=LONG)
            await self.log_in(side)
            heard = await self.clients[side].gets_messages(stays.person.jid, *said)
            for message in heard:
                assert message["delay"]["stamp"], message
            await self._meet_again(side)

    async def _meet_again(self, side):
        """Somebody who comes back sees the other, and is seen (RFC 6121 section 4.3)."""
        came, stayed = self.clients[side], self.clients[1 - side]
        await came.gets_presence("available", stayed.person.jid, timeout=RECOVERY)
        await stayed.gets_presence("available", came.person.jid, timeout=RECOVERY)

    async def after_kill(self, side):
        """A server is killed and started again: everybody meets again, and talks. What a server
        with a queue has taken meanwhile arrives (`keeps_messages`)."""
        victim, survivor = self.servers[side], self.servers[1 - side]
        stays = self.clients[1 - side]
        gone = self.clients[side]
        victim.kill()
        await arrives(gone.gone.wait(), f"the end of {gone.boundjid}'s connection")
        said = self.identifiers() if survivor.keeps_messages else []
        stays.say(gone.person.jid, *said)
        await stays.acknowledged()
        victim.start()
        await asyncio.to_thread(victim.wait_until_ready)
        # ejabberd loses the order of what comes just when somebody logs in.
        if said:
            await asyncio.to_thread(survivor.hand_over)
        await self.log_in(side)
        if said:
            await self.clients[side].gets_messages(stays.person.jid, *said, timeout=RECOVERY)
        await self._meet_again(side)
        await self.messages()

    async def after_both_were_killed(self, side):
        """What a server with a queue has taken for one that is gone outlives its own end, too."""
        sender, receiver = self.servers[side], self.servers[1 - side]
        said = self.identifiers()
        receiver.kill()
        self.clients[side].say(self.people[1 - side].jid, *said)
        await self.clients[side].acknowledged()
        sender.kill()
        for client in self.clients:
            await arrives(client.gone.wait(), f"the end of {client.boundjid}'s connection")
        for server in self.servers:
            server.start()
        for server in self.servers:
            await asyncio.to_thread(server.wait_until_ready)
        await asyncio.to_thread(sender.hand_over)
        await self.log_in(1 - side)
        await self.clients[1 - side].gets_messages(
            self.people[side].jid, *said, timeout=RECOVERY)
        await self.log_in(side)
        await self._meet_again(side)

    async def through_loss(self, seconds):
        """The link drops all packets for a while, in which both speak: nothing is lost."""
        hosts = [server.host for server in self.servers]
        pairs = self.pairs
        said = [self.identifiers(), self.identifiers()]
        self.network.cut(*hosts)
        try:
            for step in range(MESSAGES):
                for (speaker, listener), identifiers in zip(pairs, said):
                    speaker.say(listener.person.jid, identifiers[step])
                # The outage itself: it is time that is tested.
                await asyncio.sleep(seconds / MESSAGES)
        finally:
            self.network.mend(*hosts)
        for (speaker, listener), identifiers in zip(pairs, said):
            await listener.gets_messages(speaker.person.jid, *identifiers, timeout=RECOVERY)
        await self.messages()

    def assert_nothing_twice(self):
        for person, ledger in zip(self.people, self._ledgers):
            twice = {one for one in ledger if ledger.count(one) > 1}
            assert not twice, f"{person.jid} got {twice} twice"


async def converse(network, first, second, outage=10):
    """All of it, in one life of two servers."""
    async with Dialogue(network, first, second) as dialogue:
        await dialogue.messages()
        await dialogue.queries()
        await dialogue.subscriptions()
        await dialogue.presence()
        await dialogue.offline_messages()
        for side in (1, 0):
            await dialogue.after_kill(side)
            await dialogue.queries()
            await dialogue.presence()
        for side, server in enumerate((first, second)):
            if server.keeps_messages:
                await dialogue.after_both_were_killed(side)
        await dialogue.through_loss(outage)
        await dialogue.queries()
        dialogue.assert_nothing_twice()
