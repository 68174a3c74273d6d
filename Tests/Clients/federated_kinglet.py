"""Kinglet on a host of a network of namespaces, as `other_servers.py` has the others."""

from kinglet import FAST_KEYS, NO_LOGIN_DELAY, Kinglet
from waiting import eventually


class FederatedKinglet(Kinglet):
    """Talks with every domain whose certificate one authority vouches for, on its usual ports;
    `settings` say otherwise."""

    PROGRAM = "kinglet"
    # A message that it has taken for another domain outlives an outage, and its own end.
    keeps_messages = True

    def __init__(self, directory, host, domain, people, authority, pair=None, settings=None):
        self.host = host
        self.people = tuple(people)
        self.pair = pair or authority.issue(domain)
        self.address = host.address
        self._root = authority.file
        own = directory / f"{self.PROGRAM}-{host.name}"
        own.mkdir()
        super().__init__(own, domains=(domain,), settings={
            **FAST_KEYS, **NO_LOGIN_DELAY, "log.level": "debug",
            "tls.certificate": self.pair.certificate, "tls.key": self.pair.key,
            "metrics.address": host.address, "metrics.allow": "[203.0.113.0/24]",
            "federation.policy": "open", "federation.authorities": f"[{authority.file}]",
            **(settings or {})})

    @property
    def authority(self):
        return self._root

    def start(self):
        if not self.configuration.exists():
            self.initialize()
            self.command("user", "import", "-", stdin="".join(
                f"{person.name} {person.password}\n" for person in self.people))
        return super().start(isolated=False, wait=False, program=self.host.program)

    def kill(self):
        self.crash()

    def hand_over(self):
        """Waits until nothing waits for another domain any more."""
        eventually(
            lambda: self.metric("kinglet_server_queue_stanzas") == 0,
            "an empty queue for other servers", timeout=45)
