"""The scan of a package's instructions finds what it is for."""

import os
import subprocess
from pathlib import Path

import pytest

import chroot
import scan
import swift_sdk
from emulated import RELEASES, Chip
from problem import Problem

# Assembled as they stand, so that a compiler changes nothing.
ATOMIC = "ldadd x0, x0, [x1]"
CIPHER = "aese v0.16b, v1.16b"
FUNCTION = ".globl {name}\n.type {name}, %function\n{name}: {body}\nret\n.size {name}, .-{name}\n"
# What no processor of today has an instruction for.
NOTHING = ".inst 0x02000000"


class Objects:
    """A directory of objects for the Pi, made by the tool chain."""

    def __init__(self, directory):
        self._directory = directory
        self._tools = Path(os.environ["ARM64_TOOLS"])
        self._binds = {directory: "/build", RELEASES["debian12"]: "/sysroot"}

    def directory(self, _):
        return self._directory

    def run(self, _, *arguments):
        return chroot.run(self._tools, arguments, self._binds)

    def command(self, _, *arguments):
        return chroot.command(self._tools, arguments, self._binds)

    def assemble(self, architecture="armv8-a", **functions):
        """A program of functions by name, the lines of each between semicolons."""
        text = "".join(
            FUNCTION.format(name=name, body=body.replace(";", "\n"))
            for name, body in {"_start": "nop", **functions}.items())
        (self._directory / "program.s").write_text(text)
        self.run("", "clang", f"--target={swift_sdk.TRIPLE}", f"-march={architecture}",
                 "-nostdlib", "-fuse-ld=lld", "/build/program.s", "-o", "/build/program")
        return scan.newer_instructions(scan.Disassembly(self, "/build/program"))

    def names(self, function, addresses):
        return set(scan.Disassembly(self, "/build/program").instructions(function, addresses))


@pytest.fixture
def objects(tmp_path):
    return Objects(tmp_path)


def test_plain_instructions_pass(objects):
    assert objects.assemble(copy="ldr q0, [x0]; fadd v0.2d, v0.2d, v0.2d; ldxr x2, [x0]") == ({}, 0)


@pytest.mark.parametrize("architecture, instruction", [
    ("armv8.1-a", ATOMIC), ("armv8.1-a", "casal x0, x1, [x2]"),
    ("armv8-a+crypto", CIPHER), ("armv8-a+crypto", "sha256h q0, q1, v2.4s"),
    ("armv8-a+crypto", "pmull v0.1q, v1.1d, v2.1d"), ("armv8.2-a+dotprod", "udot v0.4s, v1.16b, v2.16b"),
    ("armv8.3-a", "ldapr x0, [x1]"), ("armv8.3-a", "retaa"), ("armv8.2-a+sve", "ptrue p0.b")])
def test_newer_instructions_are_found(objects, architecture, instruction):
    """Wherever they stand, and they are named."""
    found, guarded = objects.assemble(architecture, before="nop", hidden=f"nop; {instruction}")
    assert list(found) == ["hidden"] and guarded == 0
    (name,) = objects.names("hidden", found["hidden"])
    assert name.split()[0] == instruction.split()[0]


@pytest.mark.parametrize("line", [NOTHING, ".long 0x4e285820"])
def test_what_no_disassembler_knows_is_found(objects, line):
    """Nor what was written as data: that one is aese."""
    found, _ = objects.assemble(odd=line)
    assert list(found) == ["odd"]


def test_guarded_atomics_pass(objects):
    """libgcc's, which have both ways in them. The name alone is not enough, nor is a way back."""
    both = f"{ATOMIC}; ldxr x2, [x1]"
    assert objects.assemble("armv8.1-a", __aarch64_ldadd8_acq_rel=both) == ({}, 1)
    for name, body in (("__aarch64_ldadd8_acq_rel", ATOMIC), ("mine", both),
                       ("__aarch64_ldadd8_acq_rel", f"{CIPHER}; ret")):
        found, guarded = objects.assemble("armv8.1-a+crypto", **{name: body})
        assert list(found) == [name] and guarded == 0


def test_symbols_newer_than_debian_12_are_found():
    listed = """
Version definition section '.gnu.version_d' contains 1 entry:
  000000: Rev: 1  Flags: BASE  Index: 1  Cnt: 1  Name: GLIBC_9.99
Version needs section '.gnu.version_r' contains 2 entries:
  0x0010:   Name: GLIBC_2.17  Flags: none  Version: 9
  0x0020:   Name: GLIBC_2.36  Flags: none  Version: 8
"""
    assert scan.newer_versions(listed) == []
    more = "  0x0030:   Name: GLIBC_2.38  Flags: none  Version: 7\n  Name: GLIBCXX_3.4.31  Flags"
    assert scan.newer_versions(listed + more) == ["GLIBCXX_3.4.31", "GLIBC_2.38"]
    with pytest.raises(Problem, match="no versions"):
        scan.newer_versions("")


@pytest.mark.parametrize("release", RELEASES)
def test_the_emulated_chip_refuses_newer_atomics(objects, release):
    """What the gates run on is ARMv8.0 there: signal 4, SIGILL."""
    objects.assemble("armv8.1-a", main=f"mov x1, sp; {ATOMIC}; mov x8, 93; mov x0, 0; svc 0")
    program = objects.directory("") / "program"
    objects.run("", "clang", f"--target={swift_sdk.TRIPLE}", "-march=armv8.1-a", "-nostdlib",
                "-fuse-ld=lld", "-static", "-Wl,-e,main", "/build/program.s", "-o", "/build/program")
    done = subprocess.run(Chip(release, False).command(program), capture_output=True)
    assert done.returncode == -4, done
