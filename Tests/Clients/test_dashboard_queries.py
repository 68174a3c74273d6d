"""A real Prometheus scrapes real servers that real clients use, on recorded machines; every query
of every dashboard and every rule is asked, and has data where there are the metrics that it wants.

What must have data follows from what the servers export: a query whose every metric has a series
has an answer with a number in it, or its panel is in a list that says why not.
"""

import asyncio
import contextlib
import functools
import itertools
import math
import re
import shutil
import time

import pytest
from slixmpp.exceptions import IqError

import backups
import pushes
from alert_rules import RULE_FILES, rules
from certificates import Authority
from dashboards import DOCUMENTS, PANELS, SELECTOR, family, metrics
from fake_fcm import FakeFCM
from kinglet import FAST_KEYS, FIXTURES, NO_LOGIN_DELAY, REPOSITORY, Kinglet
from monitors import Prometheus, target
from nut_server import ScriptedServer
from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from stock_client import LoginRefused, StockClient
from test_message_archive import ask, pages
from test_roster import befriend
from test_ups import HEALTHY, LOOPBACK
from waiting import arrives, eventually

# Nobody answers there: no other server is found, and none is asked of the machine's name server.
NO_NAMES = {"federation.nameservers": "[127.0.0.1:1]"}
TREES = FIXTURES / "hardware"
# What these do not have, no recorded machine has. The first one is in use: it has clients, a disk
# that works, a UPS with an empty battery and backups.
MACHINES = ("pi5", "pi4-undervoltage", "pi4-throttled-past", "cm4", "pc")
UPS = {
    **HEALTHY, "ups.status": "OB LB", "battery.voltage": "26.1", "ups.temperature": "31",
    "battery.temperature": "31",
}
# Grafana's variables; the interval is long enough for a slow machine to do everything in it.
VARIABLES = {"job": "kinglet", "__rate_interval": "5m"}
PLUGINS = (
    "xep_0059", "xep_0085", "xep_0198", "xep_0199", "xep_0280", "xep_0313", "xep_0352", "xep_0359",
    "xep_0441")

# Panels that may have nothing to show of a server that nobody uses, and why.
MAY_BE_EMPTY = {
    ("engine.json", "Logins"): "nobody logged in",
    ("engine.json", "Refusals"): "nothing was refused",
    ("engine.json", "Delivery time"): "no message came",
    ("federation.json", "Attempts that fail"): "no other server was needed",
    ("federation.json", "Attempts from here that fail"): "no other server was needed",
    ("federation.json", "Failures"): "no other server was needed",
    ("engine.json", "Archive queries"): "no query came",
    ("engine.json", "Commit time"): "nothing was committed",
    ("storage.json", "Commit time"): "nothing was committed",
    ("storage.json", "Jobs per commit"): "nothing was committed",
    ("overview.json", "Commits"): "nothing was committed",
    ("overview.json", "Delivery"): "no message came",
    ("storage.json", "Latency"): "nothing was read or written",
    ("push.json", "From message to provider"): "nobody is woken",
    ("push.json", "Time to a push"): "nobody is woken",
    ("push.json", "From message to request"): "nobody is woken",
}
# Panels that have nothing to show on any machine here, and why.
NEVER_FILLED = {
    ("engine.json", "Clients, of those an hour ago"): "there is no hour ago",
    ("federation.json", "Time to connect"): "no other server is reached",
    ("federation.json", "Certificates"): "no other server is reached",
    ("federation.json", "Others that fail here"): "no other server comes",
    ("backup.json", "Sent within a week"): "there is no week ago",
    ("backup.json", "Running"): "no backup runs at that moment",
    ("backup.json", "Time of the running one"): "no backup runs at that moment",
    ("engine.json", "HTTPS request time"): "nobody speaks HTTPS",
    ("engine.json", "Refused over HTTPS"): "nobody speaks HTTPS",
    ("push.json", "Collapsed"): "whether a push waits when the next comes is left to chance",
    ("push.json", "Endpoints given"): "nobody has an endpoint",
    ("push.json", "Posted to endpoints"): "nobody has an endpoint",
    ("push.json", "Requests of programs and apps"): "no program asks",
    ("push.json", "Told by programs"): "no program asks",
    ("push.json", "Next tokens"): "nobody has a device with two tokens",
    ("push.json", "Receipts"): "no maker says anything",
    ("push.json", "Keys and certificates end"): "no credential has an end",
}
BY_CHANCE = {
    ("backup.json", "Running"), ("backup.json", "Time of the running one"),
    ("push.json", "Collapsed")}
