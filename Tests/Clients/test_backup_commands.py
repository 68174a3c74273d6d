"""`kinglet backup`, with and without a running server: run, list, verify, restore, prune, pin."""

import os
import re
import signal
import sqlite3
import stat
import subprocess

import pytest

from certificates import Authority
from kinglet import BINARY, one_line
from people import JULIET, ROMEO
from waiting import eventually

# Nothing is isolated here, for an isolated server makes no backups.
SETTINGS = {
    "listen.addresses": "127.0.0.1", "listen.client_port": 0, "listen.client_tls_port": 0,
    "listen.server_port": 0, "listen.web_port": 0,
    "metrics.port": 0,
}


@pytest.fixture(params=["running", "stopped"])
def kinglet(request, make_server):
    """An installation with a user and an upload, in both states."""
    kinglet = make_server(users={ROMEO.jid: ROMEO.password}, settings=SETTINGS)
    (kinglet.data / "uploads").mkdir(exist_ok=True)
    (kinglet.data / "uploads" / "picture").write_bytes(os.urandom(100_000))
    if request.param == "running":
        kinglet.start(isolated=False)
    yield kinglet
    if kinglet.process is not None:
        kinglet.stop()


def only_target(kinglet):
    target, = kinglet.json("backup", "list")["targets"]
    return target


def test_a_run_without_configuration(kinglet):
    """It copies into the data directory, and says that this is no protection."""
    outcome = kinglet.json("backup", "run")
    assert (outcome["result"], outcome["job"]) == ("success", "default")
    assert outcome["isProtected"] is False
    assert "do not protect" in kinglet.command("backup", "run").stdout
    snapshots = only_target(kinglet)["snapshots"]
    assert [snapshot["id"][-6:] for snapshot in snapshots] == ["000001", "000002"]
    first, second = (
        kinglet.data / "backups" / snapshot["id"] / "uploads" / "picture"
        for snapshot in snapshots)
    assert first.stat().st_ino == second.stat().st_ino, "unchanged files are shared"
    assert first.read_bytes() == (kinglet.data / "uploads" / "picture").read_bytes()
    status = kinglet.json("status")["backup"]
    assert status["jobs"][0]["lastResult"] == "success"
    assert any("do not protect" in problem for problem in status["problems"])


def test_the_list_is_for_people(kinglet):
    """Ages and sizes that one can read, in columns, and what stands in the way of protection."""
    kinglet.command("backup", "run")
    lines = kinglet.command("backup", "list").stdout.splitlines()
    assert re.search(r"^target local: .* free, 1 snapshot, the newest \d+ s old$", lines[0]), lines
    assert re.fullmatch(
        r"  2\d{7}T\d{6}Z-000001  2\d{3}-\d\d-\d\d \d\d:\d\d  \d+ s  [\d.]+ KiB  default  "
        r"verified \d+ s ago", lines[1]), lines
    assert lines[2] == "job default: by hand, to local"
    assert re.fullmatch(r"  last run   success, \d+ s ago", lines[3]), lines
    assert lines[4].startswith("  warning    ") and "do not protect" in lines[4]


def test_secrets_leave_only_encrypted(kinglet):
    """No file of a snapshot holds a key; `backup.key` itself is in none."""
    kinglet.command("backup", "run")
    secret = (kinglet.data / "secrets" / "server.key").read_bytes()
    for folder, _, names in os.walk(kinglet.data / "backups"):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            assert secret not in content and b"AGE-SECRET-KEY" not in content, name


