"""Backups to every kind of place through the real programs, and restores on an empty machine, with
nothing but the place and the recovery key; slixmpp logs in again and finds its history."""

import asyncio
import hashlib
import json
import os
import subprocess
import threading
from types import SimpleNamespace

import pytest
from slixmpp.exceptions import IqError

from backup_sites import all_sites, configuration
from kinglet import BINARY, FAST_KEYS, Kinglet, one_line
from people import JULIET, ROMEO, USERS
from stock_client import StockClient
from terminal import Terminal
from test_message_archive import ask, bodies, ids
from waiting import arrives

PLUGINS = ("xep_0030", "xep_0059", "xep_0313", "xep_0359")
TEXTS = ["one", "two", "three"]
NAMES = ["disk", "machine", "daemon", "cloud", "sealed"]
ARCHIVES = {"cloud", "sealed"}


async def log_in(server, person, resource):
    client = StockClient(server, person.jid, person.password, resource, plugins=PLUGINS)
    await client.log_in()
    await client.come_online()
    return client


async def say(server, *texts):
    """Romeo says something to Juliet, whom he has in his roster; her whole archive afterwards."""
    romeo, juliet = await log_in(server, ROMEO, "orchard"), await log_in(server, JULIET, "balcony")
    iq = romeo.Iq(stype="set")
    iq["roster"]["items"] = {JULIET.jid: {"name": "Juliet", "subscription": None}}
    await arrives(iq.send(), "the answer to a roster set")
    for text in texts:
        romeo.send_message(JULIET.jid, text, mtype="chat")
        assert (await arrives(juliet.next_message(), text))["body"] == text
    await romeo.settled()
    results, _ = await ask(juliet)
    iq = romeo.Iq(stype="get")
    iq.enable("roster")
    version = (await arrives(iq.send(), "the roster"))["roster"]["ver"]
    for client in (romeo, juliet):
        await client.leave()
    return list(zip(ids(results), bodies(results))), version


def in_own_loop(work):
    """The result of a coroutine, for a fixture that many tests share."""
    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(work)))
    thread.start()
    thread.join()
    assert found, "see the thread's exception"
    return found[0]


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory):
    """An installation that was backed up twice while it ran, to one place of each kind, and then
    went on for a moment; now it is stopped."""
    server = Kinglet(
        tmp_path_factory.mktemp("one"),
        settings={
            **FAST_KEYS, "listen.addresses": "127.0.0.1", "listen.client_port": 0,
            "listen.client_tls_port": 0, "listen.server_port": 0, "listen.web_port": 0, "metrics.port": 0})
    server.initialize()
    (server.data / "uploads").mkdir(exist_ok=True)
    (server.data / "uploads" / "picture").write_bytes(os.urandom(300_000))
    for jid, password in USERS.items():
        server.add_user(jid, password)
    with all_sites(tmp_path_factory.mktemp("sites")) as sites:
        server.configuration.write_text(server.configuration.read_text() + configuration(sites))
        printed = server.command("backup", "target", "add", "machine", "--yes").stdout
        sites["machine"].authorize(printed.splitlines()[-1])
        server.start(isolated=False)
        try:
            history, version = in_own_loop(say(server, *TEXTS))
            runs = [server.json("backup", "run") for _ in range(2)]
            later, _ = in_own_loop(say(server, "lost"))
        finally:
            server.stop()
        key = tmp_path_factory.mktemp("paper") / "key"
        key.write_bytes((server.data / "secrets/backup.key").read_bytes())
        stranger = Kinglet(tmp_path_factory.mktemp("stranger"))
        stranger.initialize()
        yield SimpleNamespace(
            server=server, sites=sites, runs=runs, history=history, roster_version=version,
            lost=later[-1][0], key=key, wrong_key=stranger.data / "secrets/backup.key",
            line=printed.splitlines()[-1])


@pytest.fixture(params=NAMES)
def site(request, backed_up):
    return backed_up.sites[request.param]


@pytest.fixture
def elsewhere(tmp_path):
    """A machine that knows nothing: runs a command in an empty directory."""
    home = tmp_path / "home"
    home.mkdir()

    def command(*arguments, environment=(), stdin=""):
        done = subprocess.run(
            [str(part) for part in (BINARY, *arguments)], input=stdin, cwd=home, timeout=60,
            capture_output=True, text=True, env={
                "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(tmp_path),
                **dict(environment)})
        assert list(home.iterdir()) == [], "nothing is left in the current directory"
        return done

    return command


def test_both_runs_succeed_and_the_second_sends_next_to_nothing(backed_up):
    for number, run in enumerate(backed_up.runs):
        assert run["result"] == "success", run
        sent = {target["target"]: target["transfer"]["bytesSent"] for target in run["targets"]}
        assert sent.keys() == set(NAMES)
        for name, count in sent.items():
            assert count > 300_000 if number == 0 else count < 20_000, (name, sent)