# Metrics of the dashboards and the rules that no recorded machine has, and why.
NOT_RECORDED = {
    "kinglet_push_endpoint_requests_total": "nobody has an endpoint",
    "kinglet_push_api_requests_total": "no program asks",
    "kinglet_push_api_tasks_total": "no program asks",
    "kinglet_push_receipts_total": "no maker says anything",
    "kinglet_backup_progress_ratio": "no backup runs at that moment",
}
# Exported metrics that neither a dashboard nor a rule uses, and why.
NOT_SHOWN = {}


@pytest.fixture(scope="module")
def working(tmp_path_factory):
    """The first machine's tree, in a place where it may change."""
    return shutil.copytree(
        TREES / MACHINES[0], tmp_path_factory.mktemp("tree") / "working", symlinks=True)


@pytest.fixture(scope="module")
def servers(tmp_path_factory, working):
    """A server for each machine."""
    ups = ScriptedServer({"rack": UPS})
    with contextlib.ExitStack() as ends:
        ends.callback(ups.close)
        medium = ends.enter_context(backups.other_medium())
        authority = Authority(tmp_path_factory.mktemp("authority"))
        provider = ends.enter_context(FakeFCM(authority))
        made = {}
        for machine in MACHINES:
            is_used = machine == MACHINES[0]
            kinglet = made[machine] = Kinglet(tmp_path_factory.mktemp(machine), settings={
                **FAST_KEYS, **NO_LOGIN_DELAY, **LOOPBACK, **NO_NAMES,
                "hardware.root": str(working if is_used else TREES / machine),
                "hardware.ups": ups.address if is_used else '""'})
            kinglet.initialize()
            if is_used:
                for jid, password in USERS.items():
                    kinglet.add_user(jid, password)
                backups.plan(kinglet, medium)
                pushes.plan(kinglet, provider, authority)
                kinglet.provider = provider
            kinglet.start(isolated=False)
            ends.callback(kinglet.stop)
            if is_used:
                backups.use(kinglet)
        yield made


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, servers, working):
    """One that has seen all servers before, while and after the first was in use."""
    program = Prometheus(
        tmp_path_factory.mktemp("prometheus"), *servers.values(), rules=RULE_FILES)
    try:
        program.becomes(len(servers), "sum(up)")
        used = servers[MACHINES[0]]
        written = eventually(lambda: bytes_written(used), "the disk is read")
        write(working)
        asyncio.run(use(used))
        used.command("backup", "run")
        # A disk is read every 15 seconds.
        eventually(
            lambda: bytes_written(used) > written, "what was written is seen", timeout=40)
        # And what waits for other servers every five.
        eventually(
            lambda: "kinglet_server_queue_oldest_seconds " in used.get("/metrics")[2],
            "a message waits for another server")
        program.becomes(1, 'count(ALERTS{alertname="MachineUpsLowBattery",alertstate="firing"})')
        scrape(program, servers)
        yield program
    finally:
        program.stop()


def bytes_written(server):
    return sum(
        sample.value for sample in server.samples()
        if sample.name == "kinglet_machine_disk_written_bytes_total")


def write(tree):
    """The disk of a recorded machine reads and writes."""
    path = tree / "proc/diskstats"
    lines = [line.split() for line in path.read_text().splitlines()]
    path.write_text("".join(
        " ".join(words[:3] + [str(int(word) + 8 * (word != "0")) for word in words[3:]]) + "\n"
        for words in lines))


