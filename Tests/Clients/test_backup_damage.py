"""Snapshots that were damaged or edited, also by somebody who means harm: `verify` names what is
wrong, `restore` gives nothing of it, and nothing outside is read, written or waited for."""

import json
import os
import resource
import shutil
import subprocess

import pytest

from backup_faults import Writer, add_uploads, configure, new_installation, snapshots
from kinglet import BINARY


@pytest.fixture(scope="module", params=["tree", "archive"])
def whole(request, tmp_path_factory):
    """An installation, stopped, with two snapshots; the database of the second has a segment."""
    directory = tmp_path_factory.mktemp("damage")
    kinglet = new_installation(directory)
    kinglet.is_tree = request.param == "tree"
    target = directory / "target"
    target.mkdir()
    configure(kinglet, target, encrypt=not kinglet.is_tree)
    kinglet.start(isolated=False)
    kinglet.command("backup", "run")
    writer = Writer(kinglet)
    while writer.answered < 50:
        assert writer.is_alive
    writer.stop()
    add_uploads(kinglet, 1)
    kinglet.command("backup", "run")
    kinglet.stop()
    shutil.copytree(target, directory / "whole", symlinks=True)
    kinglet.target = target
    return kinglet


@pytest.fixture
def kinglet(whole):
    """The target is as it was before each test; links between snapshots are of no matter here."""
    yield whole
    mend(whole)


def mend(kinglet):
    subprocess.run(["rm", "-rf", kinglet.target], check=True)
    shutil.copytree(kinglet.target.with_name("whole"), kinglet.target, symlinks=True)


def flip(file, position=None):
    """One bit, and nothing that would show it at a glance."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 4
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def restore(kinglet, *more, timeout=60):
    """Status, errors and files of a restore on a machine that remembers nothing."""
    place = kinglet.directory / "restored"
    process = subprocess.Popen(
        [BINARY, "backup", "restore", "--from", kinglet.target, "--key-file",
         kinglet.data / "secrets/backup.key", "--to", place, "--yes", "--config",
         kinglet.configuration, "--set", f"data_dir={kinglet.directory}/empty", *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A bomb would need more.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))
    output, errors = process.communicate(timeout=timeout)
    left = [path for path in place.rglob("*") if path.is_file()] if place.exists() else []
    shutil.rmtree(place, ignore_errors=True)
    return process.returncode, errors, left


def refused_restore(kinglet):
    """The one line of a restore that gives nothing."""
    status, errors, left = restore(kinglet)
    assert status == 1, (errors, left)
    assert errors.count("\n") == 1 and errors.startswith("kinglet: "), errors
    assert not left, left
    return errors


def refused_verify(kinglet):
    """What is wrong with the newest snapshot."""
    done = kinglet.command("backup", "verify", "--json", check=False)
    assert done.returncode == 1 and done.stderr == "", done
    outcome, = json.loads(done.stdout)
    assert outcome["faults"]
    return " ".join(outcome["faults"])


KINDS = {
    "base": "database/*/base-*", "segment": "database/*/*.wal", "upload": "uploads/*",
    "configuration": "config/*", "secrets": "secrets.age", "list": "files/*",
    "manifest": "manifest", "certificate": "data/*",
}


def test_one_bit_in_each_kind_of_file(kinglet):
    """Each is named by `verify`, and none is restored."""
    newest = kinglet.target / snapshots(kinglet.target.with_name("whole"))[-1] \
        if kinglet.is_tree else None
    kinds = KINDS if kinglet.is_tree else {"manifest": "snapshots/*", "pack": "packs/*/*"}
    for kind, pattern in kinds.items():
        files = [path for path in (newest or kinglet.target).glob(pattern) if path.is_file()]
        assert files, kind
        # Of packs, all: which of them the newest snapshot needs is not written on them.
        for file in files if kind == "pack" else sorted(files)[-1:]:
            flip(file)
        fault = refused_verify(kinglet)
        name = file.name if kind in ("list", "manifest", "secrets") else kind
        if kinglet.is_tree:
            assert file.name in fault or name in fault, (kind, fault)
        refused_restore(kinglet)
        mend(kinglet)
        status, errors, left = restore(kinglet)
        assert status == 0 and left, "it was the bit, and nothing else: " + errors


def test_all_but_a_damaged_upload_can_be_restored(kinglet):
    """The refusal says how; what is missing is named, and nothing else is missing. Without the
    database there is no restore, whatever is asked for."""
    _, _, everything = restore(kinglet)
    newest = kinglet.target / snapshots(kinglet.target.with_name("whole"))[-1] \
        if kinglet.is_tree else None
    if kinglet.is_tree:
        damaged = sorted((newest / "uploads").glob("*"))[:2]
        damaged[0].unlink()
        flip(damaged[1])
        assert "--skip-damaged" in refused_restore(kinglet)
        status, errors, left = restore(kinglet, "--skip-damaged")
        assert status == 0, errors
        assert {path.name for path in everything} - {path.name for path in left} >= {
            path.name for path in damaged}
        assert len(left) == len(everything) - 2
        mend(kinglet)
        flip(sorted(newest.glob("database/*/base-*"))[0])
    else:
        # The largest pack has the uploads of the first run, and its database.
        flip(max(kinglet.target.glob("packs/*/*"), key=lambda path: path.stat().st_size))
    status, errors, left = restore(kinglet, "--skip-damaged")
    assert status == 1 and not left, (errors, left)


def test_files_that_are_missing_cut_or_exchanged(kinglet):
    """As by hand, by a file manager, or by another snapshot's."""
    if not kinglet.is_tree:
        pytest.skip("packs are named by their digests; see above")
    first, newest = (kinglet.target / name for name in snapshots(kinglet.target))
    upload = sorted((newest / "uploads").iterdir())[0]
    base, = newest.glob("database/*/base-*")
    for change in (
            upload.unlink, base.unlink, lambda: upload.write_bytes(b""),
            lambda: os.truncate(base, base.stat().st_size - 4096),
            lambda: shutil.rmtree(newest / "uploads"),
            lambda: shutil.rmtree(newest / "files"),
            lambda: shutil.copy(first / "manifest", newest / "manifest"),
            lambda: (newest / "manifest").write_bytes(b"")):
        change()
        refused_verify(kinglet)
        refused_restore(kinglet)
        mend(kinglet)


