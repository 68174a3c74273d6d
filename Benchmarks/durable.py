"""What is measured of a server that archives: messages that must outlive a crash.

Every sender asks for an acknowledgement after every message (XEP-0198), and in the closed loop it
ends the message's flight, so that a server gains nothing by putting its writes off.
"""

from measurements import LINKS, MECHANISM, PAIRS, RATE, RATE_SECONDS
from processes import Skipped

SLOW_RATE = 20
# Long enough for several checkpoints: some come by what was written, not by the clock.
SLOW_SECONDS = 30
# Longer than any of the servers puts a write off. xmppload waits that long twice.
SETTLE_AFTER = 5
# What a server that does not keep up is given to finish; then it is said to have lost the rest.
DRAIN = 30
USERS = 2 * PAIRS
WARM_UP_LOGINS = 200


class FreshUsers:
    """Hands out users that no run has had, by the data that servers share: archives grow."""

    def __init__(self):
        self._next = {}

    def take(self, server, count=USERS):
        """The number of the first of them."""
        first = self._next.get(server.family, 0)
        self._next[server.family] = first + count
        return first


def users_needed(kinds, rounds):
    """How many users each server has to have, where all of the kinds share one's data."""
    runs = sum(len(LINKS) if kind.is_tuned else len(LINKS) + 2 for kind in kinds)
    return max(runs * rounds * USERS, WARM_UP_LOGINS)


def of_archive(server, tools, plan, fresh):
    """Yields (measurement, figures) of one visit to a server with its archive on."""
    with server.running():
        tools.load(
            server, "login", users=WARM_UP_LOGINS, tls="none", sasl=MECHANISM, settle=0)
        for link, tls in LINKS.items():
            yield f"archive chat {link}", chat(
                server, tools, fresh.take(server), tls, window=1, window_on="ack",
                duration=plan.duration, settle_after=SETTLE_AFTER)
        if server.is_tuned:
            return
        first = fresh.take(server)
        slow = chat(
            server, tools, first, LINKS["plain"], rate=SLOW_RATE, duration=SLOW_SECONDS,
            settle_after=SETTLE_AFTER)
        if server.archives:
            slow["archived_per_msg"] = archived(server, tools, first) / slow["sent"]
        yield "archive slow plain", slow
        # The last, for who does not keep up is still busy afterwards.
        yield "archive rate TLS", chat(
            server, tools, fresh.take(server), LINKS["TLS"], rate=RATE, duration=RATE_SECONDS)
        if not server.archives:
            raise Skipped("the archive, which this program does not have: it ran without")


def chat(server, tools, first, tls, **options):
    figures = tools.load(
        server, "chat", pairs=PAIRS, first=first, tls=tls, sasl=MECHANISM, sm=True, settle=1,
        warmup=1, drain=DRAIN, **options)
    figures["disk_kb_per_msg_settled"] = figures["disk_bytes_per_msg_settled"] / 1024
    return figures


def archived(server, tools, first):
    """How many messages these users find in their archives."""
    return tools.load(
        server, "archive", first=first, users=USERS, tls="none", sasl=MECHANISM)["messages"]
