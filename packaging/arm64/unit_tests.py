"""The unit tests' bundle, compiled for the Pi and run by the emulator."""

import os
import subprocess

from problem import Problem, Step

# What cannot run there, and why.
NOT_THERE = {}


def run(build, trees, names=None):
    """Runs the tests; `names` is a pattern for some of them. On Debian 13's libraries, for Swift's
    shared ones, which only tests need, are too new for Debian 12's."""
    command = [
        trees.emulator, "-cpu", "cortex-a72", "-L", trees.debian13,
        "-E", f"LD_LIBRARY_PATH={trees.debian12 / 'usr/lib/swift/linux'}",
        build.products("debug") / "kingletPackageTests.xctest", "--testing-library",
        "swift-testing"]
    if names:
        command += ["--filter", names]
    for pattern, reason in NOT_THERE.items():
        print(f"  left out: {pattern}, {reason}")
        command += ["--skip", pattern]
    with Step("Running the unit tests under emulation"):
        done = subprocess.run([str(part) for part in command], cwd=build.repository,
                              stdin=subprocess.DEVNULL, env={**os.environ})
    if done.returncode:
        raise Problem(f"The unit tests end with status {done.returncode} under emulation.")
