"""The versions and digests of what a build is made with: Debian's packages, and Swift's."""

import json
from dataclasses import dataclass
from pathlib import Path

from problem import Problem

PATH = Path(__file__).parent / "lock"
SWIFT_PATH = Path(__file__).parent / "lock.swift"
SWIFT_HEADER = """\
# The Swift packages in the package for the Pi, written by `make arm64-lock`: name, address, version,
# commit.
"""
HEADER = """\
# What the package for the Pi is built with, written by `make arm64-lock`:
# set, package, version, architecture, bytes, SHA-256.
"""


@dataclass(frozen=True, order=True)
class LockedPackage:
    """A package of a set, of exactly one content."""

    set: str
    name: str
    version: str
    architecture: str
    size: int
    sha256: str

    @property
    def file(self):
        """What the cache calls it: the content belongs to the name."""
        return f"{self.name}_{self.sha256[:16]}_{self.architecture}.deb"


def rows(path, count, digest):
    """The fields of each line: so many, the last one a digest of this length."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise Problem(
            f"There is no {path}. Take the committed file, or type make arm64-lock.") from None
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != count or len(fields[-1]) != digest:
            raise Problem(
                f"{path}:{number} is not a locked package. Take the committed file, or type "
                "make arm64-lock.")
        yield fields


def read(path=PATH):
    try:
        return [LockedPackage(*fields[:4], int(fields[4]), fields[5])
                for fields in rows(path, 6, 64)]
    except ValueError as error:
        raise Problem(
            f"{path} has a size that is none ({error}). Take the committed file, or type "
            "make arm64-lock.") from None


def write(packages, path=PATH):
    """Replaces the file at once, or leaves it as it was."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(HEADER + "".join(
        f"{package.set} {package.name} {package.version} {package.architecture} {package.size} "
        f"{package.sha256}\n" for package in sorted(packages)))
    new.replace(path)


def changes(old, new):
    """What a renewal changed, a line each."""
    before = {(package.set, package.name): package.version for package in old}
    after = {(package.set, package.name): package.version for package in new}
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{key[0]}: {key[1]} {before.get(key, '-')} -> {after.get(key, '-')}"


def read_swift(path=SWIFT_PATH):
    """The locked Swift packages, as SwiftPM's file of resolved versions."""
    pins = [
        {"identity": name, "kind": "remoteSourceControl", "location": address,
         "state": {"revision": commit, "version": version}}
        for name, address, version, commit in rows(path, 4, 40)]
    return json.dumps({"pins": pins, "version": 3}, indent=2) + "\n"


def write_swift(resolved, path=SWIFT_PATH):
    """Locks what SwiftPM has resolved."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(SWIFT_HEADER + "".join(
        f"{pin['identity']} {pin['location']} {pin['state']['version']} "
        f"{pin['state']['revision']}\n" for pin in json.loads(resolved)["pins"]))
    new.replace(path)
