"""The container image: what engines read of it, and a container of it that chats."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

import kinglet as kinglet_module
from kinglet import FAST_KEYS, Kinglet
from people import Person
from stock_client import StockClient

IMAGE = Path(os.environ.get("KINGLET_IMAGE", ""))
USER = 990
ROMEO = Person("romeo", "example.test", "wherefore")
JULIET = Person("juliet", "example.test", "balcony")


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """The archive, unpacked."""
    assert IMAGE.is_file(), "KINGLET_IMAGE names no image; type make image"
    directory = tmp_path_factory.mktemp("image")
    subprocess.run(["tar", "-C", directory, "-xf", IMAGE], check=True)
    return directory


def blob(layout, descriptor):
    """A content, which is what its descriptor says."""
    kind, _, digest = descriptor["digest"].partition(":")
    data = (layout / "blobs" / kind / digest).read_bytes()
    assert len(data) == descriptor["size"] and hashlib.sha256(data).hexdigest() == digest
    return data


def manifests(layout):
    """The manifest of each architecture."""
    (index,) = json.loads((layout / "index.json").read_text())["manifests"]
    return {
        each["platform"]["architecture"]: json.loads(blob(layout, each))
        for each in json.loads(blob(layout, index))["manifests"]}


def test_its_layout(layout):
    """OCI image layout 1.0: each content is there and is what it is called by."""
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    found = manifests(layout)
    assert found.keys() == {"amd64", "arm64"}
    for architecture, manifest in found.items():
        configuration = json.loads(blob(layout, manifest["config"]))
        assert configuration["architecture"] == architecture
        assert configuration["config"]["User"] == f"{USER}:{USER}"
        assert len(manifest["layers"]) == len(configuration["rootfs"]["diff_ids"]) == 1


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_an_engine_reads_it(tmp_path, architecture):
    """skopeo, which podman's engine reads by, checks every digest while it copies."""
    source = f"oci-archive:{IMAGE}"
    inspected = json.loads(subprocess.run(
        ["skopeo", f"--override-arch={architecture}", "inspect", source], check=True,
        capture_output=True, text=True).stdout)
    assert (inspected["Architecture"], inspected["Os"]) == (architecture, "linux")
    assert inspected["Labels"]["org.opencontainers.image.title"] == "Kinglet"
    subprocess.run(
        ["skopeo", "--insecure-policy", f"--override-arch={architecture}", "copy", source,
         f"oci:{tmp_path / 'copy'}:kinglet"], check=True, capture_output=True)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_what_is_in_it(layout, tmp_path, architecture):
    """Nothing that makes somebody another user, nothing of two times, and what runs in it."""
    (layer,) = manifests(layout)[architecture]["layers"]
    (tmp_path / "layer").write_bytes(blob(layout, layer))
    with tarfile.open(tmp_path / "layer") as archive:
        members = {member.name: member for member in archive}
    assert not [name for name, member in members.items() if member.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert len({member.mtime for member in members.values()}) == 1
    owned = {name for name, member in members.items() if member.uid != 0}
    assert owned == {"etc/kinglet", "var/lib/kinglet"}
    assert members["var/lib/kinglet"].mode == 0o700
    for program in ("usr/bin/kinglet", "usr/bin/rsync", "usr/bin/ssh", "usr/bin/setpriv"):
        assert members[program].isreg()
    assert members["etc/ssl/certs/ca-certificates.crt"].size > 100_000
    assert any(name.startswith("usr/share/kinglet/firmware-notes/") for name in members)


def test_the_program_for_the_pi_runs_on_the_images_libraries(tmp_path):
    """As far as an emulator of its processor can show."""
    bundle = unpacked("arm64", tmp_path)
    done = subprocess.run(
        ["qemu-aarch64", "-L", bundle / "rootfs", bundle / "rootfs/usr/bin/kinglet", "init", "--yes",
         "--config", tmp_path / "kinglet.yaml", "--data", tmp_path / "data", "--domain",
         "example.test"], capture_output=True, text=True)
    assert done.returncode == 0 and "example.test" in done.stdout, done


class Container(Kinglet):
    """The image in runc: no right, nothing writable but the volumes, the network of the machine."""

    def __init__(self, directory, bundle):
        super().__init__(directory, settings=FAST_KEYS)
        self.bundle = bundle
        for path in (self.directory, *self.directory.rglob("*")):
            os.chown(path, USER, USER)


def unpacked(architecture, directory):
    """A bundle that a runtime starts: the file system and its configuration."""
    subprocess.run(
        ["skopeo", "--insecure-policy", f"--override-arch={architecture}", "copy",
         f"oci-archive:{IMAGE}", f"oci:{directory / 'oci'}:kinglet"], check=True, capture_output=True)
    subprocess.run(
        ["umoci", "unpack", "--image", f"{directory / 'oci'}:kinglet", directory / "bundle"],
        check=True, capture_output=True)
    return directory / "bundle"


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A directory as volume, and a program of this machine that runs the image's in a container."""
    if os.geteuid() != 0:
        pytest.skip("a container needs root here")
    tmp_path.chmod(0o755)
    bundle = unpacked("amd64", tmp_path)
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    template = json.loads((bundle / "config.json").read_text())
    template["process"] |= {
        "terminal": False, "noNewPrivileges": True, "cwd": "/var/lib/kinglet",
        "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")}}
    assert template["process"]["user"]["uid"] == USER
    template["root"]["readonly"] = True
    template["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        # Under the same name as outside, as the test names files there.
        {"destination": str(volume), "type": "bind", "source": str(volume), "options": ["bind"]}]
    # The port is to be reached, and the clock's cgroup is the machine's.
    template["linux"] = {"namespaces": [
        {"type": kind} for kind in ("pid", "ipc", "uts", "mount")]}
    (bundle / "template.json").write_text(json.dumps(template))
    entry = template["process"]["args"][:1]
    program = tmp_path / "kinglet"
    program.write_text(f"""#!/usr/bin/python3
import json, os, shutil, subprocess, sys, tempfile
bundle = tempfile.mkdtemp(dir={str(bundle)!r}, prefix="run.")
template = json.load(open({str(bundle / 'template.json')!r}))
template["process"]["args"] = {entry!r} + sys.argv[1:]
template["root"]["path"] = {str(bundle / 'rootfs')!r}
json.dump(template, open(bundle + "/config.json", "w"))
os.execvp("runc", ["runc", "--root", {str(tmp_path / 'state')!r}, "run",
    "--bundle", bundle, os.path.basename(bundle)])
""")
    program.chmod(0o755)
    monkeypatch.setattr(kinglet_module, "BINARY", program)
    made = Container(volume, bundle)
    yield made
    made.stop()


async def test_a_container_chats(container):
    """It starts as its own user with nothing but its volume, carries a message, and ends when it is
    asked to."""
    container.initialize()
    for person in (ROMEO, JULIET):
        container.add_user(person.jid, person.password)
    container.start()
    romeo = StockClient(container, ROMEO.jid, ROMEO.password)
    juliet = StockClient(container, JULIET.jid, JULIET.password)
    try:
        for client in (romeo, juliet):
            await client.log_in()
            await client.come_online()
        romeo.send_message(JULIET.jid, "But, soft!", mtype="chat")
        assert (await juliet.next_message())["body"] == "But, soft!"
    finally:
        await romeo.leave()
        await juliet.leave()
    assert (container.data / "kinglet.db").stat().st_uid == USER
    container.signal(signal.SIGTERM)
    assert container.wait(30) == 0, container.log.text
