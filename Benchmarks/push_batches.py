"""What it costs to tell a thousand devices the same, beside twenty that are told alone.

`make bench-push` calls it. A program asks over one kept connection; the maker of the telephones is
played by a fake with TLS in this process, and the server's CPU time is its own: with the request of
the program, the tokens that are opened, the request to the maker and what is written down.
"""

import argparse
import contextlib
import http.client
import json
import os
import sqlite3
import ssl
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench import say
from scrape import cpu_seconds

MANY, FEW = 1000, 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=Path(".build/release/kinglet"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=25, help="in each round")
    plan = parser.parse_args()
    os.environ["KINGLET"] = str(plan.kinglet.resolve())
    sys.path.append(str(Path(__file__).resolve().parents[1] / "Tests/Clients"))
    with tempfile.TemporaryDirectory(prefix="kinglet-push-") as directory, \
            contextlib.ExitStack() as stops:
        bench = Bench(Path(directory), stops)
        costs = {"many": [], "few": []}
        for _ in range(plan.rounds):
            for kind, of in costs.items():
                of.append(bench.cost(kind, plan.repeats))
        many, few = median(costs["many"]), median(costs["few"])
        say(f"CPU of {MANY} devices in one request: {many:.1f} ms "
            f"({1000 * many / MANY:.1f} us each)")
        say(f"CPU of {FEW} devices alone: {few:.1f} ms ({1000 * few / FEW:.0f} us each)")
        if many >= few:
            sys.exit("missed: a thousand in one request cost no less than twenty alone")


class Bench:
    def __init__(self, directory, stops):
        # What the suite has is found only now.
        from certificates import Authority
        from push_town import Town
        (directory / "authority").mkdir()
        (directory / "town").mkdir()
        self.town = Town(
            Authority(directory / "authority"), directory / "town", stops,
            **{"push.rate": 10_000, "limits.push_devices": 1_000_000})
        self.town.phone("anna", "huawei", device="one", tags=["one"])
        self.multiply()
        kinglet = self.town.kinglet
        context = ssl.create_default_context(cafile=str(kinglet.authority))
        context.check_hostname = False
        self.connection = http.client.HTTPSConnection(
            "127.0.0.1", kinglet.ports["web"], context=context)
        stops.callback(self.connection.close)

    def multiply(self):
        """The device again and again: one tag for many, and each with one of its own."""
        with contextlib.closing(sqlite3.connect(self.town.world.state.file, timeout=30)) as base, \
                base:
            base.row_factory = sqlite3.Row
            rows = {
                table: dict(base.execute(f"SELECT * FROM {table} LIMIT 1").fetchone())
                for table in ("push_targets", "push_devices")}
            for number in range(1, MANY + 1):
                for table, row in rows.items():
                    copy = row | {"id": 1000 + number}
                    if table == "push_targets":
                        copy |= {"device": 1000 + number, "fingerprint": os.urandom(32)}
                    else:
                        copy |= {"name": f"phone-{number}"}
                    names = ", ".join(copy)
                    base.execute(
                        f"INSERT INTO {table} ({names}) VALUES "
                        f"({', '.join(':' + name for name in copy)})", copy)
                base.execute("INSERT INTO push_tags VALUES ('many', ?)", (1000 + number,))

    def cost(self, kind, repeats):
        """Milliseconds of CPU time for all that are to be told once."""
        jid = self.town.jid("anna")
        receivers = [{"tags": ["many"]}] if kind == "many" else [
            {"devices": [{"user": jid, "device": f"phone-{number}"}]}
            for number in range(1, FEW + 1)]
        self.tell(receivers)
        pid = self.town.kinglet.process.pid
        used = cpu_seconds(pid)
        for _ in range(repeats):
            self.tell(receivers)
        return 1000 * (cpu_seconds(pid) - used) / repeats

    def tell(self, receivers):
        """Ends when all of them have been sent and written down."""
        tasks = [
            self.ask("POST", "/api/v1/tasks", {
                "to": to, "title": "Door", "text": "Somebody rings."})["id"] for to in receivers]
        # The answer to the last is as long as what it costs to ask.
        time.sleep(0.4)
        task = self.ask("GET", f"/api/v1/tasks/{tasks[-1]}")
        if task["state"] != "done":
            raise SystemExit(f"not done: {task}")

    def ask(self, method, path, document=None):
        self.connection.request(
            method, path, json.dumps(document) if document else None, {
                "Authorization": self.town.program.credential,
                "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{answer.status}: {body}")
        return json.loads(body)


if __name__ == "__main__":
    main()
