"""Debian's archive as this machine's mirror has it, read by apt with a state of its own: nothing is
installed, and no right is needed."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from problem import DiskFull, Problem

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ORIGINS = ("$(ORIGIN)|$(LABEL)|$(SITE)", "Created-By: Packages")


@dataclass(frozen=True)
class Offer:
    """A package that the mirror has."""

    version: str
    size: int
    sha256: str


def mirror():
    """The address of Debian's archive: MIRROR, or the one that this machine uses."""
    return _mirror("MIRROR", "Debian", "of Debian")


def security_mirror():
    """The address of its security updates: SECURITY_MIRROR, or the one that this machine uses."""
    return _mirror("SECURITY_MIRROR", "Debian-Security", "of Debian's security updates")


def _mirror(variable, label, name):
    if os.environ.get(variable):
        return os.environ[variable].rstrip("/")
    try:
        lines = subprocess.run(
            ["apt-get", "indextargets", "--format", *ORIGINS],
            check=True, capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        lines = []
    for line in lines:
        parts = line.split("|", 2)
        if parts[:2] == ["Debian", label]:
            return parts[2].rstrip("/")
    raise Problem(
        f"This machine knows no mirror {name}. Type apt-get update as root, or give one: "
        f"{variable}=http://… before the same.")


class Suite:
    """A suite of the mirror, seen from one architecture; with the security updates if there is a
    mirror of them."""

    def __init__(self, mirror, name, architecture, cache, security_mirror=None):
        self.mirror, self.name, self.architecture = mirror, name, architecture
        self.security_mirror = security_mirror
        kind = f"{name}-security" if security_mirror else name
        self.directory = cache / "apt" / f"{kind}-{architecture}"
        self._has_lists = False

    def __str__(self):
        return f"{self.name} for {self.architecture}"

    def _write_settings(self):
        etc, lists = self.directory / "etc", self.directory / "lib"
        for directory in (etc / "apt.conf.d", etc / "preferences.d", etc / "sources.list.d",
                          lists / "lists/partial", self.directory / "cache/archives/partial"):
            directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        # This machine's choice between its own suites.
        (etc / "apt.conf").write_text("#clear APT::Default-Release;\n")
        sources = [(self.mirror, self.name)]
        if self.security_mirror:
            sources.append((self.security_mirror, f"{self.name}-security"))
        (etc / "sources.list").write_text("".join(
            f"deb [arch={self.architecture} signed-by={KEYRING}] {mirror} {name} main\n"
            for mirror, name in sources))

    def _apt(self, program, *arguments, directory=None):
        etc, lists = self.directory / "etc", self.directory / "lib"
        options = {
            "Dir::Etc": etc, "Dir::Etc::sourcelist": etc / "sources.list", "Dir::State": lists,
            "Dir::State::status": self.directory / "status",
            "Dir::Cache": self.directory / "cache", "APT::Architecture": self.architecture,
            "APT::Architectures::": self.architecture, "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Acquire::Retries": "3"}
        return subprocess.run(
            [program, "-c", etc / "apt.conf", *(f"-o{key}={value}" for key, value in options.items()),
             *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"}, cwd=directory or self.directory)

    def update(self):
        """Fetches what the suite has, once."""
        if self._has_lists:
            return
        if not KEYRING.exists():
            raise Problem(
                f"There is no {KEYRING}, by which packages are checked: install "
                "debian-archive-keyring.")
        self._write_settings()
        done = self._apt("apt-get", "-q", "update", "--error-on=any")
        if done.returncode != 0:
            if re.search(r"does not have a Release file|404 +Not Found", done.stderr):
                raise Problem(
                    f"{self._failing(done.stderr)} has no {self}. Give a mirror that has: MIRROR=http://… "
                    "(or SECURITY_MIRROR=) before the same.")
            self._fail(done.stderr)
        self._has_lists = True

    def _fail(self, errors):
        if "No space left" in errors:
            raise DiskFull(self.directory)
        cause = [line for line in errors.splitlines() if line[:2] in ("E:", "W:")] or ["  ?"]
        raise Problem(
            f"{self._failing(errors)} does not give {self}: {cause[0][2:].strip()}. Try again, or "
            "another one: MIRROR=http://…")

    def _failing(self, errors):
        """Which mirror apt complains about."""
        security = self.security_mirror
        return f"The mirror {security if security and f'{security} ' in errors else self.mirror}"

    def offers(self, names):
        """What there is of these packages, by name: of several versions the one that apt would
        install."""
        self.update()
        done = self._apt("apt-cache", "show", "--no-all-versions", *names)
        offers, fields = {}, {}
        for line in (done.stdout + "\n").splitlines():
            if line and line[0] != " ":
                key, _, value = line.partition(": ")
                fields[key] = value
            elif not line and "Package" in fields:
                offers[fields["Package"]] = Offer(
                    fields["Version"], int(fields["Size"]), fields["SHA256"])
                fields = {}
        if not offers:
            self._fail(done.stderr)
        return offers

    def closure(self, packages):
        """The names of packages and of all that they depend on."""
        self.update()
        done = self._apt("apt-get", "install", "--simulate", *packages)
        if done.returncode != 0:
            self._fail(done.stderr)
        return set(re.findall(r"(?m)^Inst (\S+)", done.stdout))

    def download(self, packages, directory):
        """Fetches packages (NAME=VERSION) into a directory."""
        self.update()
        done = self._apt("apt-get", "-q", "download", *packages, directory=directory)
        if done.returncode != 0:
            self._fail(done.stderr)