def scrape(program, servers):
    """Waits until Prometheus has what all servers say now, and has it twice."""
    for server in servers.values():
        name = f'sum(kinglet_scrapes_total{{instance="{target(server)}"}})'
        before = server.metric("kinglet_scrapes_total")
        eventually(
            lambda: (program.value(name) or 0) > before + 1,
            f"two more scrapes of {target(server)}", pause=0.1)


@pytest.fixture(scope="module")
def now(prometheus):
    """One moment for all queries, at which Prometheus has everything."""
    return time.time()


async def use(server):
    """What happens in a day: somebody knocks who speaks no XMPP; people log in, also with a wrong
    password, talk, from two devices, to somebody who is away and to another server, put the phone away, lose
    the network, are woken, and look into the archive."""
    clients = []

    async def log_in(person, resource, password=None):
        client = StockClient(
            server, person.jid, password or person.password, resource, plugins=PLUGINS)
        clients.append(client)
        await client.log_in()
        return client

    with RawClient(server.ports["client"]) as stranger:
        stranger.connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stranger.connection.recv(4096)
    with pytest.raises(LoginRefused):
        await log_in(ROMEO, "orchard", "not his")
    romeo = await log_in(ROMEO, "orchard")
    await romeo.come_online()
    for number in range(3):
        romeo.send_message(JULIET.jid, f"to one who is away {number}", mtype="chat")
    await romeo.settled()
    juliet = await log_in(JULIET, "phone")
    await juliet.come_online()
    for _ in range(3):
        await juliet.next_message()
    await befriend(romeo, juliet)
    balcony = await log_in(JULIET, "balcony")
    await balcony.come_online()
    for client in (juliet, balcony):
        await arrives(client.plugin["xep_0280"].enable(), "copies")

    for number in range(20):
        romeo.send_message(juliet.boundjid, f"line {number}", mtype="chat")
        juliet.send_message(romeo.boundjid, f"answer {number}", mtype="chat")
    await romeo.settled()
    await juliet.settled()

    await wake(server.provider, romeo, juliet)
    juliet.plugin["xep_0352"].send_inactive()
    await juliet.settled()
    for show in ("away", "xa", "dnd"):
        romeo.send_presence(pshow=show)
    await romeo.settled()
    juliet.plugin["xep_0352"].send_active()
    await juliet.settled()

    romeo.send_message("device@p2.siacs.eu", "one who cannot be woken", mtype="chat")
    with pytest.raises(IqError):
        await arrives(romeo.plugin["xep_0199"].send_ping("p2.siacs.eu"), "an error")
    await romeo.settled()

    juliet.cut()
    assert await juliet.come_back()
    await pages(romeo)
    await ask(romeo, {"{urn:xmpp:fulltext:0}fulltext": "line"})
    for client in clients:
        await client.leave()


async def wake(provider, romeo, juliet):
    """She has three devices: one that is busy, and one that is not there any more; then she looks by
    herself."""
    with pytest.raises(IqError):
        await pushes.register(juliet, "no token\n", "odd")
    for device in ("phone", "busy phone", "old phone"):
        await pushes.enable(juliet, device.replace(" ", "-"), device)
    pushes.is_busy(provider, "busy-phone")
    provider.unregister("old-phone")
    juliet.plugin["xep_0352"].send_inactive()
    await juliet.settled()
    romeo.send_message(juliet.boundjid, "wake up", mtype="chat")
    for token in ("phone", "busy-phone"):
        await asyncio.to_thread(provider.wait_for_deliveries, 1, token)
    for number in range(2):
        romeo.send_message(juliet.boundjid, f"wake up again {number}", mtype="chat")
    await romeo.settled()
    juliet.plugin["xep_0352"].send_active()
    await juliet.settled()


def substituted(query, server):
    """The query with Grafana's variables replaced."""
    values = {**VARIABLES, "instance": target(server)}
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], query)


