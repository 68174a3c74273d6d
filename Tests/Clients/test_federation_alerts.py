"""The alerts about other servers, from the wire to Prometheus: an app server (XEP-0357) that cannot
be found, and is found again; and a component that goes and comes back (XEP-0114)."""

import contextlib

import pytest

from correspondent import Correspondent
from federated_kinglet import FederatedKinglet
from kinglet import REPOSITORY
from monitors import Prometheus
from stock_component import StockComponent
from test_alerts import hastened
from test_components import BRIDGE, BRIDGE_SECRET, configure
from waiting import arrives, eventually

ALERTS = REPOSITORY / "alerts"
PUSH_DOMAIN = "p2.siacs.eu"
WIRE = {"KingletPushDomainUnreachable", "KingletServerStreamsFail", "KingletServerQueueOld"}


@pytest.fixture
def stack():
    """Stops what a test started, last things first."""
    with contextlib.ExitStack() as stops:
        yield stops


def prometheus_of(server, directory, stack):
    """With the rules about other servers, whose times and counts are the test's."""
    rules = directory / "federation.rules.yml"
    rules.write_text(hastened(
        (ALERTS / "federation.rules.yml").read_text(),
        (r"for: \d+m", "for: 1s"), (r"> 6 \* 3600", "> 5"), (r"> 20\b", "> 1"),
        # A count of an hour would not be over before that.
        (r"\[1h\]", "[20s]"), (r"(?<=connections)\[1d\]", "[60s]")))
    recorded = directory / "recording.rules.yml"
    recorded.write_text(hastened(
        (ALERTS / "recording.rules.yml").read_text(), (r"\[1h\]", "[20s]")))
    program = Prometheus(directory, rules=[recorded, rules], jobs=[{
        "job_name": "kinglet",
        "static_configs": [{"targets": [f"{server.address}:{server.ports['metrics']}"]}]}])
    stack.callback(program.stop)
    return program


def firing(program):
    data = program.ask("query", query='ALERTS{alertstate="firing"}')
    return {series["metric"]["alertname"] for series in data["result"]} if data else None


def fires(program, *expected):
    """Waits until these alerts fire, and no others."""
    eventually(
        lambda: firing(program) == set(expected),
        lambda: f"{set(expected)} fire; these do: {firing(program)}", timeout=60, pause=0.2)


async def test_an_app_server_that_cannot_be_found_raises_alerts(federation, tmp_path, stack):
    """The first is the one that counts; that attempts fail and a message waits is told as well."""
    ours = federation.add(
        FederatedKinglet, "first.example", settings={"federation.policy": "allowlist"})
    federation.add(FederatedKinglet, PUSH_DOMAIN)
    federation.start()
    program = prometheus_of(ours, tmp_path, stack)
    program.becomes(0, "kinglet_push_domains_unreachable")
    assert firing(program) == set()

    federation.network.cut(ours.host, federation.name_server.host)
    romeo = Correspondent(ours, ours.people[0])
    await romeo.log_in()
    # Kept, so it is tried again until it gets there.
    romeo.say(f"romeo@{PUSH_DOMAIN}", "wake up")
    await romeo.settled()
    fires(program, *WIRE)

    federation.network.mend(ours.host, federation.name_server.host)
    fires(program)
    assert ours.metric("kinglet_push_domains_unreachable") == 0
    assert ours.metric("kinglet_server_queue_stanzas") == 0
    await romeo.leave()


async def test_a_component_that_goes_raises_an_alert(make_server, tmp_path, stack):
    """One that was there within the last while."""
    server = make_server()
    configure(server, {"domain": BRIDGE, "secret": BRIDGE_SECRET})
    server.start()
    program = prometheus_of(server, tmp_path, stack)
    bridge = await StockComponent(server, BRIDGE, BRIDGE_SECRET).attach()
    program.becomes(1, "kinglet_component_connections")
    assert firing(program) == set()
    await bridge.leave()
    await arrives(bridge.gone.wait(), "the end of its connection")
    fires(program, "KingletComponentGone")
    await bridge.attach()
    fires(program)
    await bridge.leave()
