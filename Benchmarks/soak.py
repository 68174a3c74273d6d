"""An hour of an ordinary day, compressed: messages at a steady rate while clients come and go.

`make soak` calls it. Memory and descriptors must be as flat at the end as after the warm-up, and no
message may be lost.
"""

import argparse
import csv
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import servers
from bench import Place, say
from client import Client
from measurements import MECHANISM
from processes import BenchError, memory, raise_descriptor_limit
from tools import Tools

# Users by what they do: pairs that stay, pairs that come in waves, phones.
STEADY_PAIRS = 20
WAVE_PAIRS = 15
WAVES = 8
PHONES = 60
PHONE_WORKERS = 3
# What the phones add to the rate of the others, about.
PHONE_MESSAGES = 4
WAVE_SECONDS = (10, 40)
SAMPLE_SECONDS = 5
# The part of the time that counts as warm-up: heaps and caches fill, hibernated sessions expire.
WARM_UP = 0.3
# How much more may be held at the end than after the warm-up, by the medians of both.
MEMORY_KB = 2048
DESCRIPTORS = 8


class Phone:
    """A client that writes to the next phone, and whose network comes and goes."""

    def __init__(self, number, server, tools):
        self.number = number
        self._server = server
        self._tools = tools
        self._name = None
        self._handled = 0
        self._sent = 0

    def live(self, chance):
        """One appearance: resumed if that can be, with some messages; then cut off or ended."""
        user = f"phone{self.number}"
        client = Client.authenticated(self._server.port, user, self._tools.password)
        with client:
            if not self._is_resumed(client):
                client.bind(user)
                self._name = client.enable_resumption()
                self._handled = 0
                client.send("<presence/>")
            for _ in range(chance.randint(1, 2 * PHONE_MESSAGES)):
                self._sent += 1
                peer = f"phone{(self.number + 1) % PHONES}@{servers.DOMAIN}"
                client.send(
                    f"<message to='{peer}' type='chat' id='{user}-{self._sent}'>"
                    f"<body>message {self._sent}</body></message>")
            self._handled = client.settle(self._handled)
            if chance.random() < 0.25:
                client.end()
                self._name = None

    def _is_resumed(self, client):
        return self._name is not None and "<resumed" in client.resume(self._name, self._handled)


