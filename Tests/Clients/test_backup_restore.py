"""Restores with the real program: by hand as the printed plan says, and by `kinglet backup restore`;
slixmpp logs in again and finds its history."""

import shutil
import sqlite3

import pytest

from kinglet import FAST_KEYS, Kinglet, one_line, run
from people import JULIET, ROMEO, USERS
from test_message_archive import bodies, ids, pages
from waiting import arrives

PLUGINS = ("xep_0030", "xep_0059", "xep_0313", "xep_0359")

# The command's tests have to wait for the command.
needs_command = pytest.mark.skipif(
    "backup" not in run("--help").stdout, reason="this build has no kinglet backup")


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
def key(tmp_path):
    """Where the recovery key is written down."""
    return tmp_path / "recovery-key"


def back_up(server, target, key):
    """Backs a running server up and writes the key down."""
    text = server.configuration.read_text()
    if "backup:" not in text:
        server.configuration.write_text(
            f"{text}\nbackup:\n  targets:\n    - name: disk\n      location: {target}\n"
            "      allow_same_medium: yes\n  jobs:\n    - name: nightly\n      targets: [disk]\n")
    server.command("backup", "run")
    shutil.copy(server.data / "secrets/backup.key", key)


def restore(target, key, *arguments):
    """`kinglet backup restore` where there is no configuration."""
    done = run("backup", "restore", "--from", target, "--key-file", key, "--yes", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_command
async def test_an_empty_machine_needs_only_the_key_and_the_target(
        connect, make_server, restored, tmp_path, key):
    server = make_server(users=USERS)
    target = tmp_path / "target"
    target.mkdir()
    server.start()
    await say(connect, server, "one", "two", "three")
    before = await history(connect, server)
    back_up(server, target, key)
    server.stop()
    shutil.rmtree(server.directory)

    said = restore(target, key, "--to", tmp_path / "new")
    assert "kinglet serve --config" in said
    after = restored(tmp_path / "new")
    assert await history(connect, after) == before
    assert await history(connect, after, ROMEO)
    assert ((tmp_path / "new").stat().st_mode & 0o777) == 0o700
    for path in (tmp_path / "new/secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@needs_command
async def test_a_wrong_key_opens_nothing_and_a_full_folder_stays(make_server, tmp_path, key):
    server = make_server(users=USERS).start()
    target = tmp_path / "target"
    target.mkdir()
    back_up(server, target, key)
    wrong = tmp_path / "wrong"
    wrong.write_text("AGE-SECRET-KEY-1" + "Q" * 58 + "\n")
    new = tmp_path / "new"
    one_line(run("backup", "restore", "--from", target, "--key-file", wrong, "--yes", "--to", new))
    assert not new.exists()
    new.mkdir()
    (new / "mine").touch()
    error = one_line(
        run("backup", "restore", "--from", target, "--key-file", key, "--yes", "--to", new))
    assert "not empty" in error and [path.name for path in new.iterdir()] == ["mine"]


@needs_command
async def test_replacing_keeps_what_was_there(connect, make_server, tmp_path, key):
    server = make_server(users=USERS).start()
    target = tmp_path / "target"
    target.mkdir()
    await say(connect, server, "one")
    back_up(server, target, key)
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


@needs_command
async def test_a_deleted_account_comes_back_with_its_history(
        connect, make_server, tmp_path, key):
    server = make_server(users=USERS).start()
    target = tmp_path / "target"
    target.mkdir()
    await say(connect, server, "one", "two")
    back_up(server, target, key)
    before = await history(connect, server)
    romeos = await history(connect, server, ROMEO)
    server.command("user", "remove", JULIET.jid)
    server.stop()
    server.command("backup", "restore", "--replace", "--user", JULIET.jid, "--yes")
    server.start()
    assert await history(connect, server) == before
    assert await history(connect, server, ROMEO) == romeos
