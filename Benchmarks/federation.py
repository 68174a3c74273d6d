"""What federation costs: a message to another server beside one that stays, a thousand domains that
cannot be reached beside the local load, an idle stream beside a client's.

`make bench-federation` calls it. All servers are on loopback, with a name server of the benchmark's
own. What is compared is measured in turns: what else the machine does is in both.
"""

import argparse
import contextlib
import os
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import servers
from bench import say
from client import Client
from measurements import MECHANISM, PAIRS, RATE
from processes import BenchError, memory, raise_descriptor_limit
from remote_domains import ZONE, Authority, FederatedKinglet, Names, Peers, silent_port
from scrape import cpu_seconds
from tools import Tools

DOMAINS = 1000
STREAMS = 500
WARM_UP = 50
FAST = 3000
# federation.connecting, and seven times as many that take long.
ATTEMPTS_AT_ONCE = 16 * 8
# Limits of the issue that this came with.
AWAY_RATIO = 2
LOCAL_RATIO = 1.1
STREAM_RATIO = 1
# One for each attempt, for there is one address, and those of the resolver.
SOCKETS = ATTEMPTS_AT_ONCE + 8
MEMORY_MB = 10
PARTS = ("messages", "unreachable", "idle")


class Bench:
    def __init__(self, plan, directory):
        self.plan = plan
        self.names = Names()
        self.authority = Authority(directory / "authority")
        self.tools = Tools(directory / "tools")
        self.near, self.far = (
            FederatedKinglet(directory / name, f"{name}.{ZONE}", self.authority, self.names)
            for name in ("near", "far"))
        self.missed = []
        self.users = 2 * PAIRS
        for server in (self.near, self.far):
            server.seed(max(self.users, plan.streams) + 1, self.tools)

    def note(self, name, value, unit="", limit=None, digits=1):
        text = f"{name}: {value:,.{digits}f} {unit}".rstrip()
        if limit is not None:
            is_kept = value <= limit
            text += f" (limit {limit:,.{digits}f}: {'kept' if is_kept else 'MISSED'})"
            if not is_kept:
                self.missed.append(name)
        say(text)

    def chat(self, away=False, **options):
        """The load's figures; whoever receives is on the other server, if it goes away."""
        if away:
            options |= {"peer_port": self.far.port, "peer_domain": self.far.domain,
                        "peer_pid": self.far.pid}
        figures = self.tools.load(
            self.near, "chat", pairs=PAIRS, tls="none", sasl=MECHANISM, sm=True, settle=0,
            warmup=2, drain=20, **options)
        if faults := sum(figures[name] for name in ("lost", "duplicated", "reordered",
                                                    "message_errors")):
            self.missed.append(
                f"{faults} {options.get('type', 'chat')} messages lost, doubled, out of order or "
                f"refused, {'away' if away else 'local'}, {options.get('rate', 'saturated')}")
        return figures

    # A message

    def messages(self):
        loads = {
            f"{RATE} a second": {"rate": RATE, "duration": self.plan.seconds},
            "saturated": {"window": 1, "window_on": "ack", "duration": self.plan.seconds / 2},
            f"not kept, {RATE} a second": {
                "rate": RATE, "duration": self.plan.seconds, "type": "headline"},
            f"not kept, {FAST} a second": {
                "rate": FAST, "duration": self.plan.seconds / 2, "type": "headline"}}
        figures = {(name, away): [] for name in loads for away in (False, True)}
        with self.near.running(), self.far.running():
            for _ in range(self.plan.rounds):
                for name, load in loads.items():
                    for away in (False, True):
                        one = self.chat(away, **load)
                        figures[name, away].append(one)
                        say(f"{name}, {'away' if away else 'local'}: {cpu(one):.1f} us, other "
                            f"server {one.get('peer_cpu_us_per_msg', 0):.1f} us, "
                            f"{one['completed_per_s']:.0f}/s, "
                            f"other jobs {one['host_other_cores']:.1f} cores")
        for name in loads:
            local = median(map(cpu, figures[name, False]))
            sent = median(map(cpu, figures[name, True]))
            received = median(one["peer_cpu_us_per_msg"] for one in figures[name, True])
            self.note(f"CPU of a local message, {name}", local, "us")
            self.note(f"CPU of one to another server, {name}", sent, "us")
            self.note("  beside a local one", sent / local, "times", AWAY_RATIO, 2)
            self.note(f"CPU of one from another server, {name}", received, "us")
            self.note("  beside a local one", received / local, "times", AWAY_RATIO, 2)

    # Domains that cannot be reached

    def unreachable(self):
        with silent_port() as silent:
            # A bound socket that does not listen refuses, and nobody else gets its port.
            with contextlib.closing(socket.socket()) as refusing:
                refusing.bind(("127.0.0.1", 0))
                kinds = {"missing": None, "refusing": refusing.getsockname()[1], "silent": silent}
                for kind, port in kinds.items():
                    if port is not None:
                        for domain in domains_of(kind):
                            self.names.publish(domain, port)
                self._unreachable(kinds)

    def _unreachable(self, kinds):
        figures = {kind: [] for kind in (None, *kinds)}
        for _ in range(self.plan.rounds):
            for kind, runs in figures.items():
                runs.append(self.load_beside(kind))
        alone = median(run["cpu_us_per_msg"] for run in figures[None])
        grown = median(run["grown_mb"] for run in figures[None])
        self.note("CPU of a local message, alone", alone, "us")
        for kind in kinds:
            runs = figures[kind]
            beside = median(run["cpu_us_per_msg"] for run in runs)
            self.note(f"CPU of a local message beside {DOMAINS} {kind} domains", beside, "us")
            self.note("  beside alone", beside / alone, "times", LOCAL_RATIO, 2)
            self.note("  more for each domain", (beside - alone) * runs[0]["measured_sent"] / DOMAINS,
                      "us", digits=0)
            self.note("  sockets at one time", max(run["sockets"] for run in runs), "", SOCKETS, 0)
            self.note("  memory", median(run["grown_mb"] for run in runs) - grown, "MB", MEMORY_MB)
            self.note("  messages neither returned nor waiting",
                      max(DOMAINS - run["errors"] - run["waiting"] for run in runs), "", 0, 0)
            say(f"  returned {runs[-1]['errors']}, waiting {runs[-1]['waiting']}")

    def load_beside(self, kind):
        """The local load on a fresh process, with a message to each domain of a kind."""
        result, errors = {}, []

        def load():
            try:
                result.update(self.chat(rate=RATE, duration=self.plan.seconds))
            except BenchError as error:
                errors.append(error)

        with self.near.running():
            self.chat(rate=RATE, duration=1)
            before = memory(self.near.pid).anonymous
            thread = threading.Thread(target=load)
            with Client.bound(
                    self.near.port, f"u{self.users}", self.tools.password,
                    self.near.domain) as sender, Sockets(self.near.pid) as sockets:
                thread.start()
                # The load has logged in and is warm.
                time.sleep(4)
                sockets.begin()
                if kind is not None:
                    for domain in domains_of(kind):
                        sender.send(f"<message to='friend@{domain}' type='chat' id='{domain}'>"
                                    "<body>Are you there?</body></message>")
                thread.join()
                returned = sender.drain().count("type='error'")
            result["grown_mb"] = (memory(self.near.pid).anonymous - before) / 1024
        if errors:
            raise errors[0]
        with contextlib.closing(sqlite3.connect(self.near.database)) as connection, connection:
            waiting = connection.execute("SELECT count(*) FROM outgoing").fetchone()[0]
            connection.execute("DELETE FROM outgoing")
        result |= {"errors": returned, "waiting": waiting, "sockets": sockets.most}
        say(f"beside {kind or 'nothing'}: {result['cpu_us_per_msg']:.1f} us, other jobs "
            f"{result['host_other_cores']:.1f} cores, {sockets.most} sockets, "
            f"{result['grown_mb']:.1f} MB")
        return result

    # An idle stream

    def idle(self):
        count = self.plan.streams
        peers = Peers(self.authority)
        peers.listening(self.names, WARM_UP + count)
        kinds = {"client's": self.clients, "incoming": self.incoming, "outgoing": self.outgoing}
        figures = {kind: [] for kind in kinds}
        for _ in range(self.plan.rounds):
            for kind, hold in kinds.items():
                with self.near.running(), contextlib.ExitStack() as held:
                    before = hold(peers, count, held)
                    time.sleep(3)
                    added = (memory(self.near.pid).anonymous - before) / count
                    used = cpu_seconds(self.near.pid)
                    time.sleep(self.plan.idle)
                    used = cpu_seconds(self.near.pid) - used
                say(f"{kind} stream: {added:.1f} KB, {1000 * used:.0f} ms in {self.plan.idle} s")
                figures[kind].append((added, used))
        peers.stop()
        client = median(added for added, _ in figures["client's"])
        for kind, runs in figures.items():
            added = median(added for added, _ in runs)
            limit = {} if kind == "client's" else {"limit": STREAM_RATIO * client}
            self.note(f"Memory of an idle {kind} stream", added, "KB", **limit)
            self.note(f"  CPU of {count} for {self.plan.idle} s",
                      1000 * median(used for _, used in runs), "ms", digits=0)

    def settled(self):
        time.sleep(3)
        return memory(self.near.pid).anonymous

    def clients(self, _, count, held):
        options = {"tls": "starttls", "sasl": MECHANISM}
        self.tools.load(self.near, "login", users=WARM_UP, settle=0, **options)
        before = self.settled()
        crowd = held.enter_context(self.tools.begin(
            self.near, "idle", users=count, settle=0, hold=600, timeout=900, **options))
        if crowd.online < count:
            raise BenchError(f"{crowd.online} of {count} clients are online")
        return before

    def incoming(self, peers, count, held):
        domains = peers.domains(WARM_UP + count)
        for stream in [peers.open(self.near, domain) for domain in domains[:WARM_UP]]:
            stream.connection.close()
        before = self.settled()
        for domain in domains[WARM_UP:]:
            held.enter_context(peers.open(self.near, domain))
        return before

    def outgoing(self, peers, count, held):
        domains = peers.domains(WARM_UP + count)
        with Client.bound(
                self.near.port, "u0", self.tools.password, self.near.domain) as sender:
            def send(domain):
                # Nothing of it is kept: the stream counts.
                sender.send(f"<message to='friend@{domain}' type='headline' id='{domain}'>"
                            "<body>Are you there?</body></message>")
                return peers.take()

            for stream in [send(domain) for domain in domains[:WARM_UP]]:
                stream.connection.close()
            before = self.settled()
            for domain in domains[WARM_UP:]:
                held.enter_context(send(domain))
        return before


