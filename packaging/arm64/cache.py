"""What is kept between builds, outside the sources: packages, the trees that are made of them, and
what the compiler left."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import lock_file
from archive import Suite, mirror, security_mirror
from problem import Problem, Step

MEGABYTE = 1_000_000
# Beside the packages: the trees, and one build of each kind.
ROOM_FOR_TREES = 6_000 * MEGABYTE
BATCH = 24


class Cache:
    """The directory, held by one run at a time."""

    def __init__(self, directory=None):
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.directory = Path(directory or base / "kinglet/arm64")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._hold()
        except OSError as error:
            raise Problem(f"{self.directory} cannot be used: {error.strerror}") from error
        self.packages = self.directory / "packages"
        self._suites = {}

    def _hold(self):
        """The lock is the kernel's: it is gone with the process, however that ends."""
        self._held = open(self.directory / "in-use", "a+")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._held.seek(0)
            raise Problem(
                f"Another run is at work in {self.directory} (process {self._held.read()}). "
                "Wait for its end.") from None
        self._held.truncate(0)
        self._held.write(f"{os.getpid()}")
        self._held.flush()

    def close(self):
        """Lets the next run in."""
        self._held.close()

    def suite(self, packages):
        """The suite that a set is of."""
        key = packages.suite, packages.architecture, packages.secured
        if key not in self._suites:
            self._suites[key] = Suite(
                mirror(), packages.suite, packages.architecture, self.directory,
                security_mirror() if packages.secured else None)
        return self._suites[key]

    # Packages

    def missing(self, locked):
        """Those which were not downloaded yet."""
        return [package for package in locked if not (self.packages / package.file).exists()]

    def fetch(self, sets, locked):
        """Downloads the locked packages of some sets that are not here, and nothing else."""
        wanted = {each.name: self.missing(p for p in locked if p.set == each.name)
                  for each in sets}
        for each in sets:
            if not any(package.set == each.name for package in locked):
                raise Problem(f"The lock has no set {each.name}: type make arm64-lock.")
        size = sum(package.size for packages in wanted.values() for package in packages)
        if not size:
            return
        self._check_room(size)
        self._check_mirror(sets, wanted)
        count = sum(map(len, wanted.values()))
        with Step(f"Downloading {count} packages, {size // MEGABYTE:,} MB"):
            for each in sets:
                # Some are in several sets.
                packages = self.missing(wanted[each.name])
                for start in range(0, len(packages), BATCH):
                    batch = packages[start:start + BATCH]
                    self._download(each, batch)
                    print(f"  {each.name}: {start + len(batch)} of {len(packages)}", flush=True)

    def _check_room(self, size):
        free = shutil.disk_usage(self.directory).free
        needed = size + (0 if (self.directory / "trees").exists() else ROOM_FOR_TREES)
        if free < needed:
            raise Problem(
                f"{self.directory} needs {needed // MEGABYTE:,} MB and has "
                f"{free // MEGABYTE:,} MB. Make room, or set XDG_CACHE_HOME to a larger disk.")

    def _check_mirror(self, sets, wanted):
        """The mirror has what the lock names, or nothing is downloaded."""
        differing = []
        for each in sets:
            if not wanted[each.name]:
                continue
            offers = self.suite(each).offers([package.name for package in wanted[each.name]])
            for package in wanted[each.name]:
                offer = offers.get(package.name)
                if offer is None or (offer.version, offer.sha256) != (
                        package.version, package.sha256):
                    there = offer.version if offer else "nothing"
                    differing.append(
                        f"  {each}: {package.name} {package.version}, the mirror has {there}")
        if differing:
            raise Problem(
                "The mirror has moved on from the lock:\n" + "\n".join(differing)
                + "\nType make arm64-lock to renew it, and build again.")

    def _download(self, each, batch):
        """Packages are here once they are whole and are what the lock says."""
        partial = self.packages / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.suite(each).download([f"{p.name}={p.version}" for p in batch], partial)
        downloaded = {digest(file): file for file in partial.glob("*.deb")}
        for package in batch:
            if package.sha256 not in downloaded:
                raise Problem(
                    f"What the mirror gave as {package.name} {package.version} for {each} is not "
                    "what the lock says. Try again, or another MIRROR.")
            downloaded[package.sha256].rename(self.packages / package.file)
        partial.rmdir()

    def checked(self, locked):
        """The files of locked packages, each read and compared once more: they may be old."""
        files = []
        for package in locked:
            file = self.packages / package.file
            if digest(file) != package.sha256:
                file.unlink()
                raise Problem(
                    f"{file} was damaged and is removed. Type the same again to fetch it anew.")
            files.append(file)
        return files

    # Trees

    def tree(self, name, recipe, make):
        """A directory that `make` fills, made once for a recipe and whole or not there."""
        trees = self.directory / "trees"
        tree = trees / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
        if not tree.exists():
            trees.mkdir(exist_ok=True)
            for old in trees.glob(f"{name}-*"):
                shutil.rmtree(old)
            new = trees / f"{name}-unfinished"
            new.mkdir()
            with Step(f"Unpacking {name}"):
                make(new)
            new.rename(tree)
        return tree

    def renew(self, sets):
        """The lock as the mirror is now."""
        locked = []
        for each in sets:
            suite = self.suite(each)
            names = each.packages if each.alone else suite.closure(each.packages)
            names = sorted(name for name in names if name.startswith(each.kept))
            offers = suite.offers(names)
            for name in names:
                if name not in offers:
                    raise Problem(f"The mirror has no {name} in {suite}.")
                offer = offers[name]
                locked.append(lock_file.LockedPackage(
                    each.name, name, offer.version, each.architecture, offer.size, offer.sha256))
        return locked


def digest(file):
    """SHA-256 of a file, in hexadecimal digits."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
