#!/usr/bin/env python3
"""Backs up and restores a database that is larger than 1 GiB: there SQLite has a page for its locks,
which no copy holds. Takes 4 GB of disk and a minute or two.

    make build && .build/venv/bin/python Tests/Crash/large_database.py
"""

import argparse
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Clients"))

# pylint: disable=wrong-import-position
from backup_faults import new_installation

LOCK_BYTE = 0x40000000


def enlarge(path, page_size):
    """Rows around the lock page, and one behind it that is changed later."""
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(f"PRAGMA page_size = {page_size}")
        database.execute("VACUUM")
        database.execute("CREATE TABLE ballast (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")
        for _ in range(2):
            database.execute("INSERT INTO ballast (bytes) VALUES (zeroblob(?))", (LOCK_BYTE // 2,))
        database.execute("INSERT INTO ballast (bytes) VALUES (randomblob(300000))")
        database.execute("PRAGMA journal_mode = WAL")
    assert os.stat(path).st_size > LOCK_BYTE + page_size


def last_row(path):
    with sqlite3.connect(path) as database:
        return database.execute("SELECT bytes FROM ballast WHERE id = 3").fetchone()[0]


def expect_restores(kinglet, place):
    kinglet.command("backup", "restore", "--to", place, "--yes")
    with sqlite3.connect(place / "kinglet.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM ballast").fetchone() == (3,)
    assert last_row(place / "kinglet.db") == last_row(kinglet.data / "kinglet.db")
    (place / "kinglet.db").unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--page-size", type=int, default=65536)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        kinglet = new_installation(Path(directory))
        database = kinglet.data / "kinglet.db"
        enlarge(database, arguments.page_size)
        first = kinglet.json("backup", "run")
        assert first["targets"][0]["snapshot"], first
        expect_restores(kinglet, Path(directory) / "first")
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE ballast SET bytes = randomblob(300000) WHERE id = 3")
        second = kinglet.json("backup", "run")["targets"][0]
        assert second["transfer"]["literalBytes"] < 4_000_000, second
        expect_restores(kinglet, Path(directory) / "second")
        assert not kinglet.json("backup", "verify")[0]["faults"]
    print("whole, before and after a change beyond the lock page")


if __name__ == "__main__":
    main()
