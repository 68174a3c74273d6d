"""The Debian package of a program for another architecture, without a machine of that kind."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import package_sets
import swift_sdk
from problem import DiskFull, Problem, Step
from trees import STATUS

LIBRARIES = ("lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu")


def make(build, trees):
    """Strips and packs the release that was built. Returns the package, which nobody has tried."""
    repository = build.repository
    directory = repository / ".build/arm64/package"
    directory.mkdir(parents=True, exist_ok=True)
    with Step("Packing"), tempfile.TemporaryDirectory() as temporary:
        write_package_database(trees, Path(temporary))
        options = [f"--admindir={temporary}"]
        options += [f"-l{trees.debian12 / path}" for path in LIBRARIES]
        done = subprocess.run(
            ["packaging/build", version(repository), directory, build.stripped()], cwd=repository,
            capture_output=True, text=True,
            env={**os.environ, "ARCHITECTURE": "arm64", "STRIP": "",
                 "SHLIBDEPS": " ".join(options),
                 "CHECKOUTS": str(build.directory("release") / "checkouts"),
                 "LICENCES": " ".join(str(path) for path in (
                     trees.tools / "usr/share/doc/swiftlang/copyright",
                     trees.debian12 / f"usr/share/doc/{swift_sdk.STATIC}-dev/copyright"))})
    if done.returncode:
        if "No space left" in done.stderr:
            raise DiskFull(directory)
        raise Problem(f"The package cannot be made:\n{done.stderr.strip()}")
    return directory.parent / f"kinglet_{version(repository)}_arm64.deb"


def version(repository):
    """The version of the program in a checkout."""
    text = (repository / "Sources/Features/Software.swift").read_text()
    return re.search(r'let version = "(.*)"', text)[1]


def time_of_sources(repository):
    """Seconds since 1970 that a checkout is of: what is made of it says no other time."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or output("git", "-C", repository, "log", "-1", "--format=%ct"))


def write_package_database(trees, directory):
    """A database as dpkg has it, in which the Pi's libraries are installed where their tree is:
    dpkg-shlibdeps asks it which package a library is of, and which version has its symbols."""
    info = directory / "info"
    info.mkdir()
    (directory / "updates").mkdir()
    (info / "format").write_text("1\n")
    shutil.copy(trees.debian12 / STATUS, directory)
    for file in trees.files(package_sets.DEBIAN_12):
        fields = output("dpkg-deb", "--field", file)
        name = re.search(r"(?m)^Package: (.*)", fields)[1]
        if re.search(r"(?m)^Multi-Arch: same", fields):
            name += ":arm64"
        with tempfile.TemporaryDirectory() as control:
            output("dpkg-deb", "--control", file, control)
            for kind in ("symbols", "shlibs"):
                text = Path(control, kind)
                if text.exists():
                    (info / f"{name}.{kind}").write_bytes(text.read_bytes())
        listed = output("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -tf -', "sh", file)
        paths = {f"{trees.debian12}{line.lstrip('.').rstrip('/')}" for line in listed.splitlines()}
        # /lib is a link there.
        paths |= {path.replace(f"{trees.debian12}/lib/", f"{trees.debian12}/usr/lib/")
                  for path in paths}
        (info / f"{name}.list").write_text("".join(f"{path}\n" for path in sorted(paths)))


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Problem(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
