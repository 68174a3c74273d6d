"""alerts/: promtool and amtool accept the files, Debian's Prometheus and Alertmanager load them,
and an alert goes all the way from a reading to a receiver and is taken back."""

import contextlib
import json
import os
import re
import shutil
import subprocess

import pytest

import backups
from kinglet import FIXTURES, REPOSITORY
from monitors import Alertmanager, AlertReceiver, Prometheus
from test_ups import LOOPBACK
from waiting import eventually

ALERTS = REPOSITORY / "alerts"
RULES = sorted(ALERTS.glob("*.rules.yml"))
TESTS = sorted(ALERTS.glob("*.test.yml"))


def names_of(kind):
    """The names of all alerts, or of all recorded series (`record`)."""
    return [
        name for file in RULES
        for name in re.findall(rf"(?m)^ +- {kind}: (\S+)$", file.read_text())]


def check(*arguments):
    """Runs a checker in alerts/, which has to be content."""
    done = subprocess.run(
        [str(part) for part in arguments], cwd=ALERTS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def stack():
    """Stops what a test started, last things first."""
    with contextlib.ExitStack() as stops:
        yield stops


# What checkers say


def test_the_rules_pass_the_check():
    """promtool check rules, with all that its linter knows."""
    output = check("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)
    found = sum(map(int, re.findall(r"(\d+) rules found", output)))
    assert found == len(names_of("alert")) + len(names_of("record")) > 80


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.removesuffix(".test.yml"))
def test_the_rules_pass_their_tests(file):
    """promtool test rules."""
    check("promtool", "test", "rules", file)


def test_every_rule_file_of_alerts_has_tests():
    """A file of its own; recorded series are tested by the alerts that use them."""
    themes = {file.name.removesuffix(".rules.yml") for file in RULES}
    tested = {file.name.removesuffix(".rules.test.yml") for file in TESTS}
    assert themes - tested == {"recording"}


def test_the_example_for_prometheus_is_valid(tmp_path):
    """promtool check config: as it is, with the rules that it names, and with what stands in
    comments."""
    output = check("promtool", "check", "config", "prometheus.yml")
    assert all(f"Checking {file.name}" in output for file in RULES)
    assert "test.yml" not in output

    text = (ALERTS / "prometheus.yml").read_text()
    copy = tmp_path / "prometheus.yml"
    copy.write_text(re.sub(r"(?m)^    # (?=authorization:|http_sd_configs:|  )", "    ", text))
    assert "\n    authorization:\n" in copy.read_text()
    assert "\n    http_sd_configs:\n" in copy.read_text()
    check("promtool", "check", "config", "--syntax-only", copy)


def test_the_example_for_alertmanager_is_valid(tmp_path):
    """amtool check-config: as it is, and with the receivers that stand in comments."""
    assert "SUCCESS" in check("amtool", "check-config", "alertmanager.yml")
    copy = tmp_path / "alertmanager.yml"
    copy.write_text(with_receivers(kinds="webhook|email"))
    assert "\n    email_configs:\n" in copy.read_text()
    check("amtool", "check-config", copy)


@pytest.mark.parametrize("labels, receiver", [
    (["alertname=Watchdog", "severity=none"], "dead-man-switch"),
    (["alertname=KingletDown", "severity=critical"], "owner"),
    (["alertname=RaspberryPiHot", "severity=warning"], "owner"),
    (["alertname=MachineRebooted", "severity=info"], "owner"),
])
def test_alerts_go_to_their_receivers(labels, receiver):
    """amtool config routes test."""
    check(
        "amtool", "config", "routes", "test", "--config.file=alertmanager.yml",
        f"--verify.receivers={receiver}", *labels)


def test_what_inhibits_and_what_is_inhibited_exists():
    """And on the same machine only. Nothing critical is kept back."""
    text = (ALERTS / "alertmanager.yml").read_text().split("\ninhibit_rules:\n")[1]
    rules = re.split(r"(?m)^  - (?=source_matchers:)", text)[1:]
    assert len(rules) > 10
    known = set(names_of("alert"))
    critical = {
        name for file in RULES
        for name, rest in re.findall(
            r"(?ms)^      - alert: (\S+)\n(.*?)(?=^      - alert: |\Z)", file.read_text())
        if "\n          severity: critical\n" in rest}
    assert critical
    for rule in rules:
        source, target = (
            set("|".join(re.findall(r'alertname =~? "([^"]+)"', part)).split("|")) - {""}
            for part in rule.split("target_matchers:"))
        assert source and source <= known, rule
        assert target <= known - critical, rule
        assert target or 'severity =~ "warning|info"' in rule, rule
        assert not source & target, rule
        assert re.search(r"equal: \[job, instance[],]", rule), rule


@pytest.mark.parametrize("tree, expected", [
    ("pi4-healthy", []), ("pi4-throttled-past", []), ("pi5", []), ("cm4", []),
    ("pi4-throttled", ["RaspberryPiHot", "RaspberryPiThrottled", "RaspberryPiVeryHot"]),
    ("pi4-undervoltage", ["RaspberryPiThrottled", "RaspberryPiUndervoltage"]),
])
def test_recorded_machines_have_the_alerts_that_they_should(tmp_path, tree, expected):
    """Two hours of what a recorded machine shows: at least these, and none for one that is well."""
    series = ['up{job="kinglet", instance="machine"}', "1x120"]
    for line in (FIXTURES / "hardware" / tree / "expected.prom").read_text().splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            own = "" if labels is None else f", {labels}"
            series += [f'{name}{{job="kinglet", instance="machine"{own}}}', f"{value}x120"]
    names = f'=~"{"|".join(expected)}"' if expected else '!="Watchdog"'
    document = {
        "rule_files": [str(file) for file in RULES], "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [
                {"series": name, "values": values}
                for name, values in zip(series[::2], series[1::2])],
            "promql_expr_test": [{
                "expr": f'group by (alertname) (ALERTS{{alertstate="firing", alertname{names}}})',
                "eval_time": "2h",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected],
            }],
        }],
    }
    file = tmp_path / "machine.test.yml"
    file.write_text(json.dumps(document))
    check("promtool", "test", "rules", file)


