#!/usr/bin/env python3
"""Backs a server up again and again while people talk, kills what is at work and breaks the target;
at the end the newest verified snapshot restores, and every message that was acknowledged before it
was begun is in it. For `make backup-soak`."""

import argparse
import calendar
import collections
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Clients"))

# pylint: disable=wrong-import-position
from kinglet import BINARY
from people import JULIET, ROMEO
from raw_client import RawClient
from test_ups import LOOPBACK
from unprivileged import IS_ROOT, USER, Place

TALKERS = 4
BATCH = 5
# Runs of the program that end, whatever happens to them.
RUN_SECONDS = 120
FAULTS = (
    "none", "none", "kill the server", "kill the command", "kill rsync", "fill the target",
    "make the target read-only", "take the target away", "empty the uploads", "damage a file",
    "leave a partial snapshot")
TARGET_MEGABYTES = 1024
NAME = re.compile(r"\d{8}T\d{6}Z-\d{6}")


class Talker(threading.Thread):
    """Sends numbered messages, and puts down when each was acknowledged."""

    def __init__(self, soak, number):
        super().__init__(daemon=True)
        self.soak = soak
        self.number = number
        self.acknowledged = {}
        self.count = 0

    def run(self):
        while not self.soak.is_over.is_set():
            try:
                self.talk()
            except (OSError, AssertionError):
                self.soak.is_over.wait(0.05)

    def talk(self):
        with RawClient.logged_in(self.soak.server, ROMEO) as client:
            client.send("<enable xmlns='urn:xmpp:sm:3'/>")
            client.read_through("<enabled[^>]*/>")
            sent = collections.deque()
            position = 0
            while not self.soak.is_over.is_set():
                for _ in range(BATCH):
                    self.count += 1
                    position += 1
                    text = f"soak-{self.number}-{self.count}-"
                    sent.append((position, text))
                    client.send(
                        f"<message to='{JULIET.jid}' type='chat' id='{text}'>"
                        f"<body>{text} {'x' * random.choice((0, 20, 900))}</body></message>")
                client.send("<r xmlns='urn:xmpp:sm:3'/>")
                handled = -1
                while handled < position:
                    answer = client.read_through(r"<a xmlns='urn:xmpp:sm:3' h='(\d+)'/>"
                                                 r"|<a h='(\d+)' xmlns='urn:xmpp:sm:3'/>"
                                                 r'|<a [^>]*h="(\d+)"[^>]*/>')
                    handled = int(re.search(r"h=['\"](\d+)", answer)[1])
                    now = time.time()
                    while sent and sent[0][0] <= handled:
                        self.acknowledged[sent.popleft()[1]] = now
                self.soak.is_over.wait(0.02)


