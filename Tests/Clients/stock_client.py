"""slixmpp with queues in place of handlers, so that a test reads in the order of events."""

import asyncio
import ssl

import slixmpp

from waiting import arrives


class LoginRefused(Exception):
    """The server did not let the client in; the argument lists the SASL conditions."""


class StockClient(slixmpp.ClientXMPP):
    """A client that trusts the server's own authority and nothing else."""

    def __init__(
        self, server, jid, password, resource=None, mechanism=None, direct_tls=False,
        tls_version=None, plugins=(),
    ):
        context = ssl.create_default_context(cafile=str(server.authority))
        if tls_version is not None:
            context.minimum_version = context.maximum_version = tls_version
        full = f"{jid}/{resource}" if resource else jid
        super().__init__(full, password, sasl_mech=mechanism, ssl_context=context)
        self.enable_direct_tls = direct_tls
        self.enable_starttls = not direct_tls
        self.address = (server.address, server.ports["client_tls" if direct_tls else "client"])
        for plugin in ("xep_0030", "xep_0092", "xep_0199", "xep_0203", *plugins):
            self.register_plugin(plugin)
        self.messages = asyncio.Queue()
        self.presences = asyncio.Queue()
        self.requests = asyncio.Queue()
        self.pushes = asyncio.Queue()
        self.stream_errors = asyncio.Queue()
        self.refusals = []
        self.offered_mechanisms = set()
        self.used_mechanism = None
        self.negotiated_tls = None
        self._login = asyncio.get_running_loop().create_future()
        self._return = None
        self.gone = asyncio.Event()
        self.auto_authorize = None
        self.auto_subscribe = False
        for name, handler in {
            "message": self.messages.put_nowait,
            "message_error": self.messages.put_nowait,
            "presence": self._presence,
            "roster_update": self._roster,
            "stream_error": self.stream_errors.put_nowait,
            "session_start": self._started,
            "session_resumed": lambda _: self._returned(True),
            "failed_auth": lambda failure: self.refusals.append(failure["condition"]),
            "failed_all_auth": self._refused,
            "disconnected": self._disconnected,
        }.items():
            self.add_event_handler(name, handler)

    # Events

    def _presence(self, presence):
        if presence["type"] == "subscribe":
            self.requests.put_nowait(presence)
        else:
            self.presences.put_nowait(presence)

    def _roster(self, iq):
        if iq["type"] == "set":
            self.pushes.put_nowait(iq["roster"]["items"])

    def _started(self, _):
        self.negotiated_tls = self.socket.version()
        self.used_mechanism = self.plugin["feature_mechanisms"].mech.name
        self.offered_mechanisms = set(self.plugin["feature_mechanisms"].mech_list)
        self._settle(None)
        self._returned(False)

    def _returned(self, is_resumed):
        if self._return is not None and not self._return.done():
            self._return.set_result(is_resumed)

    def _refused(self, _):
        self._settle(LoginRefused(*self.refusals))

    def _disconnected(self, reason):
        self._settle(
            reason if isinstance(reason, Exception)
            else ConnectionError(f"disconnected before the login was done: {reason}"))
        self.gone.set()

    def _settle(self, error):
        if self._login.done():
            return
        if error is None:
            self._login.set_result(None)
        else:
            self._login.set_exception(error)

    # What a person does

    async def log_in(self):
        self.connect(*self.address)
        await arrives(self._login, f"login of {self.boundjid}")

    async def come_online(self, priority=None):
        """Fetches the roster and shows presence, as every client does."""
        await arrives(self.get_roster(), "the roster")
        self.send_presence(ppriority=priority)
        own = await self.next_presence()
        assert own["from"] == self.boundjid

    async def next_message(self):
        return await arrives(self.messages.get(), f"a message for {self.boundjid}")

    async def next_presence(self):
        return await arrives(self.presences.get(), f"a presence for {self.boundjid}")

    async def presence_from(self, jid):
        """The next presence of a contact, passing over those of others."""
        while True:
            presence = await self.next_presence()
            if presence["from"].bare == jid:
                return presence

    async def next_request(self):
        return await arrives(self.requests.get(), f"a subscription request for {self.boundjid}")

    async def next_push(self):
        return await arrives(self.pushes.get(), f"a roster push for {self.boundjid}")

    async def next_stream_error(self):
        return await arrives(self.stream_errors.get(), f"a stream error for {self.boundjid}")

    async def settled(self):
        """Everything that was sent to this client before now has arrived.

        The answer to a ping comes after it on the same stream (RFC 6120 section 10.1).
        """
        ping = self.plugin["xep_0199"].send_ping(self.boundjid.domain)
        await arrives(ping, "the answer to a ping")

    async def leave(self):
        """Closes the stream, if there is one."""
        self._settle(ConnectionError("left"))
        if not self._login.cancelled():
            self._login.exception()
        self.cancel_connection_attempt()
        if self.is_connected():
            # What is not acknowledged when a session ends goes to the next one (XEP-0198).
            if (management := self.plugin.get("xep_0198", None)) and management.enabled_in:
                management.send_ack()
            self.gone.clear()
            self.disconnect(wait=1)
            await arrives(self.gone.wait(), f"the end of {self.boundjid}'s stream")
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()

    def cut(self):
        """Drops the TCP connection without a word."""
        self.transport.abort()

    def cut_with_next_message(self):
        """Drops the connection as the next message goes out, which xep_0198 has counted by then;
        one that is still in slixmpp's queue when the connection ends would be lost."""

        def cut(stanza):
            if stanza.name == "message":
                self.del_filter("out_sync", cut)
                self.cut()
            return stanza

        self.add_filter("out_sync", cut)

    async def come_back(self, on=None):
        """Connects again once the connection is gone; whether the session goes on (XEP-0198)."""
        await arrives(self.gone.wait(), f"the end of {self.boundjid}'s connection")
        self.gone.clear()
        if on is not None:
            self.address = (on.address, on.ports["client"])
        self._return = asyncio.get_running_loop().create_future()
        self.connect(*self.address)
        return await arrives(self._return, f"{self.boundjid}'s session")

    async def hears(self, *bodies):
        """Gets these messages in this order, and no others."""
        heard = []
        while len(heard) < len(bodies):
            heard.append((await self.next_message())["body"])
        await self.settled()
        while not self.messages.empty():
            heard.append(self.messages.get_nowait()["body"])
        assert heard == list(bodies)
