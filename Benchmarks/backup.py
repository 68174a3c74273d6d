"""What a backup costs: time, bytes written to the data's own disk, bytes sent, memory, and what the
people who chat meanwhile notice of it.

`make bench-backup` calls it. The instance is of 2 GB with 50,000 uploads, on a file system of its
own, and so is the target; both are in images below the working directory, so it needs root.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import archive_rows
import servers
from bench import Place, say
from measurements import MECHANISM
from processes import BenchError, raise_descriptor_limit, run
from tools import Tools

UPLOADS = 50_000
UPLOAD_BYTES = 30_000
ROWS = 1_500_000
CHANGED = 0.01
PAIRS = 50
RATE = 500
LOAD_SECONDS = 60
ROUNDS = 2
# Limits of the issue that this came with.
SECOND_RUN_SECONDS = 10
SECOND_RUN_WRITTEN = 1_000_000
SENT_RATIO = 1.3
CPU_RATIO = 1 + 1 / 3
MEMORY_MB = 60


@contextlib.contextmanager
def file_system(directory, name, size):
    """An ext4 file system in an image, mounted without access times."""
    image, place = directory / f"{name}.img", directory / name
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(size)
    run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image])
    run(["mount", "-o", "loop,noatime", image, place])
    try:
        yield place
    finally:
        run(["umount", "-l", place])
        image.unlink()


def written_to(place):
    """Bytes that the device below a file system has taken, its journal included."""
    os.sync()
    device = os.stat(place).st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    return int(fields[6]) * 512


class Watch:
    """The most memory that processes hold while something runs."""

    def __init__(self, *pids):
        self._pids = list(pids)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.before = self._held()
        self.peak = self.before

    def add(self, pid):
        self._pids.append(pid)

    def _held(self):
        total = 0
        for pid in self._pids:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        total += int(line.split()[1]) * 1024
        return total

    def _look(self):
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self._held())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


class Instance:
    def __init__(self, server, target):
        self.server = server
        self.target = target
        with open(server.configuration, "a", encoding="utf-8") as file:
            file.write(
                f"backup:\n  targets:\n    - name: usb\n      location: {target}\n"
                "  jobs:\n    - name: bench\n      targets: [usb]\n")

    def command(self, *words):
        return [self.server.binary, "backup", *words, "--config", self.server.configuration,
                *self.server._settings()]

    def backup(self):
        """One run, through the server when it runs; its report, and what it cost."""
        disk = self.server.data
        before, begun = written_to(disk), time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in self.command("run", "--json")], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        with Watch(process.pid, self.server.pid) as watch:
            output, errors = process.communicate()
        seconds = time.monotonic() - begun
        if process.returncode != 0:
            raise BenchError(f"backup: {errors.strip() or output.strip()}")
        return {
            "report": json.loads(output), "seconds": seconds,
            "written": written_to(disk) - before,
            "memory_mb": (watch.peak - watch.before) / 2**20}


def make_uploads(folder, first, count):
    """Files named by their digests, as uploads are; returns their bytes."""
    block = os.urandom(UPLOAD_BYTES)
    total = 0
    for number in range(first, first + count):
        content = number.to_bytes(8, "big") + block[8:]
        name = hashlib.sha256(content).hexdigest()
        place = folder / name[:2]
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
        total += len(content)
    return total


def changed_pages(database, before, size=4096):
    """Bytes of the pages of a database at rest that are not what they were."""
    now = []
    with open(database, "rb") as file:
        while page := file.read(size):
            now.append(hashlib.blake2b(page, digest_size=8).digest())
    changed = sum(1 for index, digest in enumerate(now)
                  if index >= len(before) or before[index] != digest)
    return now, changed * size


class Bench:
    def __init__(self, plan, directory, target):
        self.plan = plan
        self.tools = Tools(directory.parent / "tools")
        self.place = Place(directory)
        self.server = self.place.server(servers.Kinglet, "kinglet", archives=True)
        self.instance = Instance(self.server, target)
        self.figures = {}
        self.missed = []

    def fill(self):
        self.server.seed(max(2 * PAIRS, archive_rows.OWNERS), self.tools)
        with self.server.running():
            pass
        archive_rows.fill(self.server.database, self.plan.rows)
        self.uploads = self.server.data / "uploads"
        size = make_uploads(self.uploads, 0, self.plan.uploads)
        say(f"an instance of {(size + self.server.database.stat().st_size) / 1e9:.2f} GB, "
            f"{self.plan.uploads:,} uploads")

    def note(self, name, value, unit, limit=None, digits=1):
        self.figures[name] = value
        text = f"{name}: {value:,.{digits}f} {unit}"
        if limit is not None:
            is_kept = value <= limit
            text += f" (limit {limit:,.{digits}f}: {'kept' if is_kept else 'MISSED'})"
            if not is_kept:
                self.missed.append(name)
        say(text)

    def runs(self):
        with self.server.running():
            first = self.instance.backup()
            self.note("first run", first["seconds"], "s")
            self.note("first run, memory", first["memory_mb"], "MB", MEMORY_MB)
            second = self.instance.backup()
            self.note("second run, nothing changed", second["seconds"], "s", SECOND_RUN_SECONDS)
            self.note("second run, written to the source", second["written"] / 1e6, "MB",
                      SECOND_RUN_WRITTEN / 1e6, 3)
            self.note("second run, memory", second["memory_mb"], "MB", MEMORY_MB)
        pages, _ = changed_pages(self.server.database, [])
        changed = make_uploads(
            self.uploads, self.plan.uploads, round(self.plan.uploads * CHANGED))
        archive_rows.insert_rows_at_end(
            self.server.database, self.plan.rows, round(self.plan.rows * CHANGED))
        _, more = changed_pages(self.server.database, pages)
        with self.server.running():
            third = self.instance.backup()
        sent = sum(target["transfer"]["bytesSent"] for target in third["report"]["targets"])
        self.note("1 % changed", (changed + more) / 1e6, "MB")
        self.note("1 % changed, sent", sent / (changed + more), "times the changed bytes",
                  SENT_RATIO, 2)
        self.note("1 % changed, run", third["seconds"], "s")
        self.note("1 % changed, memory", third["memory_mb"], "MB", MEMORY_MB)

    def load(self):
        """The same load without a run, and with one at work all the time, in turns: what else the
        machine does is in both."""
        results = {"without": [], "with": []}
        with self.server.running():
            for name in ("without", "with") * ROUNDS:
                with self.runs_at_work() if name == "with" else contextlib.nullcontext():
                    results[name].append(self.tools.load(
                        self.server, "chat", pairs=PAIRS, first=0, tls="starttls",
                        sasl=MECHANISM, sm=True, settle=0, warmup=2, drain=20, rate=RATE,
                        duration=self.plan.seconds))
        cost = {}
        for name, figures in results.items():
            def mean(key, figures=figures):
                return sum(figure[key] for figure in figures) / len(figures)
            cost[name] = mean("cpu_us_per_msg")
            self.note(f"CPU per message, {name} a run", cost[name], "us")
            for share in ("p50", "p99"):
                self.note(f"{share} of delivery, {name} a run", mean(f"latency_{share}_ms"), "ms",
                          None, 2)
            if lost := sum(figure["lost"] for figure in figures):
                self.missed.append(f"{lost} messages lost")
        self.note("CPU per message, with beside without", cost["with"] / cost["without"], "times",
                  CPU_RATIO, 2)

    @contextlib.contextmanager
    def runs_at_work(self):
        """One run after the other, to the end."""
        over = threading.Event()
        runs = []

        def back_up():
            while not over.is_set():
                runs.append(self.instance.backup())

        thread = threading.Thread(target=back_up)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.note("runs during the load", len(runs), "", digits=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=Path(".build/release/kinglet"))
    parser.add_argument("--uploads", type=int, default=UPLOADS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seconds", type=int, default=LOAD_SECONDS)
    plan = parser.parse_args()
    servers.Kinglet.binary = plan.kinglet.resolve()
    raise_descriptor_limit()
    if os.geteuid() != 0:
        sys.exit("bench-backup mounts file systems of its own, which needs root")
    directory = Path(tempfile.mkdtemp(prefix="kinglet-backup-", dir="/var/tmp"))
    try:
        with file_system(directory, "source", 16 << 30) as source, \
                file_system(directory, "target", 16 << 30) as target:
            for folder in (source / "bench", target / "kinglet"):
                folder.mkdir()
            bench = Bench(plan, source / "bench", target / "kinglet")
            bench.fill()
            bench.runs()
            bench.load()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if bench.missed:
        sys.exit(f"missed: {', '.join(bench.missed)}")


if __name__ == "__main__":
    main()
