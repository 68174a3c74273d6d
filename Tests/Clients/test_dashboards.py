"""The dashboards without a Grafana: their form and schema, and the limits of the alerts."""

import enum
import importlib.util
import itertools
import json
import re
import types
import typing

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from alert_rules import rules
from dashboards import DOCUMENTS, FOLDER, PANELS, SELECTOR, SOURCE, metrics
from kinglet import REPOSITORY

RULES = {rule.name: rule for rule in rules()}
ALERTS = {name: rule for name, rule in RULES.items() if rule.severity}
COLORS = {"info": "blue", "warning": "orange", "critical": "red"}
# What says something without being good or bad.
NEUTRAL = {"green", "text", "blue"}

# Alerts that no panel shows.
WITHOUT_A_PANEL = {
    "Watchdog": "fires always, to prove that alerts arrive",
    "KingletBackupNever": "what has never been has no series",
    "KingletBackupRestoreTestNever": "what has never been has no series",
    "KingletNotScraped": "there is nothing to select the server by",
    "KingletHardwareReadingVanished": "what is gone has no series",
}
# Metrics that an alert does not watch as they are; panels may also show them as they are.
WATCHED_OTHERWISE = {
    "kinglet_process_start_time_seconds": "how often it changes",
    "kinglet_sessions": "beside what it was an hour ago",
    "kinglet_logins_total": "those that failed",
    "kinglet_offline_messages": "its growth in a day",
    "kinglet_process_anonymous_memory_bytes": "beside the limit",
    "kinglet_memory_limit_bytes": "beside what is in use",
    "kinglet_commit_duration_seconds": "its quantiles; its count are the commits",
    "kinglet_machine_boot_timestamp_seconds": "only after the watchdog's reset",
    "kinglet_machine_cpu_seconds_total": "whether it began anew",
    "kinglet_machine_cpus": "beside the load",
    "kinglet_machine_memory_available_bytes": "beside the size",
    "kinglet_machine_memory_size_bytes": "beside what is available",
    "kinglet_machine_zram_original_bytes": "beside the size",
    "kinglet_machine_zram_size_bytes": "beside what is in it",
    "kinglet_machine_disk_written_bytes_total": "a day's",
    "kinglet_machine_disk_reads_total": "the time that each takes",
    "kinglet_machine_disk_writes_total": "the time that each takes",
    "kinglet_machine_smart_reallocated_sectors": "its growth in a day",
    "kinglet_machine_smart_media_errors_total": "its growth in a day",
    "kinglet_stanzas_total": "whether any came in a week",
    "kinglet_server_stream_failures_total": "those from here, as a part of all",
    "kinglet_server_authentications_total": "beside what failed",
    "kinglet_component_connections": "beside the most of a day",
    "kinglet_push_requests_total": "those that fail, as a part of all",
    "kinglet_push_queue_depth": "whether anything waits where a way is closed",
    "kinglet_push_registrations": "beside those that are gone",
    "kinglet_backup_last_success_timestamp_seconds": "beside the time between two runs",
    "kinglet_backup_last_result": "failures",
    "kinglet_backup_duration_seconds": "beside the time of the running one",
    "kinglet_backup_running": "for how long",
    "kinglet_backup_missed_runs_total": "whether any of a backup that never worked",
    "kinglet_backup_snapshot_oldest_timestamp_seconds": "where nothing was ever pruned",
    "kinglet_backup_source_files": "beside the most of a week",
    "kinglet_backup_transferred_bytes_total": "whether any in a week",
    "rpi_voltage_volts": "the supply's",
    "up": "of a server, not of its alerts",
}
# Rows of 30 points with 8 between them below Grafana's header, on 1,920 by 1,080 points.
ROWS_OF_A_SCREEN = 20

files = pytest.mark.parametrize("file", DOCUMENTS)
panels = pytest.mark.parametrize("panel", PANELS, ids=str)


def test_the_files_are_what_the_declarations_say():
    """dashboards/source; `make dashboards` writes them."""
    specification = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    generate = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(generate)
    assert DOCUMENTS.keys() == generate.DASHBOARDS.keys()
    for file, dashboard in generate.DASHBOARDS.items():
        assert (FOLDER / file).read_text() == generate.text(dashboard), "type: make dashboards"


