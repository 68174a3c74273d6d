"""The unit tests' bundle, compiled for the Pi and run by the emulator."""

import re
import subprocess

from problem import Problem, Step

# What cannot run there, and why.
NOT_THERE = {}


def run(build, trees, names=None):
    """Runs the tests, one target after another: what runs all of them at a time with a width of our
    choice is newer than this compiler. `names` is a pattern for some of them.

    On Debian 13's libraries: Swift's shared ones, which only tests need, are too new for Debian 12's.
    """
    command = [
        trees.emulator, "-cpu", "cortex-a72", "-L", trees.debian13,
        "-E", f"LD_LIBRARY_PATH={trees.debian12 / 'usr/lib/swift/linux'}",
        build.products("debug") / "kingletPackageTests.xctest", "--testing-library",
        "swift-testing"]
    for pattern, reason in NOT_THERE.items():
        print(f"  left out: {pattern}: {reason}")
        command += ["--skip", pattern]
    targets = sorted(path.name for path in (build.repository / "Tests").glob("*Tests"))
    failed = []
    for target in [None] if names else targets:
        with Step(f"Running {target or names} under emulation"):
            done = subprocess.run(
                [str(part) for part in (
                    *command, "--filter", names or rf"^{re.escape(target)}\.")],
                cwd=build.source, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace")
            lines = (done.stdout + done.stderr).splitlines()
            print("\n".join(line for line in lines if "✘" in line))
            print(f"  {lines[-1] if lines else 'it said nothing'}", flush=True)
        if done.returncode:
            failed.append(target or names)
    if failed:
        raise Problem(f"Unit tests fail under emulation: {', '.join(failed)}.")
