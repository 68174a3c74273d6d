#!/usr/bin/env python3
"""Compares Kinglet with ejabberd and Prosody on this machine. `make bench` calls it."""

import argparse
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import archive_rows
import disk
import durable
import gates
import hibernation
import kinglet_only
import measurements
import report
import scrape
import servers
from processes import BenchError, Skipped, raise_descriptor_limit, run
from tools import Tools

BUILD = Path(__file__).resolve().parents[1] / ".build"
INSTALL = "apt-get install --no-install-recommends"
# What can be measured apart from the rest, with its rows of the table.
PARTS = {
    "base": report.ROWS, "archive": report.ARCHIVE_ROWS, "scrape": report.SCRAPE_ROWS}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=BUILD / "release/kinglet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default=",".join(kind.name for kind in servers.ALL),
                        help="comma-separated names (%(default)s)")
    parser.add_argument("--parts", type=parts, default=",".join(PARTS),
                        help="comma-separated (%(default)s)")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    parser.add_argument("--hold", type=float, default=10, help="seconds they are held")
    parser.add_argument("--duration", type=float, default=5, help="seconds at full load")
    parser.add_argument("--accounts", type=int, default=100_000,
                        help="accounts of the start with many; 0 leaves it out")
    parser.add_argument("--stalls", type=int, default=5,
                        help="tries of the stall test; 0 leaves it out")
    parser.add_argument("--hibernated", type=int, default=2000,
                        help="hibernated sessions; 0 leaves them out")
    parser.add_argument("--rows", type=int, default=gates.ROWS,
                        help="rows of the large archive; 0 leaves it out")
    parser.add_argument("--output", type=Path, default=BUILD / "bench/results.json")
    return parser.parse_args()


def parts(text):
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}")
    return names


def choose(names, wanted):
    """The kinds of servers to run; says what is left out and why."""
    known = {kind.name: kind for kind in servers.ALL}
    chosen = []
    for name in filter(None, names.split(",")):
        if name not in known:
            raise BenchError(f"no server {name}; there are {', '.join(known)}")
        kind = known[name]
        if not kind.is_installed():
            print(f"{name} is not installed and left out; to have it: {INSTALL} {kind.packages}")
            continue
        chosen.append(kind)
        if "archive" in wanted and not kind.can_archive():
            print(f"{name} runs without an archive alone; to have it: "
                  f"{INSTALL} {kind.archive_packages}")
    return chosen


