"""slixmpp's component with queues in place of handlers."""

import asyncio

import slixmpp

from waiting import arrives


class StockComponent(slixmpp.ComponentXMPP):
    """A component that answers service discovery, pings and messages."""

    def __init__(self, server, domain, secret):
        super().__init__(domain, secret, server.address, server.ports["component"])
        self.kinglet = server
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        self.plugin["xep_0030"].add_identity(category="gateway", itype="test", name="a bridge")
        self.messages = asyncio.Queue()
        self.stream_errors = asyncio.Queue()
        self.attached = asyncio.Event()
        self.gone = asyncio.Event()
        for name, handler in {
            "message": self._message,
            "message_error": self.messages.put_nowait,
            "session_start": lambda _: self.attached.set(),
            "stream_error": self.stream_errors.put_nowait,
            "disconnected": lambda _: self.gone.set(),
        }.items():
            self.add_event_handler(name, handler)

    def _message(self, message):
        self.messages.put_nowait(message)
        if message["body"].startswith("say "):
            message.reply(message["body"].removeprefix("say ")).send()

    async def attach(self):
        self.attached.clear()
        self.gone.clear()
        self.connect(self.kinglet.address, self.kinglet.ports["component"])
        await arrives(self.attached.wait(), f"{self.boundjid} is attached")
        return self

    async def try_to_attach(self):
        """Connects, and returns when the connection has ended."""
        self.connect(self.kinglet.address, self.kinglet.ports["component"])
        await arrives(self.gone.wait(), f"the end of the connection of {self.boundjid}")

    async def next_message(self):
        return await arrives(self.messages.get(), f"a message for {self.boundjid}")

    async def leave(self):
        self.abort()
