"""What the readings of the machine cost: their CPU at their default periods, and what is written to
the disk for what they keep across boots.

`make readings` calls it. The limits are 0.2 % of one core and 1 MB a day.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from processes import BenchError, Daemon, run

CORE_LIMIT = 0.002
DAY_LIMIT = 1_000_000
# Sources/Hardware/SavingRhythm.swift: hourly, and at most so many more for events.
SAVES_A_DAY = 24 + 12
# More than the longest period that costs anything.
SECONDS = 250
EVENTS = 4


class Kinglet:
    """A server without clients, whose work is to read the machine."""

    def __init__(self, program, directory, root):
        self.config = directory / "kinglet.yaml"
        self._program = program
        run([program, "init", "--config", self.config, "--data", directory / "data",
             "--domain", "example.test", "--yes"])
        self._daemon = Daemon(
            [program, "serve", "--config", self.config, "--isolated",
             "--set", f"hardware.root={root}"], directory / "log")
        end = time.monotonic() + 30
        while not self._is_ready():
            if time.monotonic() > end:
                raise BenchError(f"the server did not start: {(directory / 'log').read_text()}")
            time.sleep(0.1)

    def _is_ready(self):
        try:
            status = json.loads(run([self._program, "status", "--json", "--config", self.config]))
        except BenchError:
            return False
        return status.get("running", False)

    @property
    def pid(self):
        return self._daemon.pid

    def stop(self):
        self._daemon.stop()

    def readings_cpu(self):
        """Seconds of CPU of the threads that read, and of the programs that they started."""
        nanoseconds = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            if (task / "comm").read_text().strip() == "hardware":
                nanoseconds += int((task / "schedstat").read_text().split()[0])
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        children = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        return nanoseconds / 1e9 + children

    def written(self):
        for line in Path(f"/proc/{self.pid}/io").read_text().splitlines():
            if line.startswith("write_bytes: "):
                return int(line.split()[1])
        raise BenchError("the kernel does not count what is written")


def measure_cpu(program, root, seconds):
    with tempfile.TemporaryDirectory() as directory:
        kinglet = Kinglet(program, Path(directory), root)
        try:
            # The first reads open and find everything; a day has one of them.
            time.sleep(5)
            before, begun = kinglet.readings_cpu(), time.monotonic()
            time.sleep(seconds)
            return (kinglet.readings_cpu() - before) / (time.monotonic() - begun)
        finally:
            kinglet.stop()


def measure_save(program, tree):
    """Bytes that the kernel wrote for one save after an event: a supply that sags."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "machine"
        shutil.copytree(tree, root)
        kinglet = Kinglet(program, Path(directory), root)
        try:
            mailbox = root / "mailbox"
            calm = mailbox.read_text()
            time.sleep(6)
            before = kinglet.written()
            for _ in range(EVENTS):
                mailbox.write_text("gencmd get_throttled -> throttled=0x10001\n")
                time.sleep(4)
                mailbox.write_text(calm)
                time.sleep(4)
            return (kinglet.written() - before) / EVENTS
        finally:
            kinglet.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=Path(".build/release/kinglet"))
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--trees", type=Path, default=Path("Tests/Fixtures/hardware"))
    plan = parser.parse_args()
    is_good = True
    for name, root in (("this machine", "/"), ("a recorded Pi 5", plan.trees / "pi5"),
                       ("a recorded Pi 4", plan.trees / "pi4-healthy")):
        part = measure_cpu(plan.kinglet.resolve(), Path(root).resolve(), plan.seconds)
        fits = part <= CORE_LIMIT
        is_good &= fits
        print(f"{name}: {part:.4%} of one core; limit {CORE_LIMIT:.1%}: "
              f"{'ok' if fits else 'missed'}", flush=True)
    save = measure_save(plan.kinglet.resolve(), (plan.trees / "pi4-healthy").resolve())
    # The checkpoint writes the same pages once more.
    day = 2 * save * SAVES_A_DAY
    fits = day <= DAY_LIMIT
    is_good &= fits
    print(f"{save:,.0f} bytes a save, checkpoint apart; with it and at most {SAVES_A_DAY} saves, "
          f"{day:,.0f} a day; limit {DAY_LIMIT:,}: {'ok' if fits else 'missed'}")
    return 0 if is_good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"readings: {error}")
