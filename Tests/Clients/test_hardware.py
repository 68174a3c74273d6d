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
    """Exactly the lines of expected.prom; a plain PC gives no `rpi_` line."""
