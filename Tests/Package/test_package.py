"""The life of the Debian package on a clean system: installed, configured, run by the user that it
makes with the rights that its unit leaves, and purged."""

import os
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from clean_system import PATH, CleanSystem
from kinglet import Kinglet, Log
from people import Person
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
ROMEO = Person("romeo", "example.test", "wherefore")


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

    def start(self, manager):
        unit = unit_settings(self.system)
        program = [
            # What systemd does for User=, Group=, SupplementaryGroups=, CapabilityBoundingSet=,
            # AmbientCapabilities= and NoNewPrivileges=.
            "setpriv", f"--reuid={unit['User']}", f"--regid={unit['Group']}",
            f"--groups={unit['SupplementaryGroups']}", *capabilities(unit), "--no-new-privs", *unit["ExecStart"].split(), "--isolated"]
        self.process = subprocess.Popen(
            self.system.inside(*program), cwd="/", stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={"PATH": PATH, **manager.environment(watchdog=4, address="/run/notify")})
        self.log = Log(self.process.stderr)
        ready = self.log.line_with("msg=ready")
        self.ports = {
            name: int(port) for name, port in re.findall(r"(\w+)=(\d+)(?=[ \"]|$)", ready)}
        return self


def unit_settings(system, unit="kinglet.service"):
    """The last value of each setting of the unit."""
    lines = system.path(f"{UNITS}/{unit}").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


def capabilities(unit):
    """For setpriv: the capabilities that the unit leaves, and those that it gives."""
    left, given = (
        ",".join(["-all", *(name.replace("CAP_", "+").lower() for name in unit[key].split())])
        for key in ("CapabilityBoundingSet", "AmbientCapabilities"))
    return [f"--bounding-set={left}", f"--inh-caps={given}", f"--ambient-caps={given}"]


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
            kinglet.start(manager)
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
    """No file, no user, no group, no process."""
    installed.run("dpkg", "--purge", "kinglet")
    left = installed.run(
        "find", "/", "-xdev", "-name", "*kinglet*", "!", "-path", "/var/cache/apt/*", "!",
        "-path", "/tmp/*", "!", "-path", "/proc/*")
    assert left.stdout == ""
    for name in ("passwd", "group", "shadow", "gshadow"):
        assert "kinglet" not in installed.path(f"/etc/{name}").read_text()
    assert installed.processes == []