def test_what_is_planted_is_neither_followed_nor_opened(kinglet, tmp_path):
    """Links, pipes and devices in the places of files and folders: no waiting, no way out."""
    if not kinglet.is_tree:
        pytest.skip("there is nothing but packs")
    outside = tmp_path / "outside"
    outside.mkdir()
    newest = kinglet.target / snapshots(kinglet.target)[-1]
    upload = sorted((newest / "uploads").iterdir())[0]
    shutil.copy2(upload, outside / upload.name)
    for number in range(40):
        shutil.copy2(upload, outside / f"more{number}")
    before = sorted(path.name for path in outside.iterdir())

    def instead(path, make):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        make(path)

    plants = [
        (upload, lambda path: path.symlink_to(outside / upload.name)),
        (upload, os.mkfifo), (upload, lambda path: path.symlink_to("/dev/zero")),
        (upload, lambda path: path.mkdir()),
        (newest / "uploads", lambda path: path.symlink_to(outside)),
        (newest / "files", lambda path: path.symlink_to(outside)),
        (newest / "manifest", os.mkfifo),
        (newest / "manifest", lambda path: path.symlink_to("/dev/zero")),
        (newest / "secrets.age", lambda path: path.symlink_to("/dev/zero")),
        (kinglet.target / "kinglet-backup.json", os.mkfifo),
        (kinglet.target / "kinglet-backup.json", lambda path: path.symlink_to("/dev/zero")),
        (kinglet.target / "pins", os.mkfifo),
    ]
    if os.geteuid() == 0:
        plants.append((upload, lambda path: os.mknod(path, 0o20600, os.makedev(1, 5))))
    kinglet.command("backup", "pin", newest.name)
    subprocess.run(["cp", "-a", kinglet.target / "pins", kinglet.target.with_name("whole")],
                   check=True)
    for path, make in plants:
        instead(path, make)
        if path.name not in ("pins", "kinglet-backup.json"):
            refused_verify(kinglet)
            refused_restore(kinglet)
        else:
            done = kinglet.command("backup", "verify", check=False)
            assert path.name == "pins" or done.returncode == 1
        # A run does not go through it either, and does not wait.
        done = kinglet.command("backup", "run", check=False)
        assert done.returncode in (0, 1) and done.stderr.count("\n") <= 1, done
        assert sorted(path.name for path in outside.iterdir()) == before, path
        mend(kinglet)


def test_json_that_is_a_bomb(kinglet):
    """Deep, long or huge numbers, at the target and in our own folder: one clear line."""
    bombs = (b"[" * 3_000_000, b'{"format":' * 300_000, b'{"format":1e999,"id":' + b"9" * 2_000_000,
             b'"' + b"x" * 5_000_000, bytes(range(256)) * 100, b"")
    if kinglet.is_tree:
        newest = kinglet.target / snapshots(kinglet.target)[-1]
        files = [newest / "manifest", sorted((newest / "files").iterdir())[0]]
    else:
        files = [sorted((kinglet.target / "snapshots").rglob("*.age"))[-1]]
    for file in files:
        for bomb in bombs:
            file.write_bytes(bomb + (b"\nhmac-sha256 " + b"0" * 64 + b"\n"))
            refused_verify(kinglet)
            refused_restore(kinglet)
        mend(kinglet)
    state = kinglet.data / "backup-state"
    for name in ("state.json", "schedule.json"):
        before = (state / name).read_bytes() if (state / name).exists() else None
        for bomb in bombs:
            (state / name).write_bytes(bomb)
            done = kinglet.command("backup", "list", check=False)
            assert done.returncode in (0, 1) and len(done.stderr) < 1000, done.stderr[:2000]
        if before is not None:
            (state / name).write_bytes(before)
            (state / "state.json.damaged").unlink(missing_ok=True)
    marker = kinglet.target / "kinglet-backup.json"
    for bomb in bombs:
        marker.write_bytes(bomb)
        done = kinglet.command("backup", "run", "--json", check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr[:2000]
        assert marker.read_bytes() == bomb