async def test_an_empty_machine_gets_everything_back(backed_up, site, elsewhere, tmp_path):
    """History, roster and passwords are there, and clients that know of more begin anew."""
    new = tmp_path / "new"
    done = elsewhere(
        "backup", "restore", "--from", site.location, "--key-file", backed_up.key, "--yes",
        "--to", new, *site.arguments, environment=site.environment)
    assert done.returncode == 0, done.stderr
    assert (new / "uploads/picture").read_bytes() == (
        backed_up.server.data / "uploads/picture").read_bytes()
    assert "AGE-SECRET-KEY-1" in (new / "secrets/backup.key").read_text()
    assert new.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (new / "secrets").rglob("*"))

    server = Kinglet(new, settings=FAST_KEYS)
    server.data = new
    server.start()
    try:
        juliet, romeo = await log_in(server, JULIET, "b"), await log_in(server, ROMEO, "o")
        results, _ = await ask(juliet)
        assert list(zip(ids(results), bodies(results))) == backed_up.history
        # XEP-0313 section 4.1.3: what it has seen last is not there, so it fetches all.
        with pytest.raises(IqError) as error:
            await ask(juliet, rsm={"after": backed_up.lost})
        assert error.value.condition == "item-not-found"
        # RFC 6121 section 2.6: a version from before the restore is not taken for the present one.
        iq = romeo.Iq(stype="get")
        iq["roster"]["ver"] = backed_up.roster_version
        answer = await arrives(iq.send(), "the roster")
        assert [str(jid) for jid in answer["roster"]["items"]] == [JULIET.jid]
        for client in (juliet, romeo):
            await client.leave()
    finally:
        server.stop()


def test_what_is_there_is_listed(backed_up, site, elsewhere):
    done = elsewhere(
        "backup", "list", "--from", site.location, "--key-file", backed_up.key, "--json",
        *site.arguments, environment=site.environment)
    target, = json.loads(done.stdout)["targets"]
    assert [one["id"][-6:] for one in target["snapshots"]] == ["000001", "000002"]
    assert all(
        one["domains"] == ["example.test"] and one["files"] > 3 for one in target["snapshots"])


def test_a_place_that_has_lost_its_marker_is_read_and_left_as_it_is(
        backed_up, site, elsewhere, tmp_path):
    marker, away = site.store / "kinglet-backup.json", tmp_path / "marker"
    away.write_bytes(marker.read_bytes())
    mode = marker.stat().st_mode
    marker.unlink()
    try:
        before = sorted(site.store.rglob("*"))
        words = [
            "--from", site.location, "--key-file", backed_up.key, "--json", *site.arguments]
        done = elsewhere("backup", "list", *words, environment=site.environment)
        target, = json.loads(done.stdout)["targets"]
        assert [one["id"][-6:] for one in target["snapshots"]] == ["000001", "000002"]
        assert "kinglet-backup.json is missing" in done.stderr
        new = tmp_path / "new"
        done = elsewhere(
            "backup", "restore", "--yes", "--to", new, *words, environment=site.environment)
        assert done.returncode == 0, done.stderr
        assert (new / "uploads/picture").read_bytes() == (
            backed_up.server.data / "uploads/picture").read_bytes()
        assert sorted(site.store.rglob("*")) == before
    finally:
        marker.write_bytes(away.read_bytes())
        marker.chmod(mode)


def test_a_wrong_key_opens_nothing(backed_up, site, elsewhere, tmp_path):
    new = tmp_path / "new"
    done = elsewhere(
        "backup", "restore", "--from", site.location, "--key-file", backed_up.wrong_key, "--yes",
        "--to", new, *site.arguments, environment=site.environment)
    assert "recovery key" in one_line(done) and not new.exists()
    if site.name == "disk":
        assert "recovery key" in one_line(elsewhere(
            "backup", "list", "--from", site.location, "--key-file", backed_up.wrong_key))


def test_a_wrong_place_has_one_clear_line(backed_up, site, elsewhere, tmp_path):
    """One that is empty, and one that does not exist."""
    empty = site.store.parent / "empty"
    empty.mkdir()
    places = [site.location + "/missing"]
    if site.name != "daemon":
        places.append(site.location.replace(str(site.store), str(empty)))
    for place in places:
        line = one_line(elsewhere(
            "backup", "restore", "--from", place, "--key-file", backed_up.key, "--yes", "--to",
            tmp_path / "new", *site.arguments, environment=site.environment))
        assert "/" in line and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments, part",
    [(["restore", "--from", "disk", "--to", "x", "--yes"], "no configuration"),
     (["restore", "--to", "x", "--yes"], "--from"),
     (["list", "--from", "disk"], "no location"),
     (["restore", "--from", "/", "--to", "x", "--yes"], "--key-file"),
     (["list", "--from", "/", "--key-file", "/dev/null"], "no key"),
     (["list", "--from", "/", "--key-file", "/nowhere"], "no such file")])
