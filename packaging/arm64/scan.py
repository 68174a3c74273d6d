"""What the program asks of the processor and of the C library, read from every instruction of it.

Disassembled as plain ARMv8.0, whatever came later is unknown to the disassembler: atomics of ARMv8.1,
AES and SHA, and all that will still be invented.
"""

import re
import subprocess
from collections import defaultdict

from problem import Problem

# Of what comes with Debian 12. A symbol of a newer version ends the program before it starts.
NEWEST = {"GLIBC": (2, 36), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)}
# libgcc's atomics look at run time, and have the older instructions beside the newer.
GUARDED = re.compile(r"__aarch64_(cas|swp|ldadd|ldclr|ldeor|ldset)\d+_(relax|acq|rel|acq_rel|sync)")
OLDER = re.compile(r"\tlda?x[rp]")
FUNCTION = re.compile(r"[0-9a-f]+ <(.*)>:")
# And data between instructions: it may be some that an assembler did not know.
UNKNOWN = re.compile(r"\s*([0-9a-f]+):\s+(?:<unknown>|(?:[0-9a-f]{2} )+\s*\.\w+)")


def check(build, program):
    """Raises what is newer than a Pi 4, or than Debian 12.

    - Parameter program: below the build's directory, with its symbols.
    """
    inside = f"/build/{program.relative_to(build.directory('release'))}"
    found = newer_versions(build.run("release", "readelf", "--version-info", "--wide", inside))
    if found:
        raise Problem(f"The program needs symbols newer than Debian 12's: {', '.join(found)}.")
    lines = Disassembly(build, inside)
    newer, guarded = newer_instructions(lines)
    if newer:
        names = "\n".join(
            f"  {function}: {name}" for function, addresses in sorted(newer.items())
            for name in sorted(lines.instructions(function, addresses)))
        raise Problem(f"Instructions that a Pi 4 does not have, with no check at run time:\n{names}")
    print(f"  {lines.count:,} lines, {guarded} guarded atomics, nothing else newer than ARMv8.0; "
          "no symbol newer than glibc 2.36")


def newer_versions(readelf):
    """The versions of symbols that Debian 12 does not have, of readelf's list of those needed."""
    needed = set()
    has_begun = False
    for line in readelf.splitlines():
        # Before it, those that the program itself would define.
        has_begun = has_begun or line.startswith("Version needs section")
        match = re.search(r"Name: ([A-Z]+)_([0-9.]+)", line)
        if has_begun and match and match[1] in NEWEST:
            if tuple(map(int, match[2].split("."))) > NEWEST[match[1]]:
                needed.add(f"{match[1]}_{match[2]}")
    if not has_begun:
        raise Problem("readelf lists no versions of symbols: that is no dynamically linked program.")
    return sorted(needed)


def newer_instructions(lines):
    """The addresses of unknown instructions, by function, and the number of those which are guarded."""
    newer, guarded = defaultdict(set), 0
    function, waiting, has_older = "", set(), False

    def close():
        nonlocal guarded
        if not waiting:
            return
        if GUARDED.fullmatch(function) and has_older:
            guarded += len(waiting)
        else:
            newer[function] |= waiting

    for line in lines:
        if match := FUNCTION.match(line):
            close()
            function, waiting, has_older = match[1], set(), False
        elif match := UNKNOWN.match(line):
            waiting.add(int(match[1], 16))
        elif OLDER.search(line):
            has_older = True
    close()
    return newer, guarded


class Disassembly:
    """The lines of llvm-objdump, as they come."""

    COMMAND = ("llvm-objdump", "--disassemble", "--no-show-raw-insn")

    def __init__(self, build, inside):
        self.build, self.inside = build, inside
        self.count = 0

    def __iter__(self):
        command = self.build.command("release", *self.COMMAND, "--mcpu=generic", self.inside)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                self.count += 1
                yield line
        if process.returncode or not self.count:
            raise Problem(f"{self.inside} cannot be disassembled.")

    def instructions(self, function, addresses):
        """What they are called where every instruction is known."""
        listing = self.build.run(
            "release", *self.COMMAND, f"--disassemble-symbols={function}", self.inside)
        for line in listing.splitlines():
            match = re.match(r"\s*([0-9a-f]+):\s+(.*)", line)
            if match and int(match[1], 16) in addresses:
                yield match[2].replace("\t", " ")