def make_certificate(directory):
    """One for all: ECDSA P-256, self-signed."""
    certificate, key = directory / "server.crt", directory / "server.key"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", f"/CN={servers.DOMAIN}", "-addext",
         f"subjectAltName=DNS:{servers.DOMAIN}", "-keyout", key, "-out", certificate])
    return certificate, key


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Record:
    """Takes what is measured: shows it, keeps it, and writes it to the file after each run."""

    def __init__(self, plan):
        self.plan = plan
        self.results = report.Results()
        self.failures = []
        self.skipped = []

    def take(self, name, visit):
        """All figures of a visit. A server that fails is said to have failed; the rest goes on."""
        try:
            for measurement, figures in visit:
                self.results.add(name, measurement, figures)
                say(f"{name}: {measurement}: {report.brief(figures)}")
                self.write()
        except Skipped as reason:
            self.skipped.append(f"{name}: {reason}")
            say(self.skipped[-1])
        except (BenchError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{name}: {error}")
            say(self.failures[-1])

    def write(self):
        self.plan.output.parent.mkdir(parents=True, exist_ok=True)
        self.plan.output.write_text(json.dumps(
            {"machine": platform.uname()._asdict(), "rounds": self.plan.rounds,
             "idle": self.plan.idle, "runs": self.results.runs}, indent=1) + "\n")


class Place:
    """Where the servers live, with what they share."""

    def __init__(self, directory):
        self.directory = directory
        self._certificate, self._key = make_certificate(directory)

    def server(self, kind, name, archives=False):
        return kind(self.directory / name, self._certificate, self._key, archives)

    def seeded(self, kinds, tools, users, archives=False):
        """Servers with so many users. A server and its tuned variant share them."""
        prepared, seeded = [], set()
        for kind in kinds:
            name = f"{kind.family}-archive" if archives else kind.family
            server = self.server(kind, name, archives)
            if kind.family not in seeded:
                say(f"{name}: {users} users")
                server.seed(users, tools)
                seeded.add(kind.family)
            prepared.append(server)
        return prepared


def measure(kinds, plan, record, tools, place):
    # Each part's visits to one server are together, and its servers alternate in every round.
    visits = []
    if "base" in plan.parts:
        users = max(plan.idle + 1, measurements.LOGINS)
        servers_without = place.seeded(kinds, tools, users)
        visits.append(lambda: visit_all(servers_without, plan, record, tools))
    if "archive" in plan.parts:
        disk.require_disk(place.directory)
        archiving = [kind for kind in kinds if kind.can_archive()]
        users = durable.users_needed(archiving, plan.rounds)
        servers_with = place.seeded(archiving, tools, users, archives=True)
        fresh = durable.FreshUsers()
        visits.append(lambda: visit_archives(servers_with, plan, record, tools, place, fresh))
    for number in range(1, plan.rounds + 1):
        say(f"round {number} of {plan.rounds}")
        for visit in visits:
            visit()
    if servers.Kinglet in kinds:
        measure_kinglet(plan, record, tools, place)


def visit_all(chosen, plan, record, tools):
    record.take("floor", measurements.of_floor(tools, plan))
    for server in chosen:
        record.take(server.name, measurements.of_server(server, tools, plan))


def visit_archives(chosen, plan, record, tools, place, fresh):
    for server in chosen:
        record.take(server.name, durable.of_archive(server, tools, plan, fresh))
        # Beside each server's latencies, for the disk is not equally fast all the time.
        record.take("floor", disk.of_disk(place.directory))


def measure_kinglet(plan, record, tools, place):
    def kinglet(name, archives=False):
        return place.server(servers.Kinglet, name, archives)

    if "base" in plan.parts and plan.accounts:
        say(f"starts with {plan.accounts} accounts and with one")
        record.take("kinglet", kinglet_only.starts(
            kinglet("few"), kinglet("many"), tools, plan.accounts))
    if "base" in plan.parts and plan.stalls:
        record.take("kinglet", kinglet_only.stalls(kinglet("kinglet"), tools, plan))
    if "scrape" in plan.parts:
        say(f"scrapes, with {plan.idle} sessions")
        record.take("kinglet", scrape.scrapes(kinglet("scraped"), tools, plan.idle))
    if "archive" in plan.parts and plan.hibernated:
        say(f"{plan.hibernated} hibernated sessions")
        record.take("kinglet", hibernation.sessions(
            kinglet("hibernated"), tools, plan.hibernated))
    if "archive" in plan.parts and plan.rows:
        say(f"an archive of {plan.rows:,} rows")
        record.take("kinglet", archive_rows.archives(
            kinglet("archive-empty", archives=True), kinglet("archive-full", archives=True),
            tools, plan.rows))


def main():
    plan = arguments()
    servers.Kinglet.binary = plan.kinglet.resolve()
    limit = raise_descriptor_limit()
    if limit < plan.idle + 1000:
        raise BenchError(f"{plan.idle} connections want more than {limit} descriptors (ulimit -n)")
    kinds = choose(plan.servers, plan.parts)
    record = Record(plan)
    with tempfile.TemporaryDirectory(prefix="kinglet-bench-") as directory:
        measure(kinds, plan, record, Tools(BUILD / "bench"), Place(Path(directory)))
    show(kinds, plan, record)
    if record.failures:
        raise BenchError("; ".join(record.failures))


def show(kinds, plan, record):
    columns = [(kind.name, kind.title) for kind in kinds] + [("floor", "Floor")]
    rows = [row for part in plan.parts for row in PARTS[part]]
    print(f"Medians of {plan.rounds}; {plan.idle:,} idle connections.\n")
    print(report.table(record.results, columns, rows))
    print()
    print(gates.table(record.results, plan.idle, plan.parts))
    for reason in dict.fromkeys(record.skipped):
        print(f"\nLeft out: {reason}")
    print(f"\nEvery run: {plan.output}")


def end(*_):
    """Ended from outside, it still stops its servers and removes their directory: once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    try:
        main()
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