def test_dashboards_are_told_apart_and_lead_to_each_other():
    uids = {file: dashboard["uid"] for file, dashboard in DOCUMENTS.items()}
    assert uids == {
        "overview.json": "kinglet-overview", "raspberry-pi.json": "kinglet-raspberry-pi",
        "engine.json": "kinglet-engine", "storage.json": "kinglet-storage",
        "federation.json": "kinglet-federation", "push.json": "kinglet-push",
        "backup.json": "kinglet-backup"}
    for dashboard in DOCUMENTS.values():
        home, others = dashboard["links"]
        assert home["url"] == "/d/kinglet-overview"
        assert set(others["tags"]) <= set(dashboard["tags"]), "each is in the list of the others"
        assert home["includeVars"] and others["includeVars"]
    for link in itertools.chain(*(panel.document.get("links", ()) for panel in PANELS)):
        path, place = link["url"].split("?")
        assert path.removeprefix("/d/") in uids.values()
        assert place == "${__url_time_range}&${__all_variables}"


def test_the_guide_puts_the_files_where_grafana_looks():
    """The folder of the provisioning file, and the data source that it brings."""
    guide = (FOLDER / "README.md").read_text()
    provider = (FOLDER / "provisioning/dashboards/kinglet.yaml").read_text()
    folder = re.search(r"(?m)^ +path: (\S+)$", provider)[1]
    assert f"-t {folder} dashboards/*.json" in guide
    assert f"default_home_dashboard_path = {folder}/overview.json" in guide
    for path in re.findall(r"dashboards/provisioning/\S+", guide):
        assert (REPOSITORY / path).is_file(), path
    for file in DOCUMENTS:
        assert f"`{file}`" in guide


@files
def test_what_grafana_reads_is_what_is_written(file):
    """Grafana's own model of a dashboard (schema 41) knows every key and allows every value."""
    assert DOCUMENTS[file]["schemaVersion"] == 41
    assert not list(mistakes(DOCUMENTS[file]))


def mistakes(written, model=Dashboard):
    """What Grafana would not take as it is written."""
    register_default_plugins()
    read = model.from_json(written)
    yield from missing(written, json.loads(json.dumps(read, cls=JSONEncoder)))
    yield from wrong(read)


