"""Restores with the real program: by hand as the printed plan says, and by `kinglet backup restore`;
slixmpp logs in again and finds its history."""

import shutil
import sqlite3
import subprocess

import pytest

from kinglet import FAST_KEYS, Kinglet, one_line
from people import JULIET, ROMEO, USERS
from test_message_archive import bodies, ids, pages
from unprivileged import IS_ROOT, USER, Place
from waiting import arrives

PLUGINS = ("xep_0030", "xep_0059", "xep_0313", "xep_0359")


class Restored(Kinglet):
    """What a restore makes: a data directory with its configuration in it."""

    def __init__(self, directory):
        super().__init__(directory, settings=FAST_KEYS)
        self.data = self.directory


@pytest.fixture
def restored(tmp_path):
    """A server on a folder that a restore has made; stopped at the end."""
    made = []

    def start(directory):
        kinglet = Restored(directory)
        made.append(kinglet)
        return kinglet.start()

    yield start
    for kinglet in made:
        kinglet.stop()


async def say(connect, server, *texts):
    """Romeo says something, and Juliet hears it."""
    juliet = await connect(JULIET, "balcony", on=server)
    romeo = await connect(ROMEO, "orchard", on=server)
    for text in texts:
        romeo.send_message(JULIET.jid, text, mtype="chat")
        assert (await arrives(juliet.next_message(), text))["body"] == text
    await romeo.settled()
    for client in (juliet, romeo):
        await client.leave()


async def history(connect, server, person=JULIET):
    """Ids and bodies of an archive, from old to new."""
    client = await connect(person, on=server, online=False, plugins=PLUGINS)
    results = [result for page in await pages(client) for result in page]
    await client.leave()
    return list(zip(ids(results), bodies(results)))


def copy_by_hand(server, directory):
    """What the plan has one do by hand, with a stopped server's files for the snapshot's."""
    directory.mkdir(mode=0o700)
    for name in ("kinglet.db", "ca.crt", "server.crt"):
        shutil.copy2(server.data / name, directory / name)
    shutil.copytree(server.data / "secrets", directory / "secrets")
    text = server.configuration.read_text()
    assert f"data_dir: {server.data}" in text
    (directory / "kinglet.yaml").write_text(
        text.replace(f"data_dir: {server.data}", "data_dir: ."))
    (directory / "restored-from").touch()


async def test_a_restore_by_hand_begins_a_new_epoch_once(connect, make_server, restored, tmp_path):
    server = make_server(users=USERS).start()
    await say(connect, server, "one", "two")
    before = await history(connect, server)
    server.stop()
    copy_by_hand(server, tmp_path / "copy")

    server.start()
    await say(connect, server, "lost", "lost too")
    lost = {number for number, _ in (await history(connect, server))[2:]}
    assert len(lost) == 2
    server.stop()

    after = restored(tmp_path / "copy")
    assert not (tmp_path / "copy/restored-from").exists()
    assert await history(connect, after) == before
    await say(connect, after, "new", "new too", "newest")
    now = await history(connect, after)
    assert now[:2] == before and [body for _, body in now[2:]] == ["new", "new too", "newest"]
    assert not {number for number, _ in now} & lost
    after.stop()
    with sqlite3.connect(tmp_path / "copy/kinglet.db") as database:
        assert database.execute("SELECT count(*) FROM archive_epochs").fetchone() == (2,)
    after.start()
    assert await history(connect, after) == now


# By the command


@pytest.fixture
def backed_up(make_server, tmp_path):
    """A running installation with one target, and a function that backs it up."""
    server = make_server(
        users=USERS, settings={
            # Not isolated, for an isolated server makes no backups.
            "listen.addresses": "127.0.0.1", "listen.client_port": 0,
            "listen.client_tls_port": 0, "listen.server_port": 0, "listen.web_port": 0, "metrics.port": 0})
    target = tmp_path / "target"
    target.mkdir()
    with server.configuration.open("a") as file:
        file.write(
            f"\nbackup:\n  targets:\n    - name: disk\n      location: {target}\n"
            "      allow_same_medium: yes\n")
    server.start(isolated=False)
    return server, lambda: server.command("backup", "run")


async def test_a_folder_with_something_in_it_stays(backed_up, tmp_path):
    server, back_up = backed_up
    back_up()
    new = tmp_path / "new"
    new.mkdir()
    (new / "mine").touch()
    for source in ("disk", tmp_path / "target"):
        error = one_line(server.command(
            "backup", "restore", "--from", source, "--yes", "--json", "--to", new, check=False))
        assert "not empty" in error and [path.name for path in new.iterdir()] == ["mine"]


