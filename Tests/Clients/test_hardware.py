"""Readings of a Raspberry Pi, from recorded trees (Tests/Fixtures/hardware)."""

from pathlib import Path

import pytest

from kinglet import FIXTURES
from waiting import eventually

TREES = sorted(path.parent for path in (FIXTURES / "hardware").glob("*/expected.prom"))


def lines_of(server, prefixes=("rpi_", "kinglet_hardware_", "kinglet_machine_")):
    """The page's lines, comments included, that tell of hardware; but not durations."""
    lines = []
    for line in server.get("/metrics")[2].splitlines():
        name = line.split(" ")[2] if line.startswith("# ") else line
        if name.startswith(prefixes) and "_duration_seconds{" not in name:
            lines.append(line)
    return lines


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_a_recorded_machine_gives_its_lines(make_server, tree):
    """Exactly the lines of expected.prom."""
    kinglet = make_server(settings={"hardware.root": str(tree)}).start()
    expected = (tree / "expected.prom").read_text().splitlines()
    if expected:
        eventually(lambda: len(lines_of(kinglet)) >= len(expected), f"readings of {tree.name}")
    # More than once, because there must not come more either.
    for _ in range(5):
        assert sorted(lines_of(kinglet)) == sorted(expected)


def test_the_trees_are_there():
    """Throttled and not, and a plain PC."""
    assert {"pi4-healthy", "pi4-throttled", "pc"} <= {tree.name for tree in TREES}


def test_a_machine_that_is_no_pi_has_no_pi(server):
    """With the real root: no `rpi_` line, unless this is a Pi."""
    model = Path("/proc/device-tree/model")
    is_pi = model.exists() and "Raspberry Pi" in model.read_text(errors="replace")
    assert bool(lines_of(server, prefixes=("rpi_",))) == is_pi
