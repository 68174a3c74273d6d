"""How an archive of many rows is filled."""

import contextlib
import sqlite3
from types import SimpleNamespace

import archive_rows
import disk
import pytest
from processes import Skipped


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "archive.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entries (n INTEGER PRIMARY KEY, owner, contact)")
    return path


INSERTIONS = (
    archive_rows.NEW_ROWS + "INSERT INTO entries SELECT n, owner, contact FROM new_rows",)


def test_every_row_is_added_once_and_conversations_are_equally_long(database, monkeypatch):
    monkeypatch.setattr(archive_rows, "INSERTIONS", INSERTIONS)
    monkeypatch.setattr(archive_rows, "ROWS_AT_ONCE", 7000)
    rows = 2 * archive_rows.OWNERS * archive_rows.CONTACTS
    archive_rows.fill(database, rows)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT min(n), max(n), count(*) FROM entries").fetchone() \
            == (0, rows - 1, rows)
        lengths = connection.execute(
            "SELECT DISTINCT count(*) FROM entries GROUP BY owner, contact").fetchall()
        assert lengths == [(2,)]
        owner, contact = connection.execute(
            "SELECT owner, contact FROM entries WHERE n = 1234").fetchone()
        assert (owner, contact) == ("u34", "c12")


def test_without_an_archive_it_is_left_out(tmp_path, monkeypatch):
    server = SimpleNamespace(archives=False, directory=tmp_path)
    monkeypatch.setattr(archive_rows, "INSERTIONS", INSERTIONS)
    with pytest.raises(Skipped, match="no archive"):
        archive_rows.require(server, 1)
    server.archives = True
    archive_rows.require(server, 1)


def test_on_a_small_disk_it_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_rows, "INSERTIONS", INSERTIONS)
    server = SimpleNamespace(archives=True, directory=tmp_path)
    with pytest.raises(Skipped, match="free"):
        archive_rows.require(server, 10**12)


def test_the_disk_is_synced_for_as_long_as_asked(tmp_path):
    took = disk.syncs(tmp_path / "sync", 0)
    assert len(took) == 1 and took[0] > 0
    assert not list(tmp_path.iterdir())
