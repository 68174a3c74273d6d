"""The arithmetic of the report: medians, limits, verdicts."""

import re

import gates
import report


def results(**figures):
    """One round: CPU per saturated plain message, by server."""
    made = report.Results()
    for server, value in figures.items():
        made.add(server.replace("_", "-"), "chat plain", {"cpu_us_per_msg": value})
    return made


def gate(made, text):
    (found,) = [gate for gate in gates.gates(made) if gate.text.startswith(text)]
    return found


def test_a_figure_is_the_median_of_its_rounds():
    made = results(kinglet=30)
    made.add("kinglet", "chat plain", {"cpu_us_per_msg": 10})
    made.add("kinglet", "chat plain", {"cpu_us_per_msg": 11})
    assert made.median("kinglet", "chat plain", "cpu_us_per_msg") == 11
    assert made.median("kinglet", "chat TLS", "cpu_us_per_msg") is None


def test_a_gate_is_met_up_to_its_limit():
    saturated = "CPU per message, saturated, plain, µs: 1/4 of ejabberd's"
    assert gate(results(kinglet=20, ejabberd=80), saturated).verdict == "ok"
    assert gate(results(kinglet=20.1, ejabberd=80), saturated).verdict == "missed"


def test_the_limit_under_saturation_is_that_of_the_rivals_defaults():
    saturated = "CPU per message, saturated, plain, µs: 1/4 of ejabberd's"
    assert gate(results(kinglet=20, ejabberd=80, ejabberd_tuned=60), saturated).limit == 20


def test_at_low_load_the_best_tuned_rival_sets_the_limit():
    made = report.Results()
    for server, value in (("kinglet", 100), ("ejabberd", 300), ("ejabberd-tuned", 190)):
        made.add(server, "rate plain", {"cpu_us_per_msg": value})
    found = gate(made, "CPU per message, 500 a second, plain")
    assert (found.limit, found.verdict) == (95, "missed")


def test_without_a_rival_nothing_is_claimed():
    assert gate(results(kinglet=1), "CPU per message, saturated, plain, µs: 1/8").verdict \
        == "not measured"


def test_a_promise_about_many_connections_is_not_judged_by_few():
    made = report.Results()
    made.add("kinglet", "idle plain", {"rss_kb_per_conn": 9})
    verdicts = [
        gate.verdict for count in (1000, 10_000) for gate in gates.gates(made, count)
        if gate.text == "Memory per idle connection, plain, KB"]
    assert verdicts == ["not judged with 1,000 connections", "missed"]


def test_many_accounts_count_by_what_they_add():
    made = report.Results()
    made.add("kinglet", "start few", {"anonymous_mb": 5.0, "resident_mb": 40, "answer_ms": 50})
    made.add("kinglet", "start many", {"anonymous_mb": 7.5, "resident_mb": 41, "answer_ms": 60})
    found = gate(made, "Many accounts add: anonymous memory")
    assert (found.figure, found.verdict) == (2.5, "missed")


def test_a_stall_is_judged_by_the_median_and_shows_the_worst():
    made = report.Results()
    for slowest in (100, 200, 900):
        made.add("kinglet", "stall killed", {"latency_max_ms": slowest})
    found = gate(made, "All connections close at once (killed)")
    assert found.verdict == "ok" and "worst try 900" in found.text


def test_messages_that_went_astray_are_counted_over_all_runs():
    made = report.Results()
    made.add("kinglet", "chat plain", {"lost": 1, "duplicated": 0, "reordered": 0})
    made.add("kinglet", "rate TLS", {"lost": 0, "duplicated": 0, "reordered": 2})
    made.add("kinglet", "archive chat TLS", {"lost": 4, "duplicated": 0, "reordered": 0})
    assert made.faults("kinglet", ("chat", "rate"), "") == 3
    assert made.faults("kinglet", "archive", "") == 4
    assert made.faults("prosody", ("chat", "rate"), "") is None


def test_the_table_has_a_column_for_each_server():
    lines = report.table(
        results(kinglet=9.94, ejabberd=1234), [("kinglet", "Kinglet"), ("ejabberd", "ejabberd")],
        report.ROWS).splitlines()
    assert lines[0].split() == ["Kinglet", "ejabberd"]
    row = lines[lines.index("CPU per message, saturated, µs") + 1]
    assert re.split(r"\s{2,}", row.strip()) == ["plain", "9.9", "1,234.0"]