async def test_replacing_keeps_what_was_there(connect, backed_up):
    server, back_up = backed_up
    await say(connect, server, "one")
    back_up()
    before = await history(connect, server)
    await say(connect, server, "two")
    assert "stop" in one_line(
        server.command("backup", "restore", "--replace", "--yes", check=False))
    server.stop()
    server.command("backup", "restore", "--replace", "--yes")
    kept, = server.data.glob("pre-restore-*")
    with sqlite3.connect(kept / "kinglet.db") as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone() == (2,)
    server.start()
    assert await history(connect, server) == before


async def test_a_replacement_from_a_place_that_is_not_configured(
        connect, backed_up, tmp_path):
    """The snapshot may be of another installation: a new one takes over what the old one had."""
    server, back_up = backed_up
    await say(connect, server, "one")
    before = await history(connect, server)
    back_up()
    server.stop()
    key = tmp_path / "key"
    shutil.copy(server.data / "secrets/backup.key", key)
    shutil.rmtree(server.data)
    server.command(
        "backup", "restore", "--replace", "--yes", "--from", tmp_path / "target", "--key-file", key)
    server.start()
    assert await history(connect, server) == before
    assert (server.data / "secrets/backup.key").read_text().split()[-1] == (
        key.read_text().split()[-1])


async def test_a_deleted_account_comes_back_with_its_history(connect, backed_up):
    server, back_up = backed_up
    await say(connect, server, "one", "two")
    back_up()
    before = await history(connect, server)
    romeos = await history(connect, server, ROMEO)
    server.command("user", "remove", JULIET.jid)
    server.stop()
    server.command("backup", "restore", "--user", JULIET.jid, "--yes")
    server.start()
    assert await history(connect, server) == before
    assert await history(connect, server, ROMEO) == romeos


# Where the data lies


@pytest.fixture
def elsewhere():
    """An installation of another user than root's, with one backup."""
    place = Place()
    try:
        place.initialize(ROMEO)
        place.server.command("backup", "run")
        yield place.server
    finally:
        place.remove()


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes somebody else")
def test_root_is_told_that_the_owner_of_the_data_cannot_write_there(elsewhere, tmp_path):
    error = one_line(elsewhere.command(
        "backup", "restore", "--to", tmp_path / "deep/new", "--yes", "--json", check=False))
    assert "cannot write there" in error and "the target's location" in error
    assert not (tmp_path / "deep").exists()
    open_to_all = elsewhere.directory / "new"
    elsewhere.command("backup", "restore", "--to", open_to_all, "--yes")
    assert (open_to_all / "kinglet.db").stat().st_uid == elsewhere.data.stat().st_uid
    # With a location all of it is root's own doing.
    elsewhere.command(
        "backup", "restore", "--to", tmp_path / "deep/new", "--yes", "--from",
        elsewhere.data / "backups")
    assert (tmp_path / "deep/new/kinglet.db").stat().st_uid == 0


@pytest.mark.skipif(not IS_ROOT, reason="only root mounts")
@pytest.mark.parametrize("kind", ["disk", "folder"])
def test_uploads_on_another_disk_are_found_before_anything_moves(elsewhere, kind, tmp_path):
    uploads = elsewhere.data / "uploads"
    uploads.mkdir(exist_ok=True)
    mount = (
        ["mount", "-t", "tmpfs", "tmpfs", uploads] if kind == "disk"
        else ["mount", "--bind", elsewhere.data / "secrets", uploads])
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted: {done.stderr.strip()}")
    try:
        before = sorted(elsewhere.data.iterdir())
        error = one_line(
            elsewhere.command("backup", "restore", "--replace", "--yes", "--json", check=False))
        assert "mounted here" in error and f"umount {uploads}" in error
        assert sorted(elsewhere.data.iterdir()) == before
    finally:
        subprocess.run(["umount", uploads], check=True)
    # It was made by root; so is what may be moved.
    error = one_line(
        elsewhere.command("backup", "restore", "--replace", "--yes", "--json", check=False))
    assert "somebody else's" in error and sorted(elsewhere.data.iterdir()) == before
    shutil.chown(uploads, USER, USER)
    elsewhere.command("backup", "restore", "--replace", "--yes")
    assert list(elsewhere.data.glob("pre-restore-*/uploads"))
