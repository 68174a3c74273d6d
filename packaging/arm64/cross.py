"""Compiling for the Pi, in the tool chain's system and at the same paths every time."""

import os
import shutil
import subprocess
from pathlib import Path

import chroot
import lock_file
import swift_sdk
from problem import Problem, Step, check_room

# Where a release is compiled: its paths are in the program, and are to be the same everywhere.
FIXED = Path("/src/kinglet")
RESOLVED = "Package.resolved"
# Of this machine: how it finds hosts, and whom it trusts.
OF_THE_MACHINE = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl")
# Swift's own shared libraries are for a newer C library than the one that is linked with, and nobody
# but tests has them.
DEBUG = ("-Xlinker", "--allow-shlib-undefined")
RELEASE = (
    "-c", "release", "--static-swift-stdlib", "--product", "kinglet", "-Xlinker", "--build-id=none",
    # Libraries that have their own copy of it go on using that.
    "-Xlinker", f"--exclude-libs={swift_sdk.STATIC}.a")


class CrossBuild:
    """Builds of one checkout: each kind has a directory of its own in the cache."""

    def __init__(self, cache, trees, repository):
        self.cache, self.trees, self.repository = cache, trees, repository
        self.source = cache.directory / "source"
        self.sdk = cache.directory / "sdk"
        self.home = cache.directory / "home"

    def directory(self, kind):
        """What a kind of build leaves, `release` or `debug`."""
        return self.cache.directory / "build" / kind

    def _path(self, kind):
        """Where the sources are inside. Tests look for their files where they were compiled."""
        return FIXED if kind == "release" else self.source

    def products(self, kind):
        return self.directory(kind) / swift_sdk.TRIPLE / kind

    def build(self, kind, *options):
        """`swift build` for the Pi with its progress on the terminal."""
        self._prepare(kind, lock_file.read_swift())
        arguments = [
            "swift", "build", "--no-color-diagnostics", "--package-path", self._path(kind),
            "--scratch-path", "/build", "--swift-sdks-path", "/sdk", "--swift-sdk", swift_sdk.NAME,
            "--force-resolved-versions", *options]
        command = chroot.command(self.trees.tools, arguments, self._binds(kind))
        with Step(f"Compiling for arm64 ({kind})"):
            done = subprocess.run(command, stdin=subprocess.DEVNULL)
        if done.returncode:
            check_room(self.cache.directory)
            raise Problem(
                "It does not compile for arm64 by Debian's Swift: see above. Where it is about other "
                "packages' versions, make arm64-lock takes those that Package.swift asks for.")

    def resolve(self):
        """The newest versions of other packages that the sources take, as SwiftPM writes them."""
        self._prepare("resolve", None)
        with Step("Resolving Swift's packages"):
            self.run("resolve", "swift", "package", "--package-path", self._path("resolve"),
                     "--scratch-path", "/build", "resolve")
        return (self.source / RESOLVED).read_text()

    def _prepare(self, kind, resolved):
        copy_sources(self.repository, self.source, resolved)
        swift_sdk.write(self.sdk)
        self.home.mkdir(exist_ok=True)
        self.directory(kind).mkdir(parents=True, exist_ok=True)

    def run(self, kind, *arguments):
        """A command of the tool chain beside a build; what it printed."""
        return chroot.run(self.trees.tools, arguments, self._binds(kind))

    def command(self, kind, *arguments):
        """The arguments that run it and leave its output to the caller."""
        return chroot.command(self.trees.tools, arguments, self._binds(kind))

    def _binds(self, kind):
        # The home first: the sources may be in a directory of that name.
        binds = {
            self.home: "/root", self.trees.debian12: "/sysroot", self.sdk: "/sdk",
            self.source: self._path(kind), self.directory(kind): "/build"}
        binds.update({path: path for path in OF_THE_MACHINE if os.path.exists(path)})
        binds.update({path: path for path in write_git_settings(self.home)})
        return binds

    def release(self):
        """The program with its symbols, compiled from nothing: what an earlier build left could be
        in it."""
        if self.directory("release").exists():
            shutil.rmtree(self.directory("release"))
        self.build("release", *RELEASE)
        return self.products("release") / "kinglet"

    def stripped(self):
        """The program without what only debuggers read, and without what differs from build to
        build: a digest of modules, which nobody reads once it is linked."""
        self.run("release", "sh", "-ec", f"""
            cd /build
            in={swift_sdk.TRIPLE}/release/kinglet
            llvm-objcopy --dump-section .swift_modhash=modhash $in /dev/null
            head -c "$(stat -c %s modhash)" /dev/zero >zeros
            llvm-objcopy --strip-all --update-section .swift_modhash=zeros $in kinglet
            """)
        return self.directory("release") / "kinglet"


def copy_sources(repository, destination, resolved):
    """Makes the copy that is compiled like the checkout, but for the versions of other packages. What
    is the same keeps its time, by which a build knows what to compile again."""
    listed = subprocess.run(
        ["git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True)
    if listed.returncode:
        raise Problem(f"{repository} is no git checkout: {listed.stderr.strip()}")
    wanted = {name for name in listed.stdout.split("\0") if name}
    wanted = {name for name in wanted if os.path.lexists(repository / name)}
    for directory, _, files in os.walk(destination):
        for file in files:
            path = Path(directory, file)
            name = str(path.relative_to(destination))
            if name not in wanted and (name != RESOLVED or resolved is None):
                path.unlink()
    for name in wanted:
        old, new = destination / name, repository / name
        if new.is_symlink():
            if old.is_symlink() and os.readlink(old) == os.readlink(new):
                continue
        elif has_content(old, new.read_bytes()):
            continue
        old.unlink(missing_ok=True)
        old.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(new, old, follow_symlinks=False)
    if resolved is not None and not has_content(destination / RESOLVED, resolved.encode()):
        (destination / RESOLVED).write_text(resolved)


def has_content(path, data):
    return path.is_file() and not path.is_symlink() and path.read_bytes() == data


def write_git_settings(home):
    """Gives git inside the ways that git has here: other addresses, and how it reaches them. Returns
    the local directories among them."""
    listed = subprocess.run(
        ["git", "config", "--list", "--null"], cwd=home, capture_output=True, text=True).stdout
    # Whoever owns them here is somebody else inside.
    lines, directories = ["[safe]", "\tdirectory = *"], []
    for setting in filter(None, listed.split("\0")):
        key, _, value = setting.partition("\n")
        section, _, rest = key.partition(".")
        subsection, _, name = rest.rpartition(".")
        if section not in ("url", "http"):
            continue
        lines += [f'[{section} "{subsection}"]' if subsection else f"[{section}]",
                  f'\t{name} = "{value}"']
        local = subsection.removeprefix("file://")
        if section == "url" and local.startswith("/") and os.path.isdir(local):
            directories.append(local.rstrip("/"))
    (home / ".gitconfig").write_text("\n".join(lines) + "\n")
    return sorted(set(directories))
