"""The life of the Debian package on a clean system: installed, configured, run by the user that it
makes with the rights that its unit leaves, and purged."""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from clean_system import PATH, CleanSystem
from kinglet import Kinglet, Log
from people import Person
from sandbox import Sandbox
from service_manager import ServiceManager
from stock_client import StockClient

PACKAGE = Path(os.environ.get("KINGLET_PACKAGE", ""))
CONFIGURATION = "/etc/kinglet/kinglet.yaml"
UNITS = "/usr/lib/systemd/system"
TIMER_LINK = "/etc/systemd/system/timers.target.wants/kinglet-smart.timer"
# Ends as told in /tmp/disks, and says which disk it was asked for and how.
SMARTCTL = """#!/bin/sh
for device; do :; done
. "/tmp/disks/${device#/dev/}"
[ -z "$text" ] || echo "$text $*"
exit "$status"
"""
RECOVERY = (Path(__file__).parents[2] / "firmware-notes/recovery.md").read_text()
ROMEO = Person("romeo", "example.test", "wherefore")
JULIET = Person("juliet", "example.test", "balcony")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """A clean system."""
    assert os.geteuid() == 0, "a chroot needs root"
    assert PACKAGE.is_file(), "KINGLET_PACKAGE names no package; type make test-deb"
    system = CleanSystem(tmp_path_factory.mktemp("package"))
    yield system
    system.close()


@pytest.fixture(scope="module")
def installed(system):
    """The system with the package on it, and what the installation printed."""
    shutil.copy(PACKAGE, system.path("/tmp/kinglet.deb"))
    system.printed = system.install("/tmp/kinglet.deb")
    return system


class InstalledKinglet(Kinglet):
    """The server of the package, started as its unit would start it."""

    def __init__(self, system):
        super().__init__(system.path("/etc/kinglet"))
        self.data = system.path("/var/lib/kinglet")
        self.system = system

    def start(self, manager, *arguments):
        sandbox = Sandbox(self.system, f"{UNITS}/kinglet.service")
        self.process = subprocess.Popen(
            sandbox.command(*sandbox["ExecStart"].split(), *arguments), cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={"PATH": PATH, **manager.environment(
                watchdog=4, address=f"/run/{Path(manager.address).name}")})
        self.log = Log(self.process.stderr)
        return self.wait_until_ready()


def unit_settings(system, unit="kinglet.service"):
    """The last value of each setting of the unit."""
    lines = system.path(f"{UNITS}/{unit}").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


def owner(system, path):
    """User, group and mode, as the system names them."""
    return system.run("stat", "-c", "%U:%G %a", path).stdout.strip()


def test_it_needs_no_swift(installed):
    """The runtime is in the program; everything else comes from Debian (design, section 8)."""
    libraries = installed.run("ldd", "/usr/bin/kinglet").stdout
    assert "not found" not in libraries and "swift" not in libraries.lower(), libraries


def test_it_says_what_to_type(installed):
    """Unconfigured, it is not started, and the one command is printed."""
    assert f"kinglet init --config {CONFIGURATION}" in installed.printed
    assert installed.processes == []
    assert not installed.path(CONFIGURATION).exists()
    done = installed.run("kinglet", "serve", "--config", CONFIGURATION, check=False)
    assert done.returncode == 1 and "kinglet init" in done.stdout


def test_its_directories_are_private(installed):
    assert owner(installed, "/etc/kinglet") == "root:kinglet 2750"
    assert owner(installed, "/var/lib/kinglet") == "kinglet:kinglet 700"
    user = installed.run("getent", "passwd", "kinglet").stdout.strip().split(":")
    assert user[6].endswith("nologin") and int(user[2]) < 1000


@pytest.mark.parametrize("unit", ["kinglet.service", "kinglet-smart.service"])
def test_its_units(installed, unit):
    """systemd finds no mistake in them and calls them no more exposed than 2.0."""
    assert installed.run("systemd-analyze", "verify", f"{UNITS}/{unit}").stdout == ""
    installed.run(
        "systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20",
        f"{UNITS}/{unit}")


def test_the_timer_of_smart_reports(installed):
    """It is enabled, comes every hour, and starts nothing where there is no smartctl."""
    timer = f"{UNITS}/kinglet-smart.timer"
    assert installed.run("systemd-analyze", "verify", timer).stdout == ""
    assert installed.run("readlink", "-f", TIMER_LINK).stdout.strip() == timer
    assert "OnCalendar=hourly" in installed.path(timer).read_text()
    service = unit_settings(installed, "kinglet-smart.service")
    assert service["ConditionPathExists"] == "/usr/sbin/smartctl"
    assert installed.path(service["ExecStart"]).exists()
    assert service["RuntimeDirectoryPreserve"] == "yes"


