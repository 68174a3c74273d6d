"""The unit tests' bundle, compiled for the Pi and run by the emulator."""

import re
import subprocess

import chroot
from problem import Problem, Step

# For one target; that of backups takes a quarter of an hour on two quiet cores.
SECONDS = 5400

# What cannot run there, and why.
NOT_THERE = {
    r"RefusalTests/(headers|secondHalf)\(\)":
        "they count what came in by TCP_INFO, which the emulator does not pass on",
    r"ProgramTests/missing\(\)":
        "in the emulator a program that cannot be started is a child that ends with 127",
    r"ChildProcessTests/signals\(\)":
        "the emulator keeps two real-time signals of every child for itself",
    r"BadNameServerTests/lifetime\(\)":
        "Debian 13's c-ares remembers answers itself, which Debian 12's does not",
    r"WebLimitTests/slowReader\(\)":
        "its server has two seconds to begin an answer, too few beside others; alone it passes",
}


def run(build, trees, names=None):
    """Runs the tests, one target after another: what runs all of them at a time with a width of our
    choice is newer than this compiler. `names` is a pattern for some of them.

    On Debian 13's libraries: Swift's shared ones, which only tests need, are too new for Debian 12's.
    """
    # Instead of a directory that its libraries' tree has too, the emulator shows the tree's.
    show_processes = 'mount --rbind /proc "$0/proc"; exec "$@"'
    command = [
        "sh", "-ec", show_processes, trees.debian13,
        trees.emulator, "-cpu", "cortex-a72", "-L", trees.debian13,
        "-E", f"LD_LIBRARY_PATH={trees.debian12 / 'usr/lib/swift/linux'}",
        build.products("debug") / "kingletPackageTests.xctest", "--testing-library",
        "swift-testing"]
    for pattern, reason in NOT_THERE.items():
        print(f"  left out: {pattern}: {reason}")
        command += ["--skip", pattern]
    targets = sorted(path.name for path in (build.repository / "Tests").glob("*Tests"))
    logs = build.repository / ".build/arm64/unit-tests"
    logs.mkdir(parents=True, exist_ok=True)
    failed = []
    for target in [None] if names else targets:
        log = logs / f"{target or 'some'}.log"
        with Step(f"Running {target or names} under emulation"):
            status = run_into(
                log, [*command, "--filter", names or rf"^{re.escape(target)}\."], build.source)
            lines = log.read_text(errors="replace").splitlines()
            said = [line for line in lines[:-1] if "✘" in line] + (lines[-1:] or ["it said nothing"])
            print("\n".join(f"  {line}" for line in said), flush=True)
        if status:
            failed.append(f"{target or names} ({status}, see {log.relative_to(build.repository)})")
    if failed:
        raise Problem(f"Unit tests fail under emulation: {', '.join(failed)}.")


def run_into(log, command, directory):
    """The end of a command, whose output goes into a file: 0, a status or what happened."""
    with open(log, "w") as output:
        try:
            return subprocess.run(
                chroot.together(command), cwd=directory, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, timeout=SECONDS).returncode
        except subprocess.TimeoutExpired:
            return f"not within {SECONDS} s"
