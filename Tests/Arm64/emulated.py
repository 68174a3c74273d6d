"""The package's program as a Pi's processor would run it, on the libraries of a Debian release."""

import os
import re
import shlex
import subprocess
from pathlib import Path

# What make deb-arm64 has made, and says to these tests.
PACKAGE = Path(os.environ.get("KINGLET_PACKAGE", ""))
EMULATOR = os.environ.get("ARM64_EMULATOR", "")
# Name and directory of each release.
RELEASES = dict(
    part.split("=", 1) for part in os.environ.get("ARM64_RELEASES", "").split(os.pathsep) if part)
# Tells programs that the processor has no AES and no SHA.
HIDING = Path(os.environ.get("ARM64_HIDING", ""))
# Of which the Cortex-A72 in the emulator has all, and the one in a Pi 4 none.
CRYPTO = re.compile(r"\b(aes(?:e|d|mc|imc)|sha(?:1|256|512)\w+|pmull2?)\b")


class Chip:
    """A Cortex-A72 on a release; `hides_crypto` makes it what is in a Pi 4."""

    def __init__(self, release, hides_crypto):
        self.release, self.hides_crypto = release, hides_crypto

    def command(self, program, log=None):
        """Runs a program; `log` is a file for every instruction of it that is reached."""
        command = [EMULATOR, "-cpu", "cortex-a72", "-L", RELEASES[self.release]]
        if self.hides_crypto:
            command += ["-E", f"LD_PRELOAD={HIDING}"]
        if log:
            command += ["-d", "in_asm", "-D", str(log)]
        return [*command, str(program)]

    def wrapper(self, directory, program, log=None):
        """A program for this machine that does what that one does there."""
        path = Path(directory) / "kinglet"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(self.command(program, log))} "$@"\n')
        path.chmod(0o755)
        return path


def unpack(directory):
    """The program in the package."""
    subprocess.run(["dpkg-deb", "--extract", PACKAGE, directory], check=True)
    return Path(directory) / "usr/bin/kinglet"


def crypto_instructions(log):
    """How often a file of reached instructions has each of those for AES and SHA."""
    counts = {}
    with open(log, errors="replace") as lines:
        for line in lines:
            if match := CRYPTO.search(line):
                counts[match[1]] = counts.get(match[1], 0) + 1
    return counts
