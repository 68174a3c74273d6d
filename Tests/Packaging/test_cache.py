"""What a build for the Pi downloads, and what it says when that goes wrong: nothing half-made is
taken for whole, and the sentence says what to do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import archive
import lock_file
from archive import Suite
from cache import Cache
from package_sets import PackageSet
from problem import DiskFull, Problem
from trees import unpack

TOOLS = PackageSet("tools", "sid", "amd64", ("compiler",))
PACKAGING = Path(__file__).parents[2] / "packaging/arm64"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("cache.ROOM_FOR_TREES", 0)
    return Cache(tmp_path / "cache")


@pytest.fixture
def filled(mirror):
    """A compiler, the library that it needs, and something that nobody asked for."""
    mirror.add("sid", "amd64", "compiler", depends="library")
    mirror.add("sid", "amd64", "library", "2:3.4-5")
    mirror.add("sid", "amd64", "game")
    return mirror


def again(cache):
    """The same cache as the next run finds it."""
    directory = cache.directory
    cache.close()
    return Cache(directory)


def files(cache):
    return sorted(path.name for path in cache.packages.rglob("*") if path.is_file())


def test_the_lock_names_what_is_needed(cache, filled):
    """With versions and digests, and nothing else; from then on no mirror is asked."""
    locked = cache.renew([TOOLS])
    assert [(p.set, p.name, p.version, p.architecture) for p in locked] == [
        ("tools", "compiler", "1.0", "amd64"), ("tools", "library", "2:3.4-5", "amd64")]
    cache.fetch([TOOLS], locked)
    assert files(cache) == [package.file for package in locked]
    assert not (cache.packages / "partial").exists()
    filled.requests.clear()
    after = again(cache)
    after.fetch([TOOLS], locked)
    assert len(after.checked(locked)) == 2 and filled.requests == []


def test_a_mirror_that_moved_on(cache, filled):
    """All that differs is named, and nothing is downloaded."""
    locked = cache.renew([TOOLS])
    cache = again(cache)
    filled.add("sid", "amd64", "library", "2:3.5-1")
    with pytest.raises(Problem) as problem:
        cache.fetch([TOOLS], locked)
    assert "library 2:3.4-5, the mirror has 2:3.5-1" in str(problem.value)
    assert "make arm64-lock" in str(problem.value) and "compiler" not in str(problem.value)
    assert not any(request.endswith(".deb") for request in filled.requests)

    renewed = again(cache).renew([TOOLS])
    assert list(lock_file.changes(locked, renewed)) == ["tools: library 2:3.4-5 -> 2:3.5-1"]


def test_the_same_version_with_other_content(cache, filled):
    locked = cache.renew([TOOLS])
    filled.add("sid", "amd64", "library", "2:3.4-5", files={"usr/lib/library.so": "altered"})
    with pytest.raises(Problem, match="library 2:3.4-5"):
        again(cache).fetch([TOOLS], locked)


def test_a_mirror_without_the_suite(cache, mirror):
    mirror.add("bookworm", "amd64", "compiler")
    with pytest.raises(Problem, match="has no sid for amd64.*MIRROR="):
        cache.renew([TOOLS])


def test_a_mirror_that_is_not_there(cache, mirror, monkeypatch):
    monkeypatch.setenv("MIRROR", "http://127.0.0.1:1")
    with pytest.raises(Problem, match="The mirror http://127.0.0.1:1 does not give sid for amd64: "):
        cache.renew([TOOLS])


def test_a_mirror_of_somebody_else(cache, filled, tmp_path, monkeypatch):
    """Packages are Debian's, by its signature."""
    home, other = type(filled).make_key(tmp_path)
    monkeypatch.setattr("archive.KEYRING", other)
    with pytest.raises(Problem, match="not signed|NO_PUBKEY"):
        cache.renew([TOOLS])


def test_a_download_that_breaks_off(cache, filled):
    """What is whole stays, what is not is not there; the next run fetches it."""
    locked = cache.renew([TOOLS])
    filled.cut.add("library")
    with pytest.raises(Problem, match="does not give sid for amd64"):
        cache.fetch([TOOLS], locked)
    assert [name for name in files(cache) if name.startswith("library_") and "partial" not in name
            and (cache.packages / name).exists()] == []
    filled.cut.clear()
    cache = again(cache)
    cache.fetch([TOOLS], locked)
    assert files(cache) == [package.file for package in locked]


