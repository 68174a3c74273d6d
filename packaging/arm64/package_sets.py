"""Which packages of Debian a build for the Pi is made of, and with.

The tool chain and the arm64 modules of Swift's library have to be of one version: no compiler reads
the modules of another. They are in unstable alone; the libraries that the program is linked with are
those of the oldest release that it is to run on.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PackageSet:
    """Packages of one suite for one architecture, with what they depend on unless `alone`."""

    name: str
    suite: str
    architecture: str
    packages: tuple
    alone: bool = False
    # Of what they depend on, only names that begin so.
    kept: tuple = ("",)
    # With the updates of Debian's security team.
    secured: bool = False

    def __str__(self):
        return f"{self.suite} for {self.architecture}"


TOOLS = PackageSet(
    "tools", "sid", "amd64",
    ("swiftlang", "g++", "libc6-dev", "git", "ca-certificates", "bash", "dash", "coreutils",
     "findutils", "grep", "sed", "gawk", "pkgconf", "base-files"))
SWIFT = PackageSet("swift", "sid", "arm64", ("swiftlang", "libswiftlang"), alone=True)
# What every Debian has, or has something better than.
_OF_THE_SYSTEM = ("procps", "systemd-standalone-sysusers")
# What the program is linked with, and first run on.
DEBIAN_12 = PackageSet(
    "debian12", "bookworm", "arm64",
    ("base-files", "libc6-dev", "libgcc-12-dev", "libstdc++-12-dev", "libssl-dev",
     "libsqlite3-dev", "libmicrohttpd-dev", "libunistring-dev", "libidn2-dev",
     "libcurl4-openssl-dev", "libc-ares-dev", *_OF_THE_SYSTEM))
# What it has to run on too.
DEBIAN_13 = PackageSet(
    "debian13", "trixie", "arm64",
    ("base-files", "libc6", "libstdc++6", "libssl3t64", "libsqlite3-0", "libmicrohttpd12t64",
     "libunistring5", "libidn2-0", "libcurl4t64", "libcares2", *_OF_THE_SYSTEM))
# One file that needs no other: it runs wherever the kernel does.
EMULATOR = PackageSet("emulator", "trixie", "amd64", ("qemu-user",), alone=True)
# For a whole machine: its emulator, and the kernel that Debian has for a Pi.
MACHINE = PackageSet(
    "machine", "trixie", "amd64",
    ("qemu-system-arm", "device-tree-compiler", "cpio", "kmod", "coreutils", "dash", "findutils",
     "base-files"))
KERNEL = PackageSet(
    "kernel", "trixie", "arm64", ("linux-image-arm64", "busybox-static"),
    kept=("linux-image-", "busybox-static"))

# Whose instructions are counted beside ours.
RIVALS = PackageSet(
    "rivals", "bookworm", "arm64", ("prosody", "ejabberd", "erlang-p1-sqlite3", "lua-dbi-sqlite3"))

# What a container has besides the program: the libraries, and what backups are made with. Of the
# release that the package for PCs is built on.
_IN_IMAGES = (
    "base-files", "libc6", "libstdc++6", "libssl3", "libsqlite3-0", "libmicrohttpd12",
    "libunistring2", "libidn2-0", "libcurl4", "libc-ares2", "ca-certificates", "rsync",
    "openssh-client", "util-linux", "coreutils", "dash", "procps", "netbase", "tzdata")
IMAGES = tuple(
    PackageSet(f"image-{architecture}", "bookworm", architecture, _IN_IMAGES, secured=True)
    for architecture in ("amd64", "arm64"))

ALL = (TOOLS, SWIFT, DEBIAN_12, DEBIAN_13, EMULATOR, MACHINE, KERNEL, RIVALS, *IMAGES)
FOR_BUILDING = (TOOLS, SWIFT, DEBIAN_12)
FOR_RUNNING = (DEBIAN_12, DEBIAN_13, EMULATOR)
FOR_BOOTING = (MACHINE, KERNEL)
