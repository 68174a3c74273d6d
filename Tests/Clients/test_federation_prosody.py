"""Kinglet and Debian's Prosody do for their people what one server does (RFC 6120, RFC 6121)."""

import pytest

from federated_kinglet import FederatedKinglet
from federation_dialogue import converse
from other_servers import Prosody


@pytest.mark.skipif(not Prosody.is_installed(), reason="prosody is not installed")
@pytest.mark.parametrize(
    "kinds", [(FederatedKinglet, Prosody), (Prosody, FederatedKinglet)],
    ids=["kinglet_begins", "prosody_begins"])
async def test_kinglet_and_prosody_talk_with_each_other(federation, kinds):
    """Also after either was killed, and after the link dropped packets for a while."""
    servers = [
        federation.add(kind, domain)
        for kind, domain in zip(kinds, ("first.example", "second.example"))]
    federation.start()
    await converse(federation.network, *servers, outage=3)
