"""What the readings of the machine cost: their CPU at their default periods, and what is written to
the disk for what they keep across boots.

`make readings` calls it. The limits are 0.2 % of one core and 1 MB a day.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import servers
from bench import Place
from processes import BenchError

CORE_LIMIT = 0.002
DAY_LIMIT = 1_000_000
# Sources/Hardware/SavingRhythm.swift: hourly, and at most so many more for events.
SAVES_A_DAY = 24 + 12
# More than the longest period that costs anything.
SECONDS = 250
EVENTS = 4


def readings_cpu(pid):
    """Seconds of CPU of the threads that read, and of the programs that they started."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "hardware":
            nanoseconds += int((task / "schedstat").read_text().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    children = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return nanoseconds / 1e9 + children


def written(pid):
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes: "):
            return int(line.split()[1])
    raise BenchError("the kernel does not count what is written")


def measure_cpu(server, root, seconds):
    """The part of a core that a server without clients takes to read a machine."""
    server.settings["hardware.root"] = root
    with server.running():
        # The first reads open and find everything; a day has one of them.
        time.sleep(5)
        before, begun = readings_cpu(server.pid), time.monotonic()
        time.sleep(seconds)
        return (readings_cpu(server.pid) - before) / (time.monotonic() - begun)


def measure_save(server, root):
    """Bytes that the kernel wrote for one save after an event: a supply that sags."""
    server.settings["hardware.root"] = root
    with server.running():
        mailbox = root / "mailbox"
        calm = mailbox.read_text()
        time.sleep(6)
        before = written(server.pid)
        for _ in range(EVENTS):
            mailbox.write_text("gencmd get_throttled -> throttled=0x10001\n")
            time.sleep(4)
            mailbox.write_text(calm)
            time.sleep(4)
        return (written(server.pid) - before) / EVENTS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=Path(".build/release/kinglet"))
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--trees", type=Path, default=Path("Tests/Fixtures/hardware"))
    plan = parser.parse_args()
    servers.Kinglet.binary = plan.kinglet.resolve()
    is_good = True
    with tempfile.TemporaryDirectory(prefix="kinglet-readings-") as directory:
        directory = Path(directory)
        server = Place(directory).server(servers.Kinglet, "kinglet")
        for name, root in (("this machine", Path("/")), ("a recorded Pi 5", plan.trees / "pi5"),
                           ("a recorded Pi 4", plan.trees / "pi4-healthy")):
            part = measure_cpu(server, root.resolve(), plan.seconds)
            fits = part <= CORE_LIMIT
            is_good &= fits
            print(f"{name}: {part:.4%} of one core; limit {CORE_LIMIT:.1%}: "
                  f"{'ok' if fits else 'missed'}", flush=True)
        root = directory / "machine"
        shutil.copytree(plan.trees / "pi4-healthy", root, symlinks=True)
        save = measure_save(server, root)
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
