"""The whole page of each recorded machine, in both formats, as checkers and parsers see it."""

import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from kinglet import FIXTURES
from waiting import eventually

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TREES = sorted(path.parent for path in (FIXTURES / "hardware").glob("*/expected.prom"))
# What a scrape may transfer, with everything on.
LARGEST = 60 * 1024


def samples(lines):
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_every_machine_s_page_is_clean(make_server, tree):
    """promtool has nothing to say, the reference parsers take it, and it is small enough."""
    server = make_server(settings={"hardware.root": str(tree)}).start()
    expected = set(samples((tree / "expected.prom").read_text().splitlines()))
    eventually(
        lambda: expected <= set(server.get("/metrics")[2].splitlines()), "everything was read")
    text = server.get("/metrics")[2]
    open_text = server.get("/metrics", accept=OPENMETRICS)[2]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    series = [
        {(sample.name, tuple(sorted(sample.labels.items())))
         for family in parse(page) for sample in family.samples
         if not sample.name.endswith("_created")}
        for parse, page in ((text_format, text), (openmetrics, open_text))]
    assert series[0] == series[1]
    assert all(family.documentation for family in openmetrics(open_text))
    assert max(len(text.encode()), len(open_text.encode())) <= LARGEST
