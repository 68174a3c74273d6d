"""A whole machine: Debian's kernel on an emulated Raspberry Pi, with the program as its only one."""

import lzma
import os
import re
import selectors
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import chroot
from problem import Problem, Step

SECONDS = 300
# What the kernel has as modules and a Pi loads by itself.
MODULES = (
    "bcm2835_thermal", "bcm2711_thermal", "raspberrypi-cpufreq", "cpufreq-dt", "clk-raspberrypi",
    "raspberrypi-hwmon", "bcm2835_wdt", "bcm2835_rng")
BEGIN, END = "--- metrics", "--- end"
INIT = f"""#!/bin/busybox sh
export PATH=/bin:/usr/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ifconfig lo 127.0.0.1 up
# A Pi has no clock of its own. The kernel hands its parameter on.
date -s "@$now" >/dev/null
while read -r module; do insmod "/modules/$module" || echo "no $module"; done </modules/order
echo "kernel $(uname -r)"
kinglet init --config /etc/kinglet.yaml --data /tmp/data --domain pi.test --yes
kinglet serve --config /etc/kinglet.yaml --isolated --set metrics.port=9622 2>/tmp/log &
server=$!
for second in $(seq 120); do
    grep -q msg=ready /tmp/log && break
    kill -0 $server || break
    sleep 1
done
cat /tmp/log
port=$(sed -n 's/.*msg=ready.* metrics=\\([0-9]*\\).*/\\1/p' /tmp/log)
# Some readings are of what changes from one to the next.
sleep 2
echo "{BEGIN}"
wget -q -O - "http://127.0.0.1:$port/metrics"
echo "{END}"
kill $server; wait $server
echo "ended with status $?"
while :; do sleep 60; done
"""


@dataclass(frozen=True)
class Board:
    """A machine that QEMU has, and what of it Debian's kernel needs to be left alone."""

    name: str
    tree: str
    model: str
    # In the device tree: what QEMU has not, and what would take the console.
    disabled: tuple
    # The metrics that a reading of it has to be in.
    readings: tuple


COMMON = ("rpi_info", "rpi_cpu_frequency_hertz")
# What no emulated board has, nor Debian's kernel: to be absent, not zero.
ABSENT = (
    "rpi_throttled", "rpi_undervoltage", "rpi_voltage", "rpi_fan", "rpi_firmware", "rpi_bootloader")
BOARDS = (
    Board(
        "raspi3b", "bcm2837-rpi-3-b", "Raspberry Pi 3 Model B",
        ("/soc/serial@7e215040", "/soc/mmc@7e300000"), (*COMMON, "rpi_temperature_celsius")),
    Board(
        "raspi4b", "bcm2711-rpi-4-b", "Raspberry Pi 4 Model B",
        ("/soc/serial@7e215040", "/soc/clock@7ef00000", "/soc/interrupt-controller@7ef00100",
         "/soc/hdmi@7ef00700", "/soc/hdmi@7ef05700", "/soc/i2c@7ef04500", "/soc/i2c@7ef09500",
         "/soc/mmc@7e300000"), COMMON))