def test_mistakes_have_one_clear_line(elsewhere, arguments, part):
    assert part in one_line(elsewhere("backup", *arguments))


def test_the_password_of_a_daemon(backed_up, elsewhere):
    """From a file; without it, or with a wrong one, nothing is shown."""
    site = backed_up.sites["daemon"]
    words = ["backup", "list", "--from", site.location, "--key-file", backed_up.key]
    done = elsewhere(*words, "--password-file", site.password_file)
    assert done.returncode == 0 and "000002" in done.stdout
    for environment in ({}, {"RSYNC_PASSWORD": "wrong"}):
        line = one_line(elsewhere(*words, environment=environment))
        assert "password" in line and "pa55word" not in line


def test_ssh_asks_nothing(backed_up, elsewhere):
    """Without a key of the caller's it ends, and says whose keys are used."""
    site = backed_up.sites["machine"]
    line = one_line(elsewhere(
        "backup", "list", "--from", site.location, "--key-file", backed_up.key, "--ssh-config",
        "/dev/null"))
    assert "your own keys" in line


def test_the_key_is_typed_or_piped(backed_up, elsewhere, tmp_path):
    """On a terminal a mistake is said and it is asked for again; lower case and groups will do."""
    place = backed_up.sites["disk"].location
    text = backed_up.key.read_text()
    done = elsewhere("backup", "list", "--from", place, "--key-file", "-", stdin=text)
    assert done.returncode == 0 and "000002" in done.stdout, done.stderr
    secret = text.split()[-1].lower()
    empty = tmp_path / "empty"
    empty.mkdir()
    with Terminal(
            "env", "-C", empty, BINARY, "backup", "restore", "--from", place, "--to",
            tmp_path / "typed") as screen:
        screen.wait_for("recovery key")
        screen.type(secret[:-1] + ("q" if secret[-1] != "q" else "p") + "\n")
        screen.wait_for("mistyped")
        screen.type(f"{secret[:20]} {secret[20:40]}\n{secret[40:]}\n")
        screen.wait_for("Restore [no]")
        screen.type("yes\n")
        screen.wait_for("restored")
        assert screen.process.wait(30) == 0
    assert (tmp_path / "typed/kinglet.db").exists()


@pytest.mark.parametrize("name", ["machine", "sealed"])
def test_a_restore_is_tested(backed_up, name):
    """A second server starts on what another machine, or an archive, has; nothing of it stays."""
    said = backed_up.server.command("backup", "verify", "--restore", "--target", name).stdout
    assert "-000002 restores: " in said
    scratch = backed_up.server.data / "backup-state/scratch"
    assert not scratch.exists() or not list(scratch.iterdir())


def test_verify_finds_a_flipped_bit(backed_up, site):
    """In the database of a tree, in a pack of an archive."""
    pattern = "packs/*/*" if site.name in ARCHIVES else "*/database/kinglet.db/base-*"
    victim = max(site.store.glob(pattern), key=lambda path: path.stat().st_size)
    verify = ["backup", "verify", "--target", site.name]
    backed_up.server.command(*verify)
    before = victim.stat()
    whole = victim.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 2] ^= 1

    def write(content):
        with victim.open("r+b") as file:
            file.write(content)
        os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))

    write(broken)
    try:
        done = backed_up.server.command(*verify, check=False)
        assert done.returncode == 1 and "NOT good" in done.stdout, done
    finally:
        write(whole)


def test_the_restricted_key_changes_no_history(backed_up, tmp_path):
    """Whoever takes the machine over can neither delete nor overwrite a snapshot."""
    site = backed_up.sites["machine"]
    assert backed_up.line.startswith("restrict,command=")
    secrets = backed_up.server.data / "secrets/backup-ssh/machine"

    def digests():
        return {
            path.relative_to(site.store): hashlib.sha256(path.read_bytes()).digest()
            for path in site.store.rglob("*") if path.is_file()}

    def rsync(*arguments):
        shell = (
            f"ssh -F none -i {secrets}/key -o IdentitiesOnly=yes -o BatchMode=yes "
            f"-o UserKnownHostsFile={secrets}/known_hosts -p {site.port}")
        return subprocess.run(
            ["rsync", "-e", shell, *map(str, arguments)], capture_output=True, text=True,
            timeout=60)

    host = site.location.split("//")[1].split(":")[0]
    before = digests()
    snapshot = next(path.name for path in site.store.iterdir() if path.name.endswith("-000001"))
    empty, evil = tmp_path / "empty", tmp_path / "evil"
    empty.mkdir()
    evil.write_text("evil")
    assert rsync("--list-only", f"{host}:/{snapshot}/manifest").returncode == 0, "it may read"
    assert rsync("-r", "--delete", f"{empty}/", f"{host}:/").returncode != 0
    rsync("-I", evil, f"{host}:/{snapshot}/manifest")
    rsync("--inplace", "-I", evil, f"{host}:/kinglet-backup.json")
    assert digests() == before
