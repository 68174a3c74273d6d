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

import gates
import kinglet_only
import measurements
import report
import servers
from processes import BenchError, raise_descriptor_limit, run
from tools import Tools

BUILD = Path(__file__).resolve().parents[1] / ".build"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=BUILD / "release/kinglet")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default=",".join(kind.name for kind in servers.ALL),
                        help="comma-separated names (%(default)s)")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    parser.add_argument("--hold", type=float, default=10, help="seconds they are held")
    parser.add_argument("--duration", type=float, default=5, help="seconds at full load")
    parser.add_argument("--accounts", type=int, default=100_000,
                        help="accounts of the start with many; 0 leaves it out")
    parser.add_argument("--stalls", type=int, default=5,
                        help="tries of the stall test; 0 leaves it out")
    parser.add_argument("--output", type=Path, default=BUILD / "bench/results.json")
    return parser.parse_args()


def choose(names):
    """The kinds of servers to run; says what is left out and why."""
    known = {kind.name: kind for kind in servers.ALL}
    chosen = []
    for name in filter(None, names.split(",")):
        if name not in known:
            raise BenchError(f"no server {name}; there are {', '.join(known)}")
        kind = known[name]
        if kind.is_installed():
            chosen.append(kind)
        else:
            print(f"{name} is not installed and left out; to have it: "
                  f"apt-get install --no-install-recommends {kind.packages}")
    return chosen


def make_certificate(directory):
    """One for all: ECDSA P-256, self-signed."""
    certificate, key = directory / "server.crt", directory / "server.key"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "30", "-subj", f"/CN={servers.DOMAIN}", "-addext",
         f"subjectAltName=DNS:{servers.DOMAIN}", "-keyout", key, "-out", certificate])
    return certificate, key


def prepare(kinds, directory, certificate, key, tools, users):
    """Servers with their users. A server and its tuned variant share them."""
    prepared, seeded = [], set()
    for kind in kinds:
        server = kind(directory / kind.family, certificate, key)
        if kind.family not in seeded:
            say(f"{kind.family}: {users} users")
            server.seed(users, tools)
            seeded.add(kind.family)
        prepared.append(server)
    return prepared


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Record:
    """Takes what is measured: shows it, keeps it, and writes it to the file after each run."""

    def __init__(self, plan):
        self.plan = plan
        self.results = report.Results()
        self.failures = []

    def take(self, name, visit):
        """All figures of a visit. A server that fails is said to have failed; the rest goes on."""
        try:
            for measurement, figures in visit:
                self.results.add(name, measurement, figures)
                say(f"{name}: {measurement}: {report.brief(figures)}")
                self.write()
        except (BenchError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{name}: {error}")
            say(self.failures[-1])

    def write(self):
        self.plan.output.parent.mkdir(parents=True, exist_ok=True)
        self.plan.output.write_text(json.dumps(
            {"machine": platform.uname()._asdict(), "rounds": self.plan.rounds,
             "idle": self.plan.idle, "runs": self.results.runs}, indent=1) + "\n")


def measure(kinds, plan, record, tools, directory):
    certificate, key = make_certificate(directory)
    users = max(plan.idle + 1, measurements.LOGINS)
    chosen = prepare(kinds, directory, certificate, key, tools, users)
    for number in range(1, plan.rounds + 1):
        say(f"round {number} of {plan.rounds}")
        record.take("floor", measurements.of_floor(tools, plan))
        for server in chosen:
            record.take(server.name, measurements.of_server(server, tools, plan))
    for server in chosen:
        if server.name != "kinglet":
            continue
        if plan.accounts:
            say(f"starts with {plan.accounts} accounts and with one")
            few, many = (
                servers.Kinglet(directory / name, certificate, key) for name in ("few", "many"))
            record.take("kinglet", kinglet_only.starts(few, many, tools, plan.accounts))
        if plan.stalls:
            record.take("kinglet", kinglet_only.stalls(server, tools, plan))


def main():
    plan = arguments()
    servers.Kinglet.binary = plan.kinglet.resolve()
    limit = raise_descriptor_limit()
    if limit < plan.idle + 1000:
        raise BenchError(f"{plan.idle} connections want more than {limit} descriptors (ulimit -n)")
    kinds = choose(plan.servers)
    record = Record(plan)
    with tempfile.TemporaryDirectory(prefix="kinglet-bench-") as directory:
        measure(kinds, plan, record, Tools(BUILD / "bench"), Path(directory))
    columns = [(kind.name, kind.title) for kind in kinds] + [("floor", "C floor")]
    print(f"Medians of {plan.rounds}; {plan.idle:,} idle connections.\n")
    print(report.table(record.results, columns))
    print()
    print(gates.table(record.results, plan.idle))
    print(f"\nEvery run: {plan.output}")
    if record.failures:
        raise BenchError("; ".join(record.failures))


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
