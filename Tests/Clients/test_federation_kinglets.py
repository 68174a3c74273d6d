"""Two Kinglets in two network namespaces, with names, addresses and certificates of their own, do
for their people what one does (RFC 6120, RFC 6121); and again after faults."""

from federated_kinglet import FederatedKinglet
from federation_dialogue import converse


async def test_two_kinglets_talk_with_each_other(federation):
    """One of the names is internationalised (RFC 6120 section 13.7.1.2, RFC 5891)."""
    servers = [
        federation.add(FederatedKinglet, domain)
        for domain in ("first.example", "zweiter.münchen.example")]
    federation.start()
    await converse(federation.network, *servers)