def selected(program, query, now):
    """Whether each metric that the query asks for has a series, by the selectors in it."""
    found = [
        exists(program, f"{name}{{{matchers}}}", now) for name, matchers in SELECTOR.findall(query)]
    return any(found) if " or " in query else all(found)


@functools.cache
def exists(program, selector, now):
    return bool(program.ask("query", query=selector, time=now)["result"])


def answers(program, query, now):
    """The series with numbers of this moment, and of the last minute; neither may be an error."""
    instant = program.ask("query", query=query, time=now)
    ranged = program.ask("query_range", query=query, start=now - 60, end=now, step=1)
    assert instant and ranged, query
    return [
        [series["metric"] for series in data["result"]
         if any(not math.isnan(float(value))
                for _, value in series.get("values") or [series["value"]])]
        for data in (instant, ranged)]


def test_every_panel_has_data_where_there_are_its_metrics(prometheus, servers, now):
    """And each series has the labels that its legend names."""
    unexpected, empty, filled = [], set(), set()
    for panel, (machine, server) in itertools.product(PANELS, servers.items()):
        for shown in panel.document["targets"]:
            query = substituted(shown["expr"], server)
            instant, ranged = answers(prometheus, query, now)
            series = instant if shown["instant"] else ranged
            if series:
                filled.add(panel.key)
                wanted = set(re.findall(r"\{\{(\w+)\}\}", shown["legendFormat"]))
                if any(wanted - labels.keys() for labels in series):
                    unexpected.append(f"{panel}: {shown['legendFormat']} is not of {series[0]}")
            elif panel.defaults.get("noValue") is None:
                unexpected.append(f"{panel} is empty on {machine} and does not say why: {query}")
            elif selected(prometheus, query, now) and panel.key not in NEVER_FILLED:
                empty.add(panel.key)
                if panel.key not in MAY_BE_EMPTY or machine == MACHINES[0]:
                    unexpected.append(f"{panel} has no data on {machine}: {query}")
    assert not unexpected, "\n".join(unexpected)
    assert empty == MAY_BE_EMPTY.keys(), "what is never empty needs no reason"
    # Whether a scrape meets a backup that runs is left to chance.
    assert {panel.key for panel in PANELS} - filled | BY_CHANCE == NEVER_FILLED.keys()


def test_the_variables_find_the_servers(prometheus, servers):
    """label_values() is /api/v1/label/…/values in Grafana."""
    for file, dashboard in DOCUMENTS.items():
        for variable in dashboard["templating"]["list"][1:]:
            selector, label = re.fullmatch(
                r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            values = prometheus.ask(f"label/{label}/values", **{
                "match[]": selector.replace("$job", "kinglet")})
            assert values == {
                "job": ["kinglet"],
                "instance": sorted(target(server) for server in servers.values()),
            }[variable["name"]], file


def test_every_rule_can_be_asked(prometheus, servers, now):
    """No error; and what is recorded has data where there are its metrics."""
    for rule in rules():
        instant, ranged = answers(prometheus, rule.expression, now)
        if not rule.severity and selected(prometheus, rule.expression, now):
            assert instant and ranged, rule


def test_what_is_used_exists_and_what_exists_is_used(servers):
    """By the pages of all machines; what none has is at least written in the sources."""
    exported = set().union(*(
        re.findall(r"(?m)^# HELP (\w+) ", server.get("/metrics")[2])
        for server in servers.values()))
    shown = set().union(*(panel.metrics for panel in PANELS))
    ruled = set().union(*(metrics(rule.expression) for rule in rules()))
    used = {family(name) for name in shown | ruled} - {"up", "ALERTS"}
    assert used - exported == NOT_RECORDED.keys()
    assert exported - used == NOT_SHOWN.keys()
    sources = "".join(
        path.read_text() for path in (REPOSITORY / "Sources").rglob("*.swift"))
    assert not [
        name for name in NOT_RECORDED
        if f'"{name}"' not in sources and f'"{name.removeprefix("kinglet_backup_")}"' not in sources]
