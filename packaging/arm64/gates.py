"""Runs a finished package as the Pi would, before anybody gets it."""

import os
import shutil
import subprocess
import sys
import tempfile

import chroot
import swift_sdk
from problem import Problem, Step, check_room

TESTS = "Tests/Arm64"


def check(build, trees, package):
    """Raises what does not start, serve or end on one of the releases."""
    repository = build.repository
    shutil.copy(repository / TESTS / "hide_crypto.c", build.directory("release"))
    build.run(
        "release", "clang", f"--target={swift_sdk.TRIPLE}", "--sysroot=/sysroot", swift_sdk.MARCH,
        "-O2", "-shared", "-fPIC", "-fuse-ld=lld", "/build/hide_crypto.c", "-o", "/build/hide_crypto.so")
    releases = {"debian12": trees.debian12, "debian13": trees.debian13}
    with Step("Running it under emulation"):
        done = subprocess.run(chroot.together(
            [sys.executable, "-m", "pytest", "-q", "-c", f"{TESTS}/pytest.ini", "--rootdir", ".",
             TESTS]), cwd=repository, stdin=subprocess.DEVNULL,
            env={**os.environ, "KINGLET_PACKAGE": str(package),
                 "ARM64_EMULATOR": str(trees.emulator),
                 "ARM64_HIDING": str(build.directory("release") / "hide_crypto.so"),
                 "ARM64_RELEASES": os.pathsep.join(f"{name}={tree}" for name, tree in releases.items()),
                 "ARM64_TOOLS": str(trees.tools)})
    if done.returncode:
        package.unlink()
        check_room(build.cache.directory, tempfile.gettempdir())
        raise Problem("The package does not do what it has to: see above. It is not kept.")