FETCH = """
import sys
from pathlib import Path
packaging, keyring, directory, lock = sys.argv[1:]
sys.path.append(packaging)
import archive, cache, lock_file, package_sets
archive.KEYRING, cache.ROOM_FOR_TREES = Path(keyring), 0
tools = package_sets.PackageSet("tools", "sid", "amd64", ("compiler",))
cache.Cache(directory).fetch([tools], lock_file.read(Path(lock)))
"""


def test_a_download_that_is_killed(cache, filled, tmp_path):
    """`kill -9` in the middle of it: nothing is in the way of the next run."""
    locked = cache.renew([TOOLS])
    lock_file.write(locked, tmp_path / "lock")
    cache.close()
    filled.stuck.add("library")
    with subprocess.Popen(
            [sys.executable, "-c", FETCH, PACKAGING, archive.KEYRING, cache.directory,
             tmp_path / "lock"], stdout=subprocess.DEVNULL) as fetching:
        assert filled.is_waited_for.wait(30)
        fetching.kill()
    filled.stuck.clear()
    cache = Cache(cache.directory)
    cache.fetch([TOOLS], locked)
    assert files(cache) == [package.file for package in locked]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command(mirror, tmp_path, number):
    """One sentence, and nothing that it started goes on."""
    mirror.stuck.add("InRelease")
    before = lock_file.PATH.read_bytes()
    with subprocess.Popen(
            [sys.executable, PACKAGING / "arm64.py", "lock"], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}) as command:
        assert mirror.is_waited_for.wait(30)
        command.send_signal(number)
        errors = command.communicate(timeout=30)[1]
    assert (command.returncode, errors.count("\n")) == (1, 1) and "Interrupted." in errors
    assert lock_file.PATH.read_bytes() == before
    Cache(tmp_path / "kinglet/arm64").close()


