"""A container image of Debian's packages and ours, for PCs and Pis, as an OCI archive: podman, docker
and skopeo read it. No engine is needed to make it, and no package's script runs.

The form is the OCI image layout and the image specification, version 1.0.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from datetime import datetime, timezone
from pathlib import Path

import package_sets
from problem import Problem, Step
from trees import unpack

# Nobody else's number in Debian's own users, and the same in every image: volumes outlive images.
USER = 990
# What only configures other packages, or starts services. The image has no package manager.
LEFT_OUT = {
    "debconf", "dpkg", "init-system-helpers", "libpam-runtime", "login", "login.defs", "passwd", "perl-base",
    "sensible-utils", "tar", "adduser"}
# The licences stay.
UNUSED = (
    "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/bash-completion",
    "usr/share/lintian", "usr/share/zsh", "var/cache", "usr/share/bug", "usr/lib/systemd")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIGURATION = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Image:
    """The layout that grows: each content is a file that is named by its digest."""

    def __init__(self, directory, created):
        self.directory = directory
        self.created = created
        self.manifests = []
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "blobs/sha256").mkdir(parents=True)

    def add(self, kind, data):
        """A content; returns what others call it by."""
        digest = hashlib.sha256(data).hexdigest()
        (self.directory / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def add_system(self, architecture, root, version):
        """A system, whole, as one layer."""
        plain = archive(root, self.created)
        moment = datetime.fromtimestamp(self.created, timezone.utc).isoformat().replace("+00:00", "Z")
        layer = self.add(LAYER, gzip.compress(plain, 6, mtime=0))
        configuration = self.add(CONFIGURATION, encoded({
            "created": moment, "architecture": architecture, "os": "linux",
            **({"variant": "v8"} if architecture == "arm64" else {}),
            "config": {
                "User": f"{USER}:{USER}",
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/var/lib/kinglet"],
                "Entrypoint": ["/usr/bin/kinglet"],
                "Cmd": ["serve", "--config", "/etc/kinglet/kinglet.yaml"],
                "WorkingDir": "/var/lib/kinglet",
                "Volumes": {"/etc/kinglet": {}, "/var/lib/kinglet": {}},
                "ExposedPorts": {f"{port}/tcp": {} for port in (5222, 5223, 5269, 9622)},
                "StopSignal": "SIGTERM",
                "Labels": {"org.opencontainers.image.title": "Kinglet",
                           "org.opencontainers.image.version": version}},
            "rootfs": {"type": "layers",
                       "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
            "history": [{"created": moment, "created_by": "make image"}]}))
        manifest = self.add(MANIFEST, encoded({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": configuration,
            "layers": [layer]}))
        self.manifests.append({**manifest, "platform": {
            "architecture": architecture, "os": "linux",
            **({"variant": "v8"} if architecture == "arm64" else {})}})

    def write(self, path, name):
        """The archive, under its name at once and whole."""
        (self.directory / "oci-layout").write_bytes(encoded({"imageLayoutVersion": "1.0.0"}))
        # One entry that stands for all architectures: an engine takes its own.
        index = self.add(INDEX, encoded({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests}))
        (self.directory / "index.json").write_bytes(encoded({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": [
                {**index, "annotations": {"org.opencontainers.image.ref.name": name}}]}))
        new = path.with_suffix(".new")
        new.write_bytes(archive(self.directory, self.created, is_image=False))
        new.rename(path)


def archive(root, created, is_image=True):
    """A directory as a tar archive: in order, of one time, root's but for what the server owns. Nobody
    in an image becomes somebody else, so no file has set-user-id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory, directories, files in os.walk(root):
            directories.sort()
            for name in sorted(files + directories):
                path = Path(directory, name)
                entry = tar.gettarinfo(path, str(path.relative_to(root)))
                # A hard link's second name is a file like the first.
                entry.type = tarfile.REGTYPE if entry.islnk() else entry.type
                entry.size = path.stat().st_size if entry.isreg() else 0
                entry.mtime, entry.uname, entry.gname = created, "", ""
                is_ours = is_image and entry.name in ("etc/kinglet", "var/lib/kinglet")
                entry.uid = entry.gid = USER if is_ours else 0
                entry.mode &= 0o1777
                if entry.isreg():
                    with open(path, "rb") as content:
                        tar.addfile(entry, content)
                else:
                    tar.addfile(entry)
    return buffer.getvalue()