class Boot:
    """One start of a board. Everything is in a directory of the cache."""

    def __init__(self, trees, directory, package):
        self.trees, self.directory = trees, directory
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (self.kernel,) = (trees.kernel / "boot").glob("vmlinuz-*")
        self.version = self.kernel.name.removeprefix("vmlinuz-")
        self._make_system(package)

    def _inside(self, *command, environment=None):
        """Runs a program of the tree that has the emulator."""
        return chroot.run(self.trees.machine, command, self._binds, environment)

    @property
    def _binds(self):
        return {self.directory: "/build", self.trees.kernel: "/host"}

    def _make_system(self, package):
        """The initial file system: the package's program, its libraries, and one shell."""
        root = self.directory / "root"
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
        for name in ("bin", "dev", "etc", "lib", "modules", "proc", "sys", "tmp", "root"):
            (root / name).mkdir(exist_ok=True)
        for unused in ("usr/share", "usr/lib/systemd"):
            shutil.rmtree(root / unused)
        libraries = self.trees.debian13 / "usr/lib/aarch64-linux-gnu"
        for library in libraries.glob("*.so*"):
            shutil.copy(library, root / "lib", follow_symlinks=True)
        (busybox,) = self.trees.kernel.glob("usr/bin/busybox")
        shutil.copy(busybox, root / "bin")
        (root / "init").write_text(INIT)
        (root / "init").chmod(0o755)
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        (root / "modules/order").write_text(
            "".join(f"{self._unpack_module(path)}\n" for path in self._module_order()))
        self._inside("sh", "-c", "cd /build/root && find . | cpio --quiet -o -H newc >../initrd")

    def _module_order(self):
        """The modules and what they need, each after what it needs."""
        self._inside("depmod", "-b", "/host/usr", self.version)
        needs = {}
        for line in (self._modules / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
        order = []

        def add(path):
            for needed in reversed(needs[path]):
                add(needed)
            if path not in order:
                order.append(path)
        for module in MODULES:
            for path in needs:
                if re.fullmatch(rf"{re.sub('[-_]', '[-_]', module)}\.ko.*", Path(path).name):
                    add(path)
        return order

    @property
    def _modules(self):
        return self.trees.kernel / "usr/lib/modules" / self.version

    def _unpack_module(self, path):
        data = (self._modules / path).read_bytes()
        name = Path(path).name.removesuffix(".xz")
        (self.directory / "root/modules" / name).write_bytes(
            lzma.decompress(data) if path.endswith(".xz") else data)
        return name

    def _make_tree(self, board):
        """The board's device tree, as QEMU's board is."""
        (source,) = self.trees.kernel.glob(f"usr/lib/linux-image-*/broadcom/{board.tree}.dtb")
        tree = self.directory / f"{board.name}.dtb"
        shutil.copy(source, tree)
        inside = f"/build/{tree.name}"
        self._inside("fdtput", "-r", inside, "/soc/serial@7e201000/bluetooth")
        for node in board.disabled:
            self._inside("fdtput", "-t", "s", inside, node, "status", "disabled")
        self._inside(
            "fdtput", "-t", "s", inside, "/chosen", "stdout-path", "serial0:115200n8")
        return inside

    def run(self, board):
        """Boots a board; what its console said up to the end of the metrics."""
        shutil.copy(self.kernel, self.directory / "vmlinuz")
        command = chroot.command(self.trees.machine, [
            "qemu-system-aarch64", "-M", board.name, "-kernel", "/build/vmlinuz",
            "-dtb", self._make_tree(board), "-initrd", "/build/initrd", "-append",
            "console=ttyAMA0,115200 rdinit=/init maxcpus=2 quiet "
            f"now={time.time():.0f}", "-nographic", "-monitor", "none",
            "-serial", "stdio"], self._binds)
        console = b""
        # Emulated boards do not switch themselves off.
        with subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT) as process, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            end = time.monotonic() + SECONDS
            try:
                while not re.search(rb"ended with status \d+\s", console):
                    if not selector.select(max(0, end - time.monotonic())):
                        break
                    chunk = os.read(process.stdout.fileno(), 65_536)
                    if not chunk:
                        break
                    console += chunk
            finally:
                process.kill()
        text = console.decode("utf-8", "replace").replace("\r", "")
        (self.directory / f"{board.name}.log").write_text(text)
        return text


def check(boot, board):
    """Boots a board and compares what the program read of it."""
    with Step(f"Booting {board.name}"):
        console = boot.run(board)
    found = re.search(rf"{BEGIN}\n(.*){END}\n", console, re.DOTALL)
    log = boot.directory / f"{board.name}.log"
    if not found:
        raise Problem(f"{board.name} came to no metrics; its console is in {log}.")
    lines = [line for line in found[1].splitlines() if not line.startswith("#")]
    readings = [line for line in lines if line.startswith("rpi_")]
    print("\n".join(f"  {line}" for line in readings))
    names = {re.split(r"[{ ]", line)[0] for line in lines}
    faults = [f"no {name}" for name in board.readings if name not in names]
    faults += [f"{name}, which this machine has not" for name in names if name.startswith(ABSENT)]
    if not any(line.startswith("rpi_info{") and board.model in line for line in lines):
        faults.append(f"not the model {board.model}")
    if "ended with status 0" not in console:
        faults.append("no clean end")
    if faults:
        raise Problem(f"{board.name}: {', '.join(faults)}. Its console is in {log}.")
