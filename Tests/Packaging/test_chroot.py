"""The tool chain's own system, and machines that do not let one have it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import chroot
import cross
from problem import Problem

PACKAGING = Path(__file__).parents[2] / "packaging/arm64"


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.test", *arguments],
                   check=True, capture_output=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="taking rights away needs root")
def test_a_user_who_may_make_no_namespace():
    """A container without the right to mount, as the kernel refuses it."""
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable, "-c",
         f"import sys; sys.path.append({str(PACKAGING)!r}); import chroot; chroot.check()"],
        capture_output=True, text=True)
    assert "Problem: This user may not make a namespace" in done.stderr
    assert "Operation not permitted" in done.stderr and "as root" in done.stderr


def test_a_machine_without_unshare(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="install util-linux"):
        chroot.check()


def test_unchanged_sources_keep_their_time(tmp_path):
    """By which a build knows what to compile again. What is gone is gone, what git does not follow
    does not come, and the versions of other packages are the locked ones."""
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    (repository / "Sources/A").mkdir(parents=True)
    (repository / "Package.swift").write_text("package")
    (repository / "Sources/A/a.swift").write_text("a")
    (repository / "Sources/A/b.swift").write_text("b")
    (repository / "Sources/A/link.swift").symlink_to("a.swift")
    (repository / ".gitignore").write_text("Package.resolved\n*.log\n")
    (repository / "Sources/A/noise.log").write_text("noise")
    (repository / "Package.resolved").write_text("of this machine")
    git("-C", repository, "init")
    git("-C", repository, "add", ".")
    cross.copy_sources(repository, copy, "locked")
    assert sorted(str(p.relative_to(copy)) for p in copy.rglob("*") if not p.is_dir()) == [
        ".gitignore", "Package.resolved", "Package.swift", "Sources/A/a.swift", "Sources/A/b.swift", "Sources/A/link.swift"]
    assert os.readlink(copy / "Sources/A/link.swift") == "a.swift"
    for path in ("Package.resolved", "Package.swift", "Sources/A/a.swift"):
        os.utime(copy / path, (1_000_000, 1_000_000))

    (repository / "Sources/A/a.swift").write_text("c")
    (repository / "Sources/A/b.swift").unlink()
    (repository / "Sources/A/new.swift").write_text("new")
    cross.copy_sources(repository, copy, "locked")
    for path in ("Package.resolved", "Package.swift"):
        assert (copy / path).stat().st_mtime == 1_000_000
    assert (copy / "Sources/A/a.swift").read_text() == "c"
    assert (copy / "Sources/A/a.swift").stat().st_mtime > 1_000_000
    assert not (copy / "Sources/A/b.swift").exists() and (copy / "Sources/A/new.swift").exists()
    cross.copy_sources(repository, copy, "locked anew")
    assert (copy / "Package.resolved").read_text() == "locked anew"
    cross.copy_sources(repository, copy, None)
    assert not (copy / "Package.resolved").exists()


def test_no_checkout(tmp_path):
    with pytest.raises(Problem, match="is no git checkout"):
        cross.copy_sources(tmp_path, tmp_path / "copy", None)


def test_gits_other_addresses_count_inside(tmp_path, monkeypatch):
    """A mirror of repositories in a directory is seen there too."""
    home, local = tmp_path / "home", tmp_path / "repositories"
    home.mkdir()
    local.mkdir()
    (tmp_path / "gitconfig").write_text(
        f'[user]\n\tname = x\n[url "{local}/"]\n\tinsteadOf = https://example.test/\n'
        '[url "https://mirror.test/"]\n\tinsteadOf = https://example.org/\n'
        '[http]\n\tproxy = http://proxy.test:3128\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    assert cross.write_git_settings(home) == [str(local)]
    listed = subprocess.run(
        ["git", "config", "--file", home / ".gitconfig", "--list"], check=True,
        capture_output=True, text=True).stdout
    assert f"url.{local}/.insteadof=https://example.test/" in listed
    assert "url.https://mirror.test/.insteadof=https://example.org/" in listed
    assert "http.proxy=http://proxy.test:3128" in listed and "user" not in listed
