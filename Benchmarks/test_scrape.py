"""What is promised of a scrape, and how its cost is taken."""

import os
import time

import gates
import report
import scrape

CPU, PAGE = "A scrape with 10,000 sessions, CPU", "The page with everything on"


def verdicts(cpu=1.0, size=30.0, connections=10_000):
    made = report.Results()
    made.add("kinglet", "scrape sessions text", {"cpu_ms_per_scrape": 0.1, "page_kb": 1})
    made.add("kinglet", "scrape sessions OpenMetrics",
             {"cpu_ms_per_scrape": cpu, "page_kb": size})
    found = {gate.text: gate for gate in gates.gates(made, connections, ["scrape"])}
    assert len(found) == 2
    return [gate.verdict for text in (CPU, PAGE) for name, gate in found.items()
            if name.startswith(text)]


def test_the_dearer_format_counts():
    assert verdicts(cpu=3.0, size=60.0) == ["ok", "ok"]
    assert verdicts(cpu=3.1, size=60.1) == ["missed", "missed"]


def test_fewer_sessions_say_nothing_about_ten_thousand():
    first, second = verdicts(connections=1000)
    assert first.startswith("not judged") and second == "ok"


def test_nothing_measured_is_nothing_promised():
    assert {gate.verdict for gate in gates.gates(report.Results(), 10_000, ["scrape"])} == {
        "not measured"}


def test_processor_time_of_this_process():
    before = scrape.cpu_seconds(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < scrape.cpu_seconds(os.getpid()) - before < 5