@pytest.fixture
def disks(installed):
    """Says which disks there are, and how smartctl ends for each."""
    smartctl = installed.path("/usr/sbin/smartctl")
    smartctl.write_text(SMARTCTL)
    smartctl.chmod(0o755)
    told, block = installed.path("/tmp/disks"), installed.path("/sys/block")
    assert not block.exists(), "the machine's own disks are not to be seen inside"

    def there_are(**disks):
        for folder in (told, block):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for name, (status, text) in disks.items():
            (block / name).mkdir()
            (told / name).write_text(f"status={status} text='{text}'\n")
        program = unit_settings(installed, "kinglet-smart.service")["ExecStart"]
        installed.run("env", "RUNTIME_DIRECTORY=/run/kinglet-smart", program)
        reports = installed.path("/run/kinglet-smart")
        return {file.name: file.read_text() for file in reports.iterdir()}

    yield there_are
    smartctl.unlink()
    for folder in (told, block):
        shutil.rmtree(folder)


def test_smart_reports(installed, disks):
    """Each disk's report is there for everybody, whatever smartctl thinks of the disk's health."""
    question = "--json --nocheck=standby,3 --all"
    assert disks(sda=(0, "well"), nvme0n1=(24, "failing"), mmcblk0=(0, "a card"), sr0=(0, "")) == {
        "sda.json": f"well {question} /dev/sda\n",
        "nvme0n1.json": f"failing {question} /dev/nvme0n1\n"}
    assert owner(installed, "/run/kinglet-smart/sda.json") == "root:root 644"

    # A disk that sleeps keeps its report, which becomes as new as the visit; one that gave nothing
    # keeps it too and does not look visited; one that is gone leaves none.
    report = installed.path("/run/kinglet-smart/sda.json")
    os.utime(report, (1_000_000, 1_000_000))
    assert disks(sda=(3, "asleep"), sdb=(2, "refused")) == {
        "sda.json": f"well {question} /dev/sda\n", "sdb.json": f"refused {question} /dev/sdb\n"}
    assert report.stat().st_mtime > 1_000_000
    os.utime(report, (1_000_000, 1_000_000))
    assert list(disks(sda=(1, ""))) == ["sda.json"]
    assert report.stat().st_mtime == 1_000_000
    assert disks(sdb=(3, "asleep, and never asked before")) == {}


def test_init_by_root_gives_the_server_its_files(installed):
    """The configuration belongs to root and can be read by the server, the data is the server's."""
    done = installed.run(
        "kinglet", "init", "--config", CONFIGURATION, "--domain", "example.test", "--yes")
    assert "systemctl enable --now kinglet" in done.stdout
    assert owner(installed, CONFIGURATION) == "root:kinglet 640"
    assert "data_dir: /var/lib/kinglet" in installed.path(CONFIGURATION).read_text()
    data = installed.path("/var/lib/kinglet")
    user = int(installed.run("id", "-u", "kinglet").stdout)
    for path in (data, *data.rglob("*")):
        assert path.stat().st_uid == user, path
    assert stat.S_IMODE((data / "secrets").stat().st_mode) == 0o700


def test_others_are_told_that_they_may_not(installed):
    """What is private is not reported as missing."""
    done = installed.run("setpriv", "--reuid=65534", "--clear-groups", "kinglet", "status", check=False)
    assert done.returncode == 1 and "run this as root" in done.stdout


async def test_it_serves(installed):
    """Under a service manager: ready, a login, a scrape, signs of life, a reload, the end."""
    installed.run(
        "sh", "-c", f"echo {ROMEO.password} | kinglet user add {ROMEO.jid} --password-stdin")
    with ServiceManager(installed.path("/run/notify")) as manager:
        kinglet = InstalledKinglet(installed)
        try:
            kinglet.start(manager, "--isolated")
            manager.wait_for("READY")
            client = StockClient(kinglet, ROMEO.jid, ROMEO.password)
            await client.log_in()
            assert client.negotiated_tls.startswith("TLSv1.")
            assert kinglet.metric("kinglet_sessions") == 1
            manager.wait_for("WATCHDOG")
            # Debian lets nobody but CAP_SYSLOG read the kernel's log.
            kinglet.becomes(1, "kinglet_hardware_reading_success", reading="kernel_log")

            # A command of root reaches the server.
            assert "running since" in installed.run("kinglet", "status").stdout

            kinglet.signal(signal.SIGHUP)
            manager.wait_for("RELOADING")
            manager.wait_for("READY")
            await client.settled()

            kinglet.signal(signal.SIGTERM)
            manager.wait_for("STOPPING")
            assert kinglet.wait() == 0
            await client.leave()
        finally:
            if kinglet.process:
                kinglet.process.kill()
    assert installed.processes == []


