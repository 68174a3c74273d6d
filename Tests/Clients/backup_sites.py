"""Places for backups on this machine: an sshd, an rsync daemon, a remote of rclone, folders."""

import contextlib
import getpass
import os
import socket
import subprocess

from waiting import eventually


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Site:
    """A place, the directory that is behind it, and what reading it takes besides the key."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        self.store = directory / "store"
        self.store.mkdir(parents=True)
        self.server = None
        # Fields of the target in the configuration.
        self.fields = {}
        # What an empty machine is told.
        self.arguments = []
        self.environment = {}

    @property
    def location(self):
        return str(self.store)

    def stop(self):
        if self.server is not None:
            self.server.terminate()
            self.server.wait()

    def _start(self, *command):
        with open(self.directory / "log", "wb") as log:
            self.server = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def listens():
            assert self.server.poll() is None, (self.directory / "log").read_text()
            return _listens(self.port)

        eventually(listens, f"{command[0]} listens")

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path


class Folder(Site):
    """A tree, or with `encrypt` an archive."""

    def __init__(self, name, directory, encrypt=False):
        super().__init__(name, directory)
        self.fields = {"allow_same_medium": "yes"}
        if encrypt:
            self.fields["encrypt"] = "yes"


class SSH(Site):
    """An sshd that lets in whoever `authorize` was given the line of, and its owner."""

    def __init__(self, name, directory):
        super().__init__(name, directory)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        for key in ("host_key", "own_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
        self.port = _free_port()
        own = (directory / "own_key.pub").read_text()
        self.authorized = self.write("authorized_keys", own)
        host = " ".join((directory / "host_key.pub").read_text().split()[:2])
        self.write("known_hosts", f"[127.0.0.1]:{self.port} {host}\n")
        configuration = self.write(
            "ssh_config",
            f"Host *\n  IdentityFile {directory}/own_key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {directory}/known_hosts\n")
        self.arguments = ["--ssh-config", configuration]
        self.write(
            "sshd_config",
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {directory}/host_key\n"
            "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"AuthorizedKeysFile {self.authorized}\n")
        self._start("/usr/sbin/sshd", "-D", "-e", "-f", directory / "sshd_config")

    @property
    def location(self):
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.store}"

    def authorize(self, line):
        self.authorized.write_text(self.authorized.read_text() + line + "\n")


class Daemon(Site):
    """An rsync daemon with a password."""

    def __init__(self, name, directory):
        super().__init__(name, directory)
        self.port = _free_port()
        self.write("secrets", "pi:pa55word\n")
        self.password_file = self.write("password", "pa55word\n")
        self.fields = {"password_file": self.password_file}
        self.environment = {"RSYNC_PASSWORD": "pa55word"}
        as_root = "uid = root\ngid = root\n" if os.geteuid() == 0 else ""
        self.write(
            "rsyncd.conf",
            f"address = 127.0.0.1\nport = {self.port}\nuse chroot = no\n{as_root}"
            f"[backups]\npath = {self.store}\nread only = no\nauth users = pi\n"
            f"secrets file = {directory}/secrets\n")
        self._start("rsync", "--daemon", "--no-detach", f"--config={directory}/rsyncd.conf")

    @property
    def location(self):
        return f"rsync://pi@127.0.0.1:{self.port}/backups"


class Rclone(Site):
    """A remote of rclone that leads to a directory."""

    def __init__(self, name, directory):
        super().__init__(name, directory)
        configuration = self.write("rclone.conf", "[there]\ntype = local\n")
        self.fields = {"rclone_config": configuration}
        self.environment = {"RCLONE_CONFIG": str(configuration)}

    @property
    def location(self):
        return f"rclone:there:{self.store}"


@contextlib.contextmanager
def all_sites(directory):
    """One of each kind, by name; servers end with the context."""
    with contextlib.ExitStack() as stops:
        sites = {}
        for kind, name in ((Folder, "disk"), (SSH, "machine"), (Daemon, "daemon"),
                           (Rclone, "cloud")):
            sites[name] = kind(name, directory / name)
            stops.callback(sites[name].stop)
        sites["sealed"] = Folder("sealed", directory / "sealed", encrypt=True)
        yield sites


def configuration(sites):
    """Sites as targets, and one job that backs up to all of them."""
    text = "\nbackup:\n  targets:\n"
    for site in sites.values():
        fields = {"name": site.name, "location": site.location, **site.fields}
        text += "    - " + "      ".join(f"{key}: {value}\n" for key, value in fields.items())
    return text + (
        f"  jobs:\n    - name: nightly\n      targets: [{', '.join(sites)}]\n"
        "      test_restore: never\n")