# What the programs say


def test_the_rules_ask_for_what_the_server_shows(server, make_server, stack):
    """Every name that is not the machine's is on the real page; the machine's are declared
    (AlertRuleTests.swift), and which of them are shown depends on the machine."""
    asked = {
        name for file in RULES
        for name in re.findall(r"(?<![\w:])kinglet_\w+", uncommented(file.read_text()))
        if not name.startswith(("kinglet_machine_", "kinglet_hardware_"))}
    # An isolated server makes no backups.
    other = make_server(settings=LOOPBACK)
    backups.plan(other, stack.enter_context(backups.other_medium()))
    other.start(isolated=False)
    backups.use(other)
    shown = {sample.name for page in (server, other) for sample in page.samples()}
    assert len(asked) > 10
    # Shown while something waits (test_federation_alerts.py), where somebody is to be woken
    # (test_dashboard_queries.py), or where a program asks (test_push_api.py).
    assert asked - shown == {
        "kinglet_server_queue_oldest_seconds", "kinglet_push_registrations",
        "kinglet_push_circuit_state", "kinglet_push_credential_expiry_timestamp_seconds",
        "kinglet_push_deadletter_total", "kinglet_push_refusals_total",
        "kinglet_push_requests_total", "kinglet_push_tokens_invalidated_total",
        "kinglet_push_api_requests_total"}


def test_prometheus_evaluates_every_rule(server, tmp_path, stack):
    """Without an error; and for a server that is well nothing but the Watchdog fires."""
    prometheus = Prometheus(tmp_path, server, rules=RULES)
    stack.callback(prometheus.stop)

    def evaluated():
        groups = (prometheus.ask("rules") or {}).get("groups", [])
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = eventually(evaluated, "all rules were evaluated", timeout=30)
    assert sorted(rule["name"] for rule in rules) == sorted(names_of("alert") + names_of("record"))
    for rule in rules:
        assert (rule["name"], rule["health"]) == (rule["name"], "ok"), rule
        if rule["type"] == "alerting":
            assert (rule["state"] == "firing") == (rule["name"] == "Watchdog"), rule


def test_alertmanager_loads_the_example(tmp_path, stack):
    """The real program, with the file as an owner takes it over."""
    alertmanager = Alertmanager(tmp_path, ALERTS / "alertmanager.yml")
    stack.callback(alertmanager.stop)
    status = eventually(lambda: alertmanager.get("/api/v2/status"), "Alertmanager answers")
    assert "receiver: dead-man-switch" in status["config"]["original"]
    receivers = alertmanager.get("/api/v2/receivers")
    assert {receiver["name"] for receiver in receivers} == {"owner", "dead-man-switch"}


def test_what_is_worse_keeps_back_the_rest(tmp_path, stack):
    """Of the same machine and the same file system, and nothing that is critical."""
    alertmanager = Alertmanager(tmp_path, ALERTS / "alertmanager.yml")
    stack.callback(alertmanager.stop)
    eventually(lambda: alertmanager.get("/api/v2/status"), "Alertmanager answers")
    alertmanager.take(*(
        dict(labels, alertname=name, severity=severity, job="kinglet", instance=instance)
        for name, severity, instance, labels in [
            ("KingletDown", "critical", "down", {}),
            ("RaspberryPiHot", "warning", "down", {}),
            ("RaspberryPiVeryHot", "critical", "down", {}),
            ("MachineRebooted", "info", "down", {}),
            ("RaspberryPiHot", "warning", "up", {}),
            ("RaspberryPiThrottled", "warning", "up", {}),
            ("MachineFilesystemSpaceVeryLow", "critical", "full", {"mountpoint": "/"}),
            ("MachineFilesystemSpaceLow", "warning", "full", {"mountpoint": "/"}),
            ("MachineFilesystemSpaceLow", "warning", "other", {"mountpoint": "/"}),
            ("MachineFilesystemSpaceVeryLow", "critical", "two", {"mountpoint": "/"}),
            ("MachineFilesystemSpaceLow", "warning", "two", {"mountpoint": "/srv"}),
        ]))
    expected = {
        ("RaspberryPiHot", "down"), ("MachineRebooted", "down"), ("RaspberryPiThrottled", "up"),
        ("MachineFilesystemSpaceLow", "full")}
    eventually(
        lambda: alertmanager.kept_back() == expected,
        lambda: f"{expected} are kept back; these are: {alertmanager.kept_back()}")


