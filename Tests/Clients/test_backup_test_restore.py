"""Test restores: on a copy whatever the configuration says, and gone with whoever wanted them."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from kinglet import BINARY, FAST_KEYS
from people import JULIET, ROMEO, USERS
from raw_client import RawClient
from waiting import eventually


def contents(kinglet):
    """Who has an account and whose what is stored is: what a probe would change."""
    with sqlite3.connect(kinglet.data / "kinglet.db") as database:
        return [
            sorted(database.execute(query)) for query in (
                "SELECT local, domain FROM accounts", "SELECT id, jid FROM addresses",
                "SELECT count(*) FROM restorations")]


def with_history(make_server, **settings):
    """A stopped server that has one message and one backup."""
    kinglet = make_server(users=USERS, settings={**FAST_KEYS, **settings}).start()
    client = RawClient.logged_in(kinglet, ROMEO, "orchard")
    client.send(f"<message to='{JULIET.jid}' type='chat'><body>one</body></message>")
    client.expect_answer()
    client.connection.close()
    kinglet.stop()
    return kinglet


@pytest.mark.parametrize("place", ["absolute", "relative", "absent"])
def test_a_configuration_of_one_line_keeps_a_test_off_the_data(make_server, place):
    kinglet = with_history(make_server)
    options = {"domain": kinglet.domain, "data_dir": str(kinglet.data)}
    if place == "relative":
        options["data_dir"] = "data"
    elif place == "absent":
        del options["data_dir"]
    kinglet.configuration.write_text(json.dumps(options, indent=2))
    kinglet.command("backup", "run")
    before = contents(kinglet)
    kinglet.command("backup", "verify", "--restore")
    assert contents(kinglet) == before


def test_the_owners_limits_are_not_the_tests(make_server):
    """A server that sends its clients elsewhere, and deletes what is older than a second."""
    kinglet = with_history(make_server)
    with open(kinglet.configuration, "a", encoding="utf-8") as file:
        file.write(
            "\nlisten:\n  see_other_host: elsewhere.example\n"
            "archive:\n  max_age: 1s\n  query_time: 50ms\n")
    kinglet.command("backup", "run")
    kinglet.command("backup", "verify", "--restore")