class Soak:
    def __init__(self, plan, server, tools):
        self._plan = plan
        self._server = server
        self._tools = tools
        self._over = threading.Event()
        self._lock = threading.Lock()
        self.failures = []
        self.counts = {"sent": 0, "lost": 0, "waves": 0, "phone appearances": 0}
        self.samples = []

    def run(self):
        threads = [threading.Thread(target=self._guard, args=(body, *arguments))
                   for body, *arguments in (
                       (self._steady,), (self._waves,),
                       *((self._phones, worker) for worker in range(PHONE_WORKERS)))]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        while (now := time.monotonic() - begun) < self._plan.seconds and not self.failures:
            self._sample(now)
            self._over.wait(SAMPLE_SECONDS)
        self._over.set()
        for thread in threads:
            thread.join()

    def _guard(self, body, *arguments):
        try:
            body(*arguments)
        except Exception as error:  # noqa: BLE001: whatever it is ends the run, and is said
            with self._lock:
                self.failures.append(f"{body.__name__}: {error!r}")
            self._over.set()

    def _sample(self, now):
        pid = self._server.pid
        held = memory(pid)
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        self.samples.append({
            "second": round(now), "anonymous_kb": held.anonymous, "resident_kb": held.resident,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": int(fields[17]),
            "cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
            "database_mb": round(self._server.database.stat().st_size / 2**20, 1),
            "sent": self.counts["sent"]})
        if len(self.samples) % 12 == 1:
            last = self.samples[-1]
            say(", ".join(f"{name} {value}" for name, value in last.items()))

    # What goes on

    def _chat(self, **options):
        figures = self._tools.load(
            self._server, "chat", sasl=MECHANISM, sm=True, settle=0, warmup=0, drain=20,
            timeout=self._plan.seconds + 300, **options)
        with self._lock:
            self.counts["sent"] += figures["sent"]
            self.counts["lost"] += figures["lost"] + figures["acked_but_lost"]

    def _steady(self):
        self._chat(pairs=STEADY_PAIRS, first=0, tls="starttls", rate=self._plan.rate // 2,
                   duration=self._plan.seconds)

    def _waves(self):
        """Clients that log in, talk for a while and leave, over and over."""
        chance = random.Random(self._plan.seed)
        begun = time.monotonic()
        while (left := self._plan.seconds - (time.monotonic() - begun)) > WAVE_SECONDS[0]:
            if self._over.is_set():
                return
            first = 2 * STEADY_PAIRS + 2 * WAVE_PAIRS * chance.randrange(WAVES)
            self._chat(pairs=WAVE_PAIRS, first=first, tls=chance.choice(["none", "starttls"]),
                       rate=self._plan.rate * 2 // 5,
                       duration=int(min(left, chance.randint(*WAVE_SECONDS))))
            with self._lock:
                self.counts["waves"] += 1

    def _phones(self, worker):
        chance = random.Random(f"{self._plan.seed} {worker}")
        phones = [Phone(number, self._server, self._tools)
                  for number in range(worker, PHONES, PHONE_WORKERS)]
        # So that all workers together send a tenth of the rate.
        pause = PHONE_WORKERS * PHONE_MESSAGES / (self._plan.rate / 10)
        while not self._over.wait(chance.uniform(0, 2 * pause)):
            chance.choice(phones).live(chance)
            with self._lock:
                self.counts["phone appearances"] += 1


def verdict(samples, counts):
    """The lines to print, and whether all is well."""
    steady = [sample for sample in samples
              if sample["second"] >= WARM_UP * samples[-1]["second"]]
    part = max(1, len(steady) // 4)
    lines, is_good = [], True
    for name, limit in (("anonymous_kb", MEMORY_KB), ("descriptors", DESCRIPTORS)):
        early = median(sample[name] for sample in steady[:part])
        late = median(sample[name] for sample in steady[-part:])
        most = max(sample[name] for sample in steady)
        fits = late - early <= limit
        is_good &= fits
        lines.append(f"{name}: {early:,.0f} after the warm-up, {late:,.0f} at the end, at most "
                     f"{most:,.0f}: {'flat' if fits else f'GREW by more than {limit:,}'}")
    is_good &= counts["lost"] == 0
    lines.append(", ".join(f"{name} {value:,}" for name, value in counts.items()))
    last = samples[-1]
    lines.append(f"{last['cpu_s']:,.0f} s of CPU in {last['second']:,} s; database "
                 f"{last['database_mb']:,.0f} MB; {last['threads']} threads")
    return lines, is_good


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path,
                        default=Path(".build/release/kinglet"), help="the program to test")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--rate", type=int, default=200, help="messages per second, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path(".build/bench/soak.csv"))
    return parser.parse_args()


def main():
    plan = arguments()
    raise_descriptor_limit()
    servers.Kinglet.binary = plan.kinglet.resolve()
    tools = Tools(Path(".build/bench").resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="kinglet-soak-") as directory:
        server = Place(Path(directory)).server(servers.Kinglet, "kinglet", archives=True)
        server.seed(2 * (STEADY_PAIRS + WAVES * WAVE_PAIRS), tools)
        server.seed(PHONES, tools, prefix="phone")
        with server.running():
            soak = Soak(plan, server, tools)
            soak.run()
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    with open(plan.output, "w", newline="") as file:
        writer = csv.DictWriter(file, soak.samples[0].keys())
        writer.writeheader()
        writer.writerows(soak.samples)
    lines, is_good = verdict(soak.samples, soak.counts)
    print("\n".join(lines + soak.failures))
    return 0 if is_good and not soak.failures else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(str(error))