class Sockets:
    """The most sockets that a process has beyond those it had in the beginning."""

    def __init__(self, pid):
        self._directory = Path(f"/proc/{pid}/fd")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._first = None
        self.most = 0

    def begin(self):
        self._first = self._count()

    def _count(self):
        count = 0
        for entry in self._directory.iterdir():
            with contextlib.suppress(OSError):
                count += os.readlink(entry).startswith("socket:")
        return count

    def _look(self):
        while not self._over.wait(0.05):
            if self._first is not None:
                self.most = max(self.most, self._count() - self._first)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def cpu(figures):
    return figures["cpu_us_per_msg"]


def domains_of(kind):
    return [f"d{number}.{kind}.{ZONE}" for number in range(DOMAINS)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=Path(".build/release/kinglet"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=15, help="of each load")
    parser.add_argument("--streams", type=int, default=STREAMS, help="idle ones")
    parser.add_argument("--idle", type=int, default=20, help="seconds that they are watched")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated (%(default)s)")
    plan = parser.parse_args()
    servers.Kinglet.binary = plan.kinglet.resolve()
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="kinglet-federation-") as directory:
        try:
            bench = Bench(plan, Path(directory))
            for part in plan.parts.split(","):
                getattr(bench, part)()
        except BenchError as error:
            sys.exit(str(error))
    if bench.missed:
        sys.exit(f"missed: {', '.join(bench.missed)}")


if __name__ == "__main__":
    main()