def test_an_alert_reaches_the_receiver_and_is_taken_back(make_server, tmp_path, stack):
    """A supply that fails and recovers: from the firmware's mailbox, through Prometheus and
    Alertmanager with the example's routes, to a webhook. Times and addresses are the test's."""
    tree = tmp_path / "machine"
    shutil.copytree(FIXTURES / "hardware/pi4-healthy", tree, symlinks=True)
    kinglet = make_server(settings={"hardware.root": str(tree)}).start()
    receiver = AlertReceiver()
    stack.callback(receiver.stop)

    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(hastened(
        with_receivers(kinds="webhook").replace("http://127.0.0.1:8080", receiver.url),
        (r"group_wait: \w+", "group_wait: 1s"), (r"group_interval: \w+", "group_interval: 1s")))
    alertmanager = Alertmanager(tmp_path, configuration)
    stack.callback(alertmanager.stop)

    rules = []
    for file in RULES:
        rules.append(tmp_path / file.name)
        rules[-1].write_text(file.read_text())
    supply = tmp_path / "raspberry-pi.rules.yml"
    supply.write_text(hastened(supply.read_text(), (r"\[5m\]", "[5s]"), (r"for: 1m\b", "for: 1s")))
    prometheus = Prometheus(tmp_path, kinglet, rules=rules, alertmanager=alertmanager)
    stack.callback(prometheus.stop)

    prometheus.becomes(0, "rpi_undervoltage_active")
    receiver.alert("/alive", "Watchdog", "firing")
    assert receiver.alerts("/alerts", "RaspberryPiUndervoltage") == []

    change_mailbox(tree, "pi4-undervoltage")
    firing, alert = receiver.alert("/alerts", "RaspberryPiUndervoltage", "firing")
    assert (firing["version"], firing["status"], firing["receiver"]) == ("4", "firing", "owner")
    instance = f"127.0.0.1:{kinglet.ports['metrics']}"
    assert firing["groupLabels"] == {"job": "kinglet", "instance": instance}
    assert alert["labels"] == {
        "alertname": "RaspberryPiUndervoltage", "severity": "warning", "job": "kinglet",
        "instance": instance}
    assert alert["annotations"]["summary"] == f"Under-voltage on {instance}"
    assert "4.63 V" in alert["annotations"]["description"]
    runbook = alert["annotations"]["runbook_url"]
    assert runbook == "firmware-notes/power.md#raspberrypiundervoltage"
    assert (REPOSITORY / runbook.split("#")[0]).exists()

    change_mailbox(tree, "pi4-healthy")
    resolved, again = receiver.alert("/alerts", "RaspberryPiUndervoltage", "resolved")
    assert resolved["version"] == "4" and resolved["groupKey"] == firing["groupKey"]
    assert again["labels"] == alert["labels"] and again["fingerprint"] == alert["fingerprint"]
    assert again["startsAt"] == alert["startsAt"] < again["endsAt"]
    # Told again when another alert of the machine comes, but not after it was taken back.
    states = [
        of_it["status"] for _, of_it in receiver.alerts("/alerts", "RaspberryPiUndervoltage")]
    assert states == sorted(states), states


def change_mailbox(tree, other):
    """Has the firmware answer as in another recorded tree, from one moment to the next."""
    shutil.copy(FIXTURES / "hardware" / other / "mailbox", tree / "mailbox.new")
    os.replace(tree / "mailbox.new", tree / "mailbox")


def with_receivers(kinds):
    """The example, with the receivers of these kinds that stand in comments."""
    text = (ALERTS / "alertmanager.yml").read_text()
    return re.sub(
        rf"(?m)^    # (?:{kinds})_configs:\n(?:    #   .*\n)+",
        lambda section: section[0].replace("    # ", "    "), text)


def hastened(text, *replacements):
    """The text with shorter times; each replacement has to find something."""
    for pattern, replacement in replacements:
        text, count = re.subn(pattern, replacement, text)
        assert count > 0, pattern
    return text


def uncommented(text):
    return re.sub(r"(?m)^ *#.*\n", "", text)