def missing(written, read, path=""):
    """What a reader lost or changed; what it adds are defaults."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from missing(value, read.get(key), f"{path}.{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for index, (left, right) in enumerate(zip(written, read)):
            yield from missing(left, right, f"{path}[{index}]")
    elif written != read:
        yield path, written, read


def wrong(value, path=""):
    """Attributes whose values are not of the declared types."""
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from wrong(element, f"{path}[{index}]")
    elif type(value).__module__.startswith("grafana_foundation_sdk") \
            and not isinstance(value, enum.Enum):
        hints = typing.get_type_hints(type(value))
        for name, element in vars(value).items():
            if name in hints and not allows(hints[name], element):
                yield f"{path}.{name}", element
            yield from wrong(element, f"{path}.{name}")


def allows(hint, value):
    """Whether a value is of a type; values of enumerations are read as they stand in JSON."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (typing.Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(allows(argument, value) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(allows(arguments[0], one) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    if issubclass(hint, enum.Enum):
        return value in [case.value for case in hint]
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        return not list(mistakes(value, hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def test_the_schema_check_finds_mistakes():
    """A key that Grafana does not know, and a value that it does not allow."""
    for change in ({"refersh": "1m"}, {"graphTooltip": 7}, {"refresh": 5}, {"tags": "kinglet"}):
        assert list(mistakes({**DOCUMENTS["overview.json"], **change})), change
    for change in (
        {"desription": "x"}, {"links": [{"titel": "x"}]}, {"options": {"textMode": "y"}},
    ):
        panel = {**DOCUMENTS["overview.json"]["panels"][0], **change}
        assert list(mistakes({**DOCUMENTS["overview.json"], "panels": [panel]})), change


@files
def test_panels_have_a_place_and_a_number_of_their_own(file):
    members = DOCUMENTS[file]["panels"]
    assert len({panel["id"] for panel in members}) == len(members)
    cells = set()
    for panel in members:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken = set(itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, f"{panel['title']} lies on another"
        cells |= taken
    titles = [panel["title"] for panel in members if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    assert len(cells) == 24 * (1 + max(y for _, y in cells)), "no holes"


def test_the_overview_fits_one_screen():
    assert max(
        panel["gridPos"]["y"] + panel["gridPos"]["h"]
        for panel in DOCUMENTS["overview.json"]["panels"]) <= ROWS_OF_A_SCREEN


@panels
def test_a_panel_says_what_it_shows(panel):
    """Title, description with a page that exists, unit, legends, and a word where nothing is."""
    document = panel.document
    text, page = document["description"].rsplit(" Page: ", 1)
    assert document["title"] and len(text) > 10
    assert (REPOSITORY / page).is_file(), page
    assert panel.defaults["unit"]
    assert panel.defaults.get("noValue") != ""
    is_now = document["type"] in ("stat", "table")
    references = set()
    for target in document["targets"]:
        references.add(target["refId"])
        assert target["legendFormat"]
        assert (target["instant"], target["range"]) == (is_now, not is_now)
    assert 0 < len(references) == len(document["targets"])


@files
def test_everything_goes_by_the_variables(file):
    """The data source, then the job, then the instance; no query names its own."""
    variables = DOCUMENTS[file]["templating"]["list"]
    assert [variable["name"] for variable in variables] == ["ds_prometheus", "job", "instance"]
    assert variables[0]["type"] == "datasource"
    assert all(variable["datasource"] == SOURCE for variable in variables[1:])
    known = {variable["name"] for variable in variables} | {"__rate_interval"}
    linked = {"__url_time_range", "__all_variables"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DOCUMENTS[file])))
    assert used - linked == known
    for panel in (panel for panel in PANELS if panel.file == file):
        assert panel.document["datasource"] == SOURCE
        for target in panel.document["targets"]:
            assert target["datasource"] == SOURCE
            selectors = SELECTOR.findall(target["expr"])
            assert selectors
            for _, matchers in selectors:
                assert matchers.startswith('job="$job", instance=~"$instance"'), target["expr"]
            fixed = re.findall(r"rate\([^[]*\[(?!\$__rate_interval)", target["expr"])
            assert not fixed or "86400 *" in target["expr"], "rates go by the interval of scrapes"


@panels
def test_limits_are_those_of_the_alerts(panel):
    """Each color begins at the number of an alert of that severity about the same metric."""
    named = [ALERTS[name] for name in panel.alerts]
    steps = panel.steps
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(values)
    if not named:
        colors = {step["color"] for step in steps}
        assert colors <= NEUTRAL or panel.metrics == {"ALERTS", "up"}
        return
    for below, step in zip(steps, steps[1:]):
        expected = {
            COLORS[rule.severity] for rule in named for operator, number in rule.comparisons
            if number == step["value"]
            # What is either so or not so may be shown, or counted, the other way round.
            and COLORS[rule.severity] in (
                {below["color"], step["color"]} if number == 1
                else {step["color"]} if operator == ">" else {below["color"]})}
        assert expected, f"no named alert begins at {step['value']}"
    for rule in named:
        assert {number for _, number in rule.comparisons} & set(values), rule.name
        assert metrics(expanded(rule)) & panel.metrics, rule.name


def expanded(rule):
    """The expression with what it takes from recorded ones."""
    return re.sub(
        r"\binstance:\w+:\w+\b", lambda name: f"({expanded(RULES[name[0]])})", rule.expression)


def test_every_alert_has_a_panel():
    shown = {name for panel in PANELS for name in panel.alerts}
    assert ALERTS.keys() - shown == WITHOUT_A_PANEL.keys()


def test_a_metric_with_an_alert_has_its_limits():
    """Wherever it is shown; or it is one that alerts watch in another way."""
    watched = {
        metric: {name for name, rule in ALERTS.items() if metric in metrics(expanded(rule))}
        for panel in PANELS for metric in panel.metrics}
    without = {
        metric for panel in PANELS for metric in panel.metrics
        if watched[metric] and not watched[metric] & set(panel.alerts)}
    assert without == WATCHED_OTHERWISE.keys()