def encoded(value):
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def make_system(cache, locked, packages, package, root):
    """The file system of an image: Debian's packages, ours, and what their scripts would make."""
    wanted = [each for each in locked if each.set == packages.name and each.name not in LEFT_OUT]
    check_dependencies(package, {each.name for each in wanted} | LEFT_OUT)
    unpack(cache.checked(wanted), root, left_out=("./dev/*",))
    subprocess.run(["dpkg-deb", "--extract", package, root / "kinglet.new"], check=True)
    shutil.copytree(root / "kinglet.new", root, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(root / "kinglet.new")
    for unused in UNUSED:
        shutil.rmtree(root / unused, ignore_errors=True)
    for directory, mode in (
            ("etc/kinglet", 0o750), ("var/lib/kinglet", 0o700), ("tmp", 0o1777), ("proc", 0o755),
            ("sys", 0o755), ("dev", 0o755), ("run", 0o755), ("root", 0o700)):
        (root / directory).mkdir(parents=True, exist_ok=True)
        (root / directory).chmod(mode)
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"kinglet:x:{USER}:{USER}:Kinglet:/var/lib/kinglet:/usr/sbin/nologin\n")
    (root / "etc/group").write_text(f"root:x:0:\nkinglet:x:{USER}:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    # As update-ca-certificates does.
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    (root / "etc/ssl/certs/ca-certificates.crt").write_text(
        "".join(path.read_text().rstrip("\n") + "\n" for path in authorities))
    # Scanners read what an image is made of here.
    database = root / "var/lib/dpkg/status.d"
    database.mkdir(parents=True)
    for each in wanted:
        (database / each.name).write_text(
            f"Package: {each.name}\nStatus: install ok installed\nVersion: {each.version}\n"
            f"Architecture: {each.architecture}\n")


def check_dependencies(package, names):
    """The image has what the package needs: one that was built on another release needs others."""
    depends = subprocess.run(
        ["dpkg-deb", "--field", package, "Depends"], check=True, capture_output=True,
        text=True).stdout
    # A container has no systemd: its engine is in that place.
    missing = [
        needed for needed in (part.split()[0] for part in depends.split(","))
        if needed not in names and needed != "systemd"]
    if missing:
        raise Problem(
            f"{package.name} was built on another Debian than 12, whose libraries the image has: "
            f"it needs {', '.join(missing)}. Build it on Debian 12.")


def make(cache, locked, repository, version, created):
    """The archive for all architectures of which there is a package."""
    missing = [
        f"make deb{'-arm64' * (each.architecture == 'arm64')}" for each in package_sets.IMAGES
        if not package_path(repository, version, each).exists()]
    if missing:
        raise Problem(f"An image is made of packages: type {' and '.join(missing)} first.")
    work = cache.directory / "image"
    shutil.rmtree(work, ignore_errors=True)
    image = Image(work / "layout", created)
    for each in package_sets.IMAGES:
        with Step(f"Making the image for {each.architecture}"):
            root = work / each.architecture
            root.mkdir(parents=True)
            make_system(cache, locked, each, package_path(repository, version, each), root)
            image.add_system(each.architecture, root, version)
    path = repository / f".build/kinglet_{version}.oci.tar"
    image.write(path, f"kinglet:{version}")
    return path


def package_path(repository, version, packages):
    return repository / f".build/kinglet_{version}_{packages.architecture}.deb"