@pytest.fixture(scope="module")
def nas(installed):
    """The port of a real sshd inside, and a user there; beside it what the package recommends."""
    control = installed.run("dpkg-query", "-W", "-f", "${Recommends}", "kinglet").stdout
    assert control.split(", ") == ["ca-certificates", "rsync", "openssh-client"]
    # rrsync, which limits the key at the other end, is a Python program.
    installed.install("rsync", "openssh-client", "openssh-server", "python3-minimal", "age", "sqlite3")
    installed.run("useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", "nas")
    port = free_port()
    installed.run("mkdir", "-p", "/run/sshd")
    installed.path("/etc/ssh/sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nUsePAM no\nPasswordAuthentication no\n")
    server = subprocess.Popen(
        installed.inside("/usr/sbin/sshd", "-D", "-e"), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield port
    server.terminate()
    server.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def backed_up(installed, nas):
    """The service with a disk below /mnt, a machine behind SSH and a cloud, after a run to each."""
    installed.run(
        "install", "-d", "-o", "kinglet", "-g", "kinglet", "-m", "700", "/mnt/backup/kinglet",
        "/mnt/backup/vault")
    installed.run("install", "-d", "-o", "nas", "-m", "700", "/srv/kinglet", "/home/nas/.ssh")
    configuration = installed.path(CONFIGURATION)
    configuration.write_text(configuration.read_text() + f"""
backup:
  targets:
    - name: usb
      location: /mnt/backup/kinglet
    - name: nas
      location: ssh://nas@127.0.0.1:{nas}/srv/kinglet
    - name: vault
      location: /mnt/backup/vault
      encrypt: true
  jobs:
    - name: nightly
      schedule: "30 3 * * *"
""")
    said = installed.run("kinglet", "backup", "target", "add", "nas", "--yes").stdout
    lines = [line for line in said.splitlines() if line.lstrip().startswith("restrict,")]
    assert len(lines) == 1, said
    installed.path("/home/nas/.ssh/authorized_keys").write_text(lines[0].strip() + "\n")
    installed.run("chown", "nas", "/home/nas/.ssh/authorized_keys")
    with ServiceManager(installed.path("/run/notify-backup")) as manager:
        kinglet = InstalledKinglet(installed)
        try:
            kinglet.start(
                manager, *(word for key in ("listen.client_port", "listen.client_tls_port",
                                            "listen.server_port", "listen.web_port", "metrics.port") for word in ("--set", f"{key}=0")))
            installed.run("kinglet", "backup", "run")
            installed.run(
                "sh", "-c", f"echo {JULIET.password} | kinglet user add {JULIET.jid} --password-stdin")
            installed.said = installed.run("kinglet", "backup", "run", check=False)
            installed.listed = json.loads(
                installed.run("kinglet", "backup", "list", "--json").stdout)
            installed.tested = installed.run(
                "kinglet", "backup", "verify", "--restore", "--target", "usb", check=False)
            kinglet.signal(signal.SIGTERM)
            # Whoever does not listen to what a service says stops it in the end.
            manager.wait_for("STOPPING")
            assert kinglet.wait() == 0
        finally:
            if kinglet.process:
                kinglet.process.kill()
    return installed


def test_the_service_backs_up(backed_up):
    """What the unit leaves is enough for a folder, for rsync over SSH and for an encrypted place."""
    assert backed_up.said.returncode == 0, backed_up.said.stdout
    for target in backed_up.listed["targets"]:
        assert len(target["snapshots"]) == 2, backed_up.listed
    for place in ("/mnt/backup/kinglet", "/srv/kinglet"):
        assert list(backed_up.path(place).glob("2*Z-*/manifest")), place
    assert backed_up.tested.returncode == 0, backed_up.tested.stdout


def recovery_block(first_words):
    """The commands of the page to print, from the block that begins so."""
    block, = (
        block for block in re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", RECOVERY)
        if block.strip().startswith(first_words))
    return [line.strip().removeprefix("sudo ") for line in block.splitlines()]


def restored_data_becomes_the_services(system):
    """Step 5, but for what only systemd can do."""
    lines = recovery_block("sudo mv /var/lib/kinglet")
    assert len(lines) == 8, lines
    for line in lines:
        if not line.startswith(("systemctl", "kinglet status")):
            system.run("sh", "-ec", line)
    users = system.run("kinglet", "user", "list").stdout
    assert ROMEO.jid in users and JULIET.jid in users
    # It may go when everything works.
    system.run("rm", "-rf", "/var/lib/kinglet.before")
    data = system.path("/var/lib/kinglet")
    user = int(system.run("id", "-u", "kinglet").stdout)
    for path in (data, *data.rglob("*")):
        assert path.lstat().st_uid == user, path


@pytest.fixture
def dead_card(backed_up):
    """The machine after step 3 of the plan: the package, the key in a file, and nothing else."""
    data, away = backed_up.path("/var/lib/kinglet"), backed_up.path("/var/lib/away")
    configuration = backed_up.path(CONFIGURATION)
    backed_up.key = (data / "secrets/backup.key").read_text()
    data.rename(away)
    backed_up.run("install", "-d", "-m", "700", "-o", "kinglet", "-g", "kinglet", "/var/lib/kinglet")
    kept = configuration.read_text()
    configuration.unlink()
    backed_up.path("/root/key.txt").write_text(backed_up.key)
    yield backed_up
    shutil.rmtree(data)
    away.rename(data)
    configuration.write_text(kept)
    backed_up.run("chown", "root:kinglet", CONFIGURATION)
    backed_up.run("chmod", "640", CONFIGURATION)


def test_by_hand(dead_card):
    """recovery.md, "Without Kinglet": a base and the changes after it, uploads if there are any."""
    snapshot = dead_card.path("/mnt/backup/kinglet/latest").resolve()
    lines = recovery_block("cd /mnt/kinglet/")
    lines[0] = f"cd /mnt/backup/kinglet/{snapshot.name}"
    assert list(snapshot.glob("database/*/*.wal")), "the second run has added a segment"
    said = dead_card.run("bash", "-c", "\n".join(lines)).stdout
    assert said.startswith("ok\n"), said
    restored_data_becomes_the_services(dead_card)
    key = dead_card.path("/var/lib/kinglet/secrets/backup.key").read_text()
    assert dead_card.key.split()[-1] in key, "the server would make a new one"


def test_root_restores_for_the_service(dead_card):
    """recovery.md, steps 4 and 5: on an empty machine, with the key in a file; the files are the server's."""
    backed_up, key = dead_card, dead_card.key
    data = backed_up.path("/var/lib/kinglet")
    backed_up.run(
        "kinglet", "backup", "restore", "--from", "/mnt/backup/kinglet", "--key-file",
        "/root/key.txt", "--to", "/root/restored", "--yes")
    restored_data_becomes_the_services(backed_up)
    assert key.split()[-1] in (data / "secrets/backup.key").read_text()

    # The card lives: in place, and still the server's.
    backed_up.run(
        "kinglet", "backup", "restore", "--replace", "--from", "/mnt/backup/kinglet", "--yes")
    user = int(backed_up.run("id", "-u", "kinglet").stdout)
    for path in (data, *data.rglob("*")):
        assert path.lstat().st_uid == user, path
    assert ROMEO.jid in backed_up.run("kinglet", "user", "list").stdout


def test_it_has_what_the_backup_needs_to_be_looked_after(installed):
    for path in (
            "dashboards/backup.json", "alerts/backup.rules.yml", "firmware-notes/backup.md",
            "firmware-notes/recovery.md"):
        assert installed.path(f"/usr/share/kinglet/{path}").is_file(), path
    page = gzip.decompress(installed.path("/usr/share/man/man8/kinglet.8.gz").read_bytes()).decode()
    assert "kinglet backup" in page and "recovery.md" in page


def test_an_upgrade_keeps_everything(installed):
    """Installing the package again changes neither configuration nor data nor what is disabled."""
    configuration = installed.path(CONFIGURATION).read_bytes()
    installed.run("systemctl", "disable", "kinglet-smart.timer")
    done = installed.run("dpkg", "-i", "/tmp/kinglet.deb")
    assert "kinglet init" not in done.stdout
    assert installed.path(CONFIGURATION).read_bytes() == configuration
    assert owner(installed, CONFIGURATION) == "root:kinglet 640"
    assert ROMEO.jid in installed.run("kinglet", "user", "list").stdout
    assert not os.path.lexists(installed.path(TIMER_LINK))


def test_removing_it_keeps_the_data(installed):
    installed.run("dpkg", "--remove", "kinglet")
    assert not installed.path("/usr/bin/kinglet").exists()
    assert installed.path(CONFIGURATION).exists()
    assert installed.path("/var/lib/kinglet/kinglet.db").exists()


def test_purging_it_leaves_nothing(installed):
    """No file, no user, no group, no process; but the backups elsewhere."""
    installed.run("dpkg", "--purge", "kinglet")
    assert list(installed.path("/mnt/backup/kinglet").glob("2*Z-*/manifest"))
    left = installed.run(
        "find", "/", "-xdev", "-name", "*kinglet*", "!", "-path", "/var/cache/apt/*", "!",
        "-path", "/tmp/*", "!", "-path", "/proc/*", "!", "-path", "/mnt/*", "!", "-path", "/srv/*")
    assert left.stdout == ""
    for name in ("passwd", "group", "shadow", "gshadow"):
        assert "kinglet" not in installed.path(f"/etc/{name}").read_text()
    assert "kinglet" not in {program.name for program in installed.processes}
