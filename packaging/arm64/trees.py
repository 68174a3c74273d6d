"""The directories that a build is made in: the tool chain's system, and those that the program is
linked with and run on. Packages are only unpacked; none of their scripts runs."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import package_sets
import swift_sdk
from problem import DiskFull, Problem

HERE = Path(__file__).parent
# Not needed for building: half of all.
LEFT_OUT = (
    "./dev/*", "./usr/share/doc/*/changelog*", "./usr/share/man/*", "./usr/share/locale/*",
    "./usr/share/info/*", "./usr/libexec/swift/bin/lldb*", "./usr/libexec/swift/bin/clangd",
    "./usr/libexec/swift/bin/sourcekit-lsp", "./usr/libexec/swift/bin/docc",
    "./usr/libexec/swift/lib/liblldb*", "./usr/libexec/swift/lib/libsourcekitd*",
    "./usr/libexec/swift/lib/python*", "./usr/libexec/swift/lib/swift/embedded",
    "./usr/libexec/swift/lib/swift/FrameworkABIBaseline",
    "./usr/libexec/swift/lib/swift/migrator")
STATUS = "var/lib/dpkg/status"
DIRECTORIES = (
    "build", "dev", "etc", "home", "host", "opt", "proc", "root", "sdk", "src", "sysroot", "tmp")


class Trees:
    """What the cache has unpacked, made when it is asked for."""

    def __init__(self, cache, locked):
        self.cache, self.locked = cache, locked

    def _recipe(self, *sets):
        """What a tree depends on: these packages, and the scripts that unpack them."""
        names = {each.name for each in sets}
        lines = [f"{p.set} {p.sha256}" for p in self.locked if p.set in names]
        scripts = (HERE / "trees.py", HERE / "swift_sdk.py", swift_sdk.SHIM)
        return "\n".join(lines + [script.read_text() for script in scripts])

    def files(self, packages):
        """The packages of a set."""
        return self.cache.checked([p for p in self.locked if p.set == packages.name])

    def _system(self, packages):
        """A tree that is the packages of one set."""
        def make(new):
            unpack(self.files(packages), new)
            write_status(self.files(packages), new)
            for directory in DIRECTORIES:
                (new / directory).mkdir(exist_ok=True)
            (new / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        return self.cache.tree(packages.name, self._recipe(packages), make)

    @property
    def tools(self):
        """The system with the compiler."""
        return self._system(package_sets.TOOLS)

    @property
    def debian12(self):
        """What the program is linked with: Debian 12's libraries, and Swift's."""
        def make(new):
            unpack(self.files(package_sets.DEBIAN_12), new)
            write_status(self.files(package_sets.DEBIAN_12), new)
            make_links_relative(new)
            unpack(
                self.files(package_sets.SWIFT), new, left_out=swift_sdk.LEFT_OUT,
                transform=swift_sdk.TRANSFORM)
            swift_sdk.complete(self.tools, new)
        return self.cache.tree(
            "debian12", self._recipe(package_sets.DEBIAN_12, package_sets.SWIFT), make)

    @property
    def debian13(self):
        return self._system(package_sets.DEBIAN_13)

    @property
    def emulator(self):
        """The program that runs arm64 programs."""
        return self._system(package_sets.EMULATOR) / "usr/bin/qemu-aarch64"

    @property
    def rivals(self):
        return self._system(package_sets.RIVALS)

    @property
    def machine(self):
        return self._system(package_sets.MACHINE)

    @property
    def kernel(self):
        return self._system(package_sets.KERNEL)


def unpack(files, tree, left_out=LEFT_OUT, transform=None):
    """Puts the files of packages into a tree, whose /bin and /lib are links into /usr."""
    (tree / "usr").mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / "usr" / name).mkdir(exist_ok=True)
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(f"usr/{name}")
    options = ["--keep-directory-symlink", "--no-same-owner", "--same-permissions", "--wildcards"]
    options += [f"--transform={transform}"] if transform else []
    options += [f"--exclude={pattern}" for pattern in left_out]

    def put(file):
        with subprocess.Popen(
                ["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE) as package:
            done = subprocess.run(
                ["tar", "-C", tree, *options, "-xf", "-"], stdin=package.stdout,
                capture_output=True, text=True)
        if done.returncode or package.returncode:
            if "No space left" in done.stderr or shutil.disk_usage(tree).free < 1_000_000:
                raise DiskFull(tree)
            raise Problem(f"{file} cannot be unpacked: {done.stderr.strip()[-500:]}")

    # The largest first: unpacking one takes one core.
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for _ in workers.map(put, sorted(files, key=lambda file: -file.stat().st_size)):
            pass


def write_status(files, tree):
    """Says of packages in a tree that they are installed, as dpkg does."""
    status = tree / STATUS
    status.parent.mkdir(parents=True, exist_ok=True)
    with open(status, "w") as stream:
        for file in files:
            fields = subprocess.run(
                ["dpkg-deb", "--field", file], check=True, capture_output=True, text=True).stdout
            stream.write(fields.replace("\n", "\nStatus: install ok installed\n", 1) + "\n")


def make_links_relative(tree):
    """The C library's link to /lib/… would lead a linker out of the tree."""
    for directory, directories, files in os.walk(tree):
        for name in directories + files:
            link = Path(directory, name)
            if link.is_symlink() and os.readlink(link).startswith("/"):
                target = tree / os.readlink(link).lstrip("/")
                link.unlink()
                # Where the link really is: /lib is one itself.
                link.symlink_to(os.path.relpath(target, Path(directory).resolve()))
