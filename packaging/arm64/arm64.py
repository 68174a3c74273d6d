#!/usr/bin/env python3
"""The package for the Pi, made on a PC from Debian's packages. `make deb-arm64` calls it."""

import argparse
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import boot
import chroot
import debian_package
import gates
import image
import lock_file
import package_sets
import scan
import unit_tests
from cache import Cache
from cross import DEBUG, CrossBuild
from problem import DiskFull, Problem, Step, of_the_disk
from trees import Trees

REPOSITORY = Path(__file__).resolve().parents[2]


class Work:
    """What the commands have in common: the cache, held, and what it can make."""

    def __init__(self):
        self.cache = Cache()
        self.locked = lock_file.read()
        self.trees = Trees(self.cache, self.locked)
        self.build = CrossBuild(self.cache, self.trees, REPOSITORY)

    def fetch(self, *sets):
        """Has the packages of these sets here, on a machine that can use them."""
        if platform.machine() != "x86_64":
            raise Problem(
                f"This is for building on a PC (x86-64), and here is {platform.machine()}. On a Pi, "
                "type make deb.")
        chroot.check()
        self.cache.fetch(dict.fromkeys(sets), self.locked)

    def missing(self, *sets):
        names = {each.name for each in sets}
        return self.cache.missing(each for each in self.locked if each.set in names)


def lock(arguments):
    """Takes the versions that the mirror has now."""
    cache = Cache()
    try:
        old = lock_file.read()
    except Problem:
        # The other sets stay as they are.
        if arguments.sets:
            raise
        old = []
    sets = [each for each in package_sets.ALL
            if not arguments.sets or each.name in arguments.sets]
    with Step("Asking the mirror"):
        new = cache.renew(sets)
    new += [each for each in old if each.set not in {renewed.name for renewed in sets}]
    versions = {(each.set, each.name): each.version for each in new}
    compiler, modules = versions["tools", "swiftlang"], versions["swift", "swiftlang"]
    if compiler != modules:
        raise Problem(
            f"The mirror has Swift {compiler} for amd64 and {modules} for arm64: no compiler reads "
            "another one's modules. Try again in some hours; the lock is as it was.")
    lock_file.write(new)
    print("\n".join(lock_file.changes(old, new)))
    print(f"{lock_file.PATH.relative_to(REPOSITORY)} has {len(new)} packages.")
    if not arguments.sets:
        cache.close()
        work = Work()
        work.fetch(*package_sets.FOR_BUILDING)
        lock_file.write_swift(work.build.resolve())


def deb(_):
    """Builds, looks at and packs the program."""
    work = Work()
    package = REPOSITORY / f".build/kinglet_{debian_package.version(REPOSITORY)}_arm64.deb"
    package.unlink(missing_ok=True)
    work.fetch(*package_sets.FOR_BUILDING, *package_sets.FOR_RUNNING)
    program = work.build.release()
    with Step("Looking at every instruction"):
        scan.check(work.build, program)
    unproved = debian_package.make(work.build, work.trees)
    gates.check(work.build, work.trees, unproved)
    unproved.replace(package)
    print(f"{package.relative_to(REPOSITORY)}: {package.stat().st_size / 1e6:.1f} MB")


def check(arguments):
    """Compiles with the older compiler, and nothing else."""
    try:
        work = Work()
        if arguments.if_cached and work.missing(*package_sets.FOR_BUILDING):
            raise Problem("its tool chain is not in the cache. make check-6.2 fetches it.")
        work.fetch(*package_sets.FOR_BUILDING)
    except Problem as problem:
        if not arguments.if_cached:
            raise
        print(f"Not compiled with Swift 6.2: {problem}")
        return
    work.build.build("debug", "--product", "kinglet", *DEBUG)


def tests(arguments):
    """Runs the unit tests as a Pi's processor would."""
    work = Work()
    work.fetch(*package_sets.FOR_BUILDING, *package_sets.FOR_RUNNING)
    work.build.build("debug", "--build-tests", *DEBUG)
    unit_tests.run(work.build, work.trees, arguments.filter)


def boot_boards(_):
    """Boots whole machines."""
    work = Work()
    work.fetch(*package_sets.FOR_BOOTING, package_sets.DEBIAN_13)
    package = REPOSITORY / f".build/kinglet_{debian_package.version(REPOSITORY)}_arm64.deb"
    if not package.exists():
        raise Problem("There is no package for the Pi to boot: type make deb-arm64 first.")
    with Step("Making the machine's file system"):
        started = boot.Boot(work.trees, work.cache.directory / "boot", package)
    for board in boot.BOARDS:
        boot.check(started, board)


def container_image(_):
    """Makes the container image."""
    work = Work()
    work.fetch(*package_sets.IMAGES)
    path = image.make(
        work.cache, work.locked, REPOSITORY, debian_package.version(REPOSITORY),
        debian_package.time_of_sources(REPOSITORY))
    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size / 1e6:.1f} MB")


def count(arguments):
    """Counts instructions, ours and others'."""
    work = Work()
    work.fetch(*package_sets.FOR_BUILDING, package_sets.RIVALS)
    program = work.build.products("release") / "kinglet"
    if not program.exists():
        raise Problem("There is no program for the Pi to count: type make deb-arm64 first.")
    done = subprocess.run(chroot.together(
        [sys.executable, REPOSITORY / "Benchmarks/instructions.py", "--kinglet", program,
         "--tree", f"debian12={work.trees.debian12}", "--tree", f"rivals={work.trees.rivals}",
         *(["--servers", arguments.servers] if arguments.servers else [])]))
    sys.exit(done.returncode)


COMMANDS = {"lock": lock, "deb": deb, "check": check, "tests": tests, "boot": boot_boards,
            "image": container_image, "count": count}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--if-cached", action="store_true", help="do nothing without tool chain")
    parser.add_argument("--servers", help="only some servers' instructions")
    parser.add_argument("--filter", help="only unit tests whose names match")
    parser.add_argument(
        "--sets", nargs="+", choices=[each.name for each in package_sets.ALL],
        help="only some sets of the lock")
    arguments = parser.parse_args()
    # Trees and packages do not depend on who makes them.
    os.umask(0o022)
    # As a typed interrupt: what was started ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt:
        sys.exit("Interrupted. What was downloaded stays; type the same again to go on.")
    except Problem as problem:
        sys.exit(str(problem))
    except OSError as error:
        if isinstance(full := of_the_disk(error, error.filename or "the cache"), DiskFull):
            sys.exit(str(full))
        raise


if __name__ == "__main__":
    main()