def test_an_empty_cache_is_said_and_no_failure(tmp_path):
    """What the test command does on a machine that never built for the Pi."""
    done = subprocess.run(
        [sys.executable, PACKAGING / "arm64.py", "check", "--if-cached"], capture_output=True,
        text=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Not compiled with Swift 6.2: its tool chain is not in the cache")


def test_a_damaged_package_is_not_used(cache, filled):
    locked = cache.renew([TOOLS])
    cache.fetch([TOOLS], locked)
    damaged = cache.packages / locked[0].file
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    with pytest.raises(Problem, match="was damaged and is removed"):
        cache.checked(locked)
    cache.fetch([TOOLS], locked)
    assert len(cache.checked(locked)) == 2


def test_a_second_run(cache, tmp_path):
    """It ends at once and says who is there. The first one's end, whatever it is, lets the next in."""
    cache.close()
    directory = str(cache.directory)
    with subprocess.Popen(
            [sys.executable, "-c", "import sys, time; sys.path.append(sys.argv[1]); import cache; "
             "held = cache.Cache(sys.argv[2]); print('held', flush=True); time.sleep(600)",
             PACKAGING, directory], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Problem, match=rf"Another run is at work .*process {first.pid}\)"):
            Cache(directory)
        first.send_signal(signal.SIGKILL)
    Cache(directory).close()


def test_too_little_room(cache, filled, monkeypatch):
    locked = cache.renew([TOOLS])
    monkeypatch.setattr("cache.ROOM_FOR_TREES", 10 ** 18)
    with pytest.raises(Problem, match=r"needs [\d,]+ MB and has [\d,]+ MB.*XDG_CACHE_HOME"):
        cache.fetch([TOOLS], locked)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("a mount needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_disk_that_fills_up(filled, small_disk, monkeypatch):
    """While downloading and while unpacking. What is there is whole; with room, the next run ends."""
    monkeypatch.setattr("cache.ROOM_FOR_TREES", 0)
    filled.add("sid", "amd64", "library", files={"usr/lib/large": os.urandom(1_500_000)})
    cache = Cache(small_disk / "cache")
    locked = cache.renew([TOOLS])
    (small_disk / "ballast").write_bytes(bytes(1_000_000))
    monkeypatch.setattr(cache, "_check_room", lambda size: None)
    with pytest.raises(DiskFull, match="is full"):
        cache.fetch([TOOLS], locked)
    assert not (cache.packages / locked[1].file).exists()

    (small_disk / "ballast").unlink()
    cache.fetch([TOOLS], locked)

    def make(tree):
        unpack(cache.checked(locked), tree)
    with pytest.raises(DiskFull, match="is full.*XDG_CACHE_HOME"):
        cache.tree("tools", "recipe", make)
    assert [path.name for path in (cache.directory / "trees").iterdir()] == ["tools-unfinished"]
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    tree = cache.tree("tools", "recipe", make)
    assert (tree / "usr/lib/large").stat().st_size == 1_500_000
    assert list((cache.directory / "trees").iterdir()) == [tree]


def test_a_tree_is_made_once(cache):
    """For one recipe; another recipe's replaces it."""
    made = []

    def make(tree):
        made.append(tree)
    first = cache.tree("tools", "recipe", make)
    assert cache.tree("tools", "recipe", make) == first and len(made) == 1
    second = cache.tree("tools", "other", make)
    assert second != first and not first.exists() and len(made) == 2
    assert cache.tree("toolsmith", "recipe", make).exists() and second.exists()


@pytest.mark.parametrize("line", [
    "tools compiler 1.0 amd64", "tools compiler 1.0 amd64 large " + 64 * "0",
    "tools compiler 1.0 amd64 1 0000", "tools compiler 1.0 amd64 1 " + 64 * "0" + " more"])
def test_a_damaged_lock(tmp_path, line):
    path = tmp_path / "lock"
    path.write_text(f"# The lock\n{line}\n")
    with pytest.raises(Problem, match="lock(:2 is not a locked package| has a size).*make arm64-lock"):
        lock_file.read(path)
    path.unlink()
    with pytest.raises(Problem, match="There is no .*lock.*make arm64-lock"):
        lock_file.read(path)


def test_the_lock_is_read_as_it_was_written(tmp_path):
    packages = [
        lock_file.LockedPackage("tools", f"p{n}", "1:2~3+b1", "amd64", n, 64 * "a")
        for n in range(3)]
    lock_file.write(packages, tmp_path / "lock")
    assert lock_file.read(tmp_path / "lock") == packages


def test_the_lock_of_swift_packages(tmp_path):
    """It is what SwiftPM reads, and every commit is named."""
    resolved = lock_file.read_swift()
    lock_file.write_swift(resolved, tmp_path / "lock.swift")
    assert (tmp_path / "lock.swift").read_text() == lock_file.SWIFT_PATH.read_text()
    (tmp_path / "lock.swift").write_text("# x\nswift-nio https://example.test/nio 1.0.0\n")
    with pytest.raises(Problem, match="lock.swift:2 is not a locked package"):
        lock_file.read_swift(tmp_path / "lock.swift")


def test_the_committed_lock():
    """It has every set, and compiler and modules of one version."""
    from package_sets import ALL
    packages = lock_file.read()
    assert {package.set for package in packages} == {each.name for each in ALL}
    for each in ALL:
        named = {package.name for package in packages if package.set == each.name}
        assert named >= {name for name in each.packages if name.startswith(each.kept)}
    versions = {package.version for package in packages if package.name == "swiftlang"}
    assert len(versions) == 1


def test_a_machine_without_a_mirror(monkeypatch, tmp_path):
    """One that is no Debian, say."""
    monkeypatch.delenv("MIRROR", raising=False)
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho 'Ubuntu|Ubuntu|http://localhost/'\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Problem, match="knows no mirror of Debian.*MIRROR="):
        archive.mirror()


def test_a_machine_without_the_keyring(cache, mirror, monkeypatch, tmp_path):
    monkeypatch.setattr("archive.KEYRING", tmp_path / "none.gpg")
    with pytest.raises(Problem, match="install debian-archive-keyring"):
        Suite(mirror.address, "sid", "amd64", cache.directory).update()
