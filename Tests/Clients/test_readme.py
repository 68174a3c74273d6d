"""The README says what the program is."""

import re

from kinglet import run
from readme import README, with_tables


def test_the_tables_are_those_of_the_program():
    text = README.read_text()
    assert with_tables(text) == text, "the tables of README.md are old; type: make readme"


def test_every_option_has_its_row():
    """The table and the reference are made of the same declarations."""
    keys, path = set(), []
    for line in run("config", "--reference").stdout.splitlines():
        key = re.match(r"( *)(#?)(\w+):", line)
        if key:
            path = path[:len(key[1]) // 2] + [key[3]]
            if key[2]:
                keys.add(".".join(path))
    rows = set(re.findall(r"(?m)^\| `([\w.]+)` \|", README.read_text()))
    assert len(keys) > 30 and rows == keys