def test_the_state_is_private(kinglet):
    kinglet.command("backup", "run")
    folder = kinglet.data / "backup-state"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((kinglet.data / "secrets" / "backup.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "arguments, part",
    [(["run", "nowhere"], "known are default"), (["run", "--target", "x"], "known are local"),
     (["verify", "today"], "not the name of a snapshot"),
     (["pin", "20200101T000000Z-000009"], "no target has it"),
     (["target", "check", "x"], "known are local"),
     (["target", "add", "local"], "not behind SSH")])
def test_mistakes_have_one_clear_line(kinglet, arguments, part):
    assert part in one_line(kinglet.command("backup", *arguments, check=False))


def test_wrong_usage(make_server):
    kinglet = make_server(settings=SETTINGS)
    for arguments in (["run", "a", "b"], ["restore"], ["restore", "--to", "x", "--replace"]):
        assert kinglet.command("backup", *arguments, check=False).returncode == 64


def test_pins_keep_from_pruning(kinglet):
    """Pinned, listed, and let go again."""
    kinglet.command("backup", "run")
    name = only_target(kinglet)["snapshots"][0]["id"]
    kinglet.command("backup", "pin", name)
    assert only_target(kinglet)["snapshots"][0]["pinned"] is True
    kinglet.command("backup", "unpin", name)
    assert only_target(kinglet)["snapshots"][0]["pinned"] is False
    pruned, = kinglet.json("backup", "prune", "--dry-run")
    assert (pruned["kept"], pruned["removed"]) == ([name], [])


def test_a_flipped_bit_is_found(kinglet):
    """`verify` names the file, and its status is 1."""
    kinglet.command("backup", "run")
    name = only_target(kinglet)["snapshots"][0]["id"]
    assert all(not one["faults"] for one in kinglet.json("backup", "verify"))
    picture = kinglet.data / "backups" / name / "uploads" / "picture"
    before = picture.stat()
    content = bytearray(picture.read_bytes())
    content[5000] ^= 1
    picture.write_bytes(content)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = kinglet.command("backup", "verify", "--all", check=False)
    assert done.returncode == 1 and "uploads/picture" in done.stdout
    # Nothing of the next snapshot is taken from there.
    kinglet.command("backup", "run")
    assert not kinglet.json("backup", "verify")[0]["faults"]


def test_a_restore_is_proven_and_done(kinglet, tmp_path):
    """A test restore works, and a restored folder has the account and the upload."""
    kinglet.command("backup", "run")
    assert "restores" in kinglet.command("backup", "verify", "--restore").stdout
    place = tmp_path / "restored"
    kinglet.command("backup", "restore", "--to", place, "--yes")
    assert (place / "uploads" / "picture").read_bytes() == (
        kinglet.data / "uploads" / "picture").read_bytes()
    with sqlite3.connect(place / "kinglet.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_in_place_of_the_data(make_server):
    """`--replace` refuses while the server runs, and keeps what it replaced."""
    kinglet = make_server(users={ROMEO.jid: ROMEO.password}, settings=SETTINGS)
    kinglet.command("backup", "run")
    kinglet.add_user(JULIET.jid, JULIET.password)
    kinglet.start(isolated=False)
    line = one_line(kinglet.command("backup", "restore", "--replace", "--yes", check=False))
    assert "stop it first" in line
    kinglet.stop()
    kept = kinglet.json("backup", "restore", "--replace", "--yes")["kept"]
    assert kept and os.path.exists(os.path.join(kept, "kinglet.db"))
    users = {user["jid"] for user in kinglet.json("user", "list")}
    assert ROMEO.jid in users and JULIET.jid not in users


def test_an_isolated_server_makes_no_backups(make_server):
    kinglet = make_server(settings=SETTINGS).start()
    assert "--isolated" in one_line(kinglet.command("backup", "run", check=False))


def test_metrics_come_with_a_run_and_stay(make_server):
    """Nothing before there is anything to say; the same after a restart."""
    kinglet = make_server(settings=SETTINGS).start(isolated=False)
    assert "kinglet_backup_" not in kinglet.command("metrics").stdout
    kinglet.command("backup", "run")
    kinglet.stop()
    kinglet.start(isolated=False)
    page = kinglet.command("metrics").stdout
    assert 'kinglet_backup_last_result{backup="default",result="success"} 1' in page
    assert 'kinglet_backup_protected{backup="default"} 0' in page
    kinglet.stop()


def test_certificates_from_elsewhere_are_in_it(make_server, tmp_path):
    """The key only encrypted; a restore says where both came from and where they are."""
    elsewhere = tmp_path / "letsencrypt"
    elsewhere.mkdir()
    certificate, key = Authority(elsewhere).issue("example.test")
    kinglet = make_server(settings={
        **SETTINGS, "tls.certificate": certificate, "tls.key": key})
    kinglet.command("backup", "run")
    for folder, _, names in os.walk(kinglet.data / "backups"):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert b"PRIVATE KEY" not in file.read(), name
    expected = {certificate: certificate.read_bytes(), key: key.read_bytes()}
    place = tmp_path / "restored"
    said = kinglet.json("backup", "restore", "--to", place, "--yes")["notes"]
    for origin, content in expected.items():
        note, = (note for note in said if note.startswith(f"{origin} is in "))
        with open(note.partition(" is in ")[2].removesuffix("."), "rb") as file:
            assert file.read() == content


@pytest.mark.parametrize("place", ["server", "command"])
def test_the_end_of_the_terminal_ends_only_what_the_command_does_itself(
        make_server, tmp_path, place):
    """A run in the server goes on; one in the command is ended, and says so."""
    kinglet = make_server(settings=SETTINGS)
    begun, may_go_on = tmp_path / "begun", tmp_path / "may-go-on"
    with open(kinglet.configuration, "a", encoding="utf-8") as file:
        file.write(
            "\nbackup:\n  jobs:\n    - name: slow\n      schedule: yearly\n      targets: [local]\n"
            f"      before: touch {begun}; until [ -e {may_go_on} ]; do sleep 0.05; done\n")
    if place == "server":
        kinglet.start(isolated=False)
    command = subprocess.Popen(
        [str(part) for part in (
            BINARY, "backup", "run", "--config", kinglet.configuration,
            *(word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")))],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    eventually(begun.exists, "the run has begun")
    command.send_signal(signal.SIGHUP)
    _, said = command.communicate(timeout=30)
    if place == "command":
        assert command.returncode == 1 and "somebody ended it" in said, said
        return
    assert command.returncode == -signal.SIGHUP
    may_go_on.touch()
    eventually(
        lambda: [job.get("lastResult") for job in kinglet.json("status")["backup"]["jobs"]]
        == ["success"], "the run has ended")