class Soak:
    def __init__(self, place, seed):
        self.place = place
        self.server = place.server
        self.server.settings |= LOOPBACK
        self.random = random.Random(seed)
        self.is_over = threading.Event()
        self.target = place.directory / "target"
        self.talkers = [Talker(self, number) for number in range(TALKERS)]
        self.damage_found = 0
        self.tallies = collections.Counter()
        self.violations = []
        self.published = []

    # The place

    def prepare(self):
        self.target.mkdir()
        if IS_ROOT:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TARGET_MEGABYTES}m,mode=755",
                            "tmpfs", self.target], check=True)
        self.place.initialize(ROMEO, JULIET)
        (self.target / "kinglet").mkdir()
        with open(self.server.configuration, "a", encoding="utf-8") as file:
            file.write(
                f"backup:\n  targets:\n    - name: disk\n      location: {self.target}/kinglet\n"
                "  jobs:\n    - name: soak\n      targets: [disk]\n      keep_last: 5\n")
        uploads = self.server.data / "uploads"
        uploads.mkdir()
        for number in range(60):
            (uploads / f"{number:02}").write_bytes(os.urandom(4000))
        self.own(self.place.directory)

    def own(self, path):
        if IS_ROOT:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", path], check=True)

    def start(self):
        self.place.start(isolated=False)

    def end(self):
        self.is_over.set()
        if self.server.process:
            self.server.stop()
        if IS_ROOT:
            subprocess.run(["umount", "--lazy", self.target], check=False)

    # Commands

    def words(self, *words):
        program = (["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
                   if IS_ROOT else [])
        return [str(word) for word in
                (*program, BINARY, "backup", *words, *self.server._common)]

    def command(self, *words, **options):
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, timeout=RUN_SECONDS,
            check=False, **options)

    # One run

    def run(self):
        fault = self.random.choice(FAULTS)
        self.tallies["runs"] += 1
        self.tallies[fault] += 1
        # A command that was killed leaves its run to the server.
        self.wait_for_the_last()
        with self.broken(fault) as during:
            process = subprocess.Popen(
                self.words("run", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True)
            if during:
                # When in the run it strikes is left to chance: that is the point of it.
                time.sleep(self.random.uniform(0, 0.8))
                during(process)
            try:
                output, errors = process.communicate(timeout=RUN_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                self.violations.append(f"{fault}: the run does not end")
                return
        self.judge(fault, process.returncode, output, errors)
        if self.server.process and self.server.process.poll() is not None:
            self.violations.append(f"{fault}: the server ended: {self.server.log.text[-500:]}")
        if self.server.process is None or self.server.process.poll() is not None:
            self.start()

    def wait_for_the_last(self):
        """Until no run is at work."""
        end = time.monotonic() + RUN_SECONDS
        while json.loads(self.command("list", "--json").stdout or "{}").get("busy"):
            if time.monotonic() > end:
                self.violations.append("a run whose command was killed does not end")
                return
            time.sleep(0.1)

    def judge(self, fault, status, output, errors):
        if status == 0:
            self.damage_found = 0
            report = json.loads(output)
            self.tallies[f"ended: {report['result']}"] += 1
            for target in report["targets"]:
                if target.get("snapshot"):
                    self.published.append(target["snapshot"])
            if fault in ("take the target away", "make the target read-only") \
                    and report["result"] in ("success", "warning") and IS_ROOT:
                self.violations.append(f"{fault}: {report['result']}")
            return
        self.tallies["ended: failed"] += 1
        if "damaged" in errors or "as it was" in errors:
            # A bit of another time; the run after it has to be good.
            self.tallies["damage found"] += 1
            self.damage_found += 1
            if self.damage_found > 1 and fault == "none":
                self.violations.append(f"damage is found again: {errors.strip()}")
            return
        if fault == "none":
            self.violations.append(f"a run without a fault failed: {errors.strip()}")
        if status not in (1, -signal.SIGKILL) or (status == 1 and not errors.strip()):
            self.violations.append(f"{fault}: status {status}, {errors!r}")

    @contextlib.contextmanager
    def broken(self, fault):
        """Yields what is to be done while the run is at work; mends everything afterwards."""
        place = self.target / "kinglet"
        filler = self.target / "filler"
        uploads, kept = self.server.data / "uploads", self.server.data / "kept"
        during = None
        if fault == "kill the server":
            during = lambda _: self.server.crash()
        elif fault == "kill the command":
            during = lambda process: process.kill()
        elif fault == "kill rsync":
            during = lambda _: subprocess.run(["pkill", "-9", "-U", str(USER), "rsync"],
                                              check=False)
        elif fault == "fill the target":
            during = lambda _: self.fill(filler)
        elif fault == "make the target read-only" and IS_ROOT:
            subprocess.run(["mount", "-o", "remount,ro", self.target], check=True)
        elif fault == "take the target away" and IS_ROOT:
            subprocess.run(["mount", "--bind", "/var/empty", place], check=False) \
                if Path("/var/empty").is_dir() else place.rename(self.target / "away")
        elif fault == "empty the uploads":
            uploads.rename(kept)
            uploads.mkdir()
            self.own(uploads)
        elif fault == "damage a file":
            self.damage(place)
        elif fault == "leave a partial snapshot":
            partial = place / ".partial-20300101T000000Z-999000"
            if place.is_dir():
                (partial / "uploads").mkdir(parents=True, exist_ok=True)
                (partial / "uploads" / "00").write_bytes(b"half")
                self.own(partial)
        try:
            yield during
        finally:
            if fault == "make the target read-only" and IS_ROOT:
                subprocess.run(["mount", "-o", "remount,rw", self.target], check=True)
            filler.unlink(missing_ok=True)
            if fault == "take the target away" and IS_ROOT:
                if (self.target / "away").exists():
                    (self.target / "away").rename(place)
                else:
                    subprocess.run(["umount", place], check=False)
            if fault == "empty the uploads":
                uploads.rmdir()
                kept.rename(uploads)

    def fill(self, filler):
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(bytes(1 << 20))

    def damage(self, place):
        """One bit of a file that some snapshots share."""
        snapshots = sorted(name for name in os.listdir(place) if NAME.fullmatch(name))
        if not snapshots:
            return
        path = place / snapshots[-1] / "uploads" / f"{self.random.randrange(60):02}"
        if not path.exists():
            return
        with open(path, "r+b") as file:
            status = os.stat(path)
            file.seek(17)
            byte = file.read(1)[0]
            file.seek(17)
            file.write(bytes([byte ^ 4]))
        # As a medium does it: nothing but the bit is another.
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.tallies["bits"] += 1

    # The end

    def conclude(self):
        """A last run without a fault, of which all is read back; then the newest verified snapshot
        has to be good."""
        self.wait_for_the_last()
        # What was damaged and not looked at yet is found at last, and copied anew by the next run.
        for _ in range(3):
            last = self.command("run", "--json")
            checked = self.command("verify")
            if (last.returncode, checked.returncode) == (0, 0):
                break
        else:
            self.violations.append(
                f"the last runs failed: {last.stderr.strip()} {checked.stdout.strip()}")
            return
        self.is_over.set()
        for talker in self.talkers:
            talker.join()
        listed = json.loads(self.command("list", "--json").stdout)
        verified = [
            snapshot["id"] for target in listed["targets"] for snapshot in target["snapshots"]
            if snapshot.get("verified")]
        if not verified:
            self.violations.append("no snapshot is verified")
            return
        newest = max(verified, key=lambda name: name[-6:])
        self.server.stop()
        where = self.place.directory / "restored"
        done = self.command("restore", newest, "--to", where, "--yes")
        if done.returncode != 0:
            self.violations.append(f"{newest} does not restore: {done.stderr.strip()}")
            return
        self.compare(where, newest)

    def compare(self, where, newest):
        database = next(where.rglob("kinglet.db"))
        with contextlib.closing(sqlite3.connect(database)) as connection:
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if verdict != "ok":
                self.violations.append(f"the restored database: {verdict}")
            stored = set()
            for (stanza,) in connection.execute("SELECT stanza FROM messages"):
                text = stanza.decode() if isinstance(stanza, bytes) else stanza
                stored.update(re.findall(r"soak-\d+-\d+-", text))
        begun = calendar.timegm(time.strptime(newest[:16], "%Y%m%dT%H%M%SZ"))
        due = [text for talker in self.talkers
               for text, moment in talker.acknowledged.items() if moment < begun]
        lost = [text for text in due if text not in stored]
        self.tallies["messages due"] = len(due)
        self.tallies["messages found"] = len(stored)
        if lost:
            self.violations.append(f"{len(lost)} acknowledged messages are lost: {lost[:5]}")
        if not due:
            self.violations.append("nothing was acknowledged before the newest snapshot")


def soak(runs, seed):
    print(f"backup soak: {runs} runs, seed {seed}", flush=True)
    place = Place()
    this = Soak(place, seed)
    began = time.monotonic()
    try:
        this.prepare()
        this.start()
        for talker in this.talkers:
            talker.start()
        for number in range(1, runs + 1):
            this.run()
            if number % 20 == 0:
                print(f"  {number} runs, {len(this.published)} snapshots, "
                      f"{sum(len(talker.acknowledged) for talker in this.talkers)} messages",
                      flush=True)
        this.conclude()
    finally:
        this.end()
        print(f"  {time.monotonic() - began:.0f} s: "
              + ", ".join(f"{name} {count}" for name, count in sorted(this.tallies.items())))
        for violation in this.violations[:20]:
            print(f"VIOLATION: {violation}")
        if this.violations:
            print(f"The data is kept in {place.directory}")
        else:
            place.remove()
    return this


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="runs of the backup (%(default)s)")
    parser.add_argument("--seed", type=int, help="of another time, to draw the same numbers")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    return 1 if soak(options.runs, seed).violations else 0


if __name__ == "__main__":
    sys.exit(main())
