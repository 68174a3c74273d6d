"""A clean Debian in a directory: the release of this machine and nothing but its base."""

import os
import shutil
import subprocess
import time
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kinglet"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# A base of yesterday makes the update inside cheap; an old one makes it a download of everything.
BASE_LASTS = 7 * 86_400


class CleanSystem:
    """A directory that commands run in as if it were the whole system. Needs root."""

    def __init__(self, directory):
        self.root = Path(directory) / "system"
        self.root.mkdir(mode=0o755)
        subprocess.run(
            ["tar", "--numeric-owner", "-xpf", base(), "-C", self.root], check=True)
        for file in ("resolv.conf", "hosts"):
            shutil.copy(Path("/etc") / file, self.root / "etc" / file)
        downloads = CACHE / "packages"
        downloads.mkdir(exist_ok=True)
        self._mounts = []
        self._mount("-t", "proc", "proc", self.root / "proc")
        self._mount("--bind", downloads, self.root / "var/cache/apt/archives")
        # The kernel's log, which the service is to be able to read.
        (self.root / "dev/kmsg").touch()
        self._mount("--bind", "/dev/kmsg", self.root / "dev/kmsg")

    def _mount(self, *arguments):
        subprocess.run(["mount", *arguments], check=True)
        self._mounts.append(arguments[-1])

    def close(self):
        for mount in reversed(self._mounts):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(self.root)

    def inside(self, *command):
        """The arguments that run a command inside."""
        return ["chroot", str(self.root), *(str(part) for part in command)]

    def run(self, *command, check=True):
        """Runs a command inside, as root and without a terminal."""
        environment = {
            "PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            self.inside(*command), env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if check:
            assert done.returncode == 0, f"{command}: {done.stdout}"
        return done

    def install(self, *packages):
        self.run("apt-get", "-q", "update")
        # apt as root lets another user download, who may not read everything.
        return self.run(
            "apt-get", "-q", "-y", "--no-install-recommends", "-o", "APT::Sandbox::User=root",
            "-o", "APT::Keep-Downloaded-Packages=true", "install", *packages).stdout

    def path(self, inside):
        """Where something of the inside is on the outside."""
        return self.root / str(inside).lstrip("/")

    @property
    def processes(self):
        """What runs inside, by its program."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "root").readlink() == self.root:
                    found.append((process / "exe").readlink())
            except OSError:
                continue
        return found


def base():
    """The archive of a minimal system, made by mmdebstrap from this machine's mirrors."""
    codename, architecture = (
        output("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"),
        output("dpkg", "--print-architecture"))
    archive = CACHE / f"{codename}-{architecture}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < BASE_LASTS:
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".new.tar")
    sources = sorted(set(output(
        "apt-get", "indextargets", "--format",
        "$(ORIGIN)|deb $(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages").splitlines()))
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", codename, unfinished, "-"],
        input="\n".join(
            line.removeprefix("Debian|") for line in sources if line.startswith("Debian|")),
        text=True, check=True)
    unfinished.rename(archive)
    return archive


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
