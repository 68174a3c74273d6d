"""What waking phones costs: a push at a hundred a second, and a hundred thousand registrations with a
push waiting for each.

`make bench-push` calls it. Google's part is played by a fake with TLS in this process; the server's
CPU time and memory are its own. What a push costs is the difference to the same load with
`push.enabled=false`, where everything is noted and nothing sent: measured in turns.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import servers
from bench import say
from client import Client
from processes import BenchError, memory, raise_descriptor_limit, run
from scrape import cpu_seconds
from tools import Tools

sys.path.append(str(Path(__file__).resolve().parents[1] / "Tests/Clients"))
from certificates import Authority  # noqa: E402
from fake_fcm import FakeFCM  # noqa: E402

RATE = 100
MANY = 100_000
# Limits of the issue that this came with.
CPU_US = 150
MEDIAN_MS = 10
MEMORY_MB = 30
START_MS = 200
PARTS = ("sending", "many")
COMMANDS = "http://jabber.org/protocol/commands"


class Bench:
    def __init__(self, plan, directory):
        self.plan = plan
        self.missed = []
        self.authority = Authority(directory / "authority")
        self.tools = Tools(directory / "tools")
        pair = self.authority.issue(servers.DOMAIN)
        self.server = servers.Kinglet(directory / "server", pair.certificate, pair.key, archives=True)
        self.account = directory / "account.json"
        self.receivers = RATE * (plan.seconds + 1)
        self.server.seed(self.receivers + 2, self.tools)

    def note(self, name, value, unit="", limit=None, digits=1):
        text = f"{name}: {value:,.{digits}f} {unit}".rstrip()
        if limit is not None:
            is_kept = value <= limit
            text += f" (limit {limit:,.{digits}f}: {'kept' if is_kept else 'MISSED'})"
            if not is_kept:
                self.missed.append(name)
        say(text)

    @contextlib.contextmanager
    def fake(self):
        with FakeFCM(self.authority, project="bench") as fake:
            fake.most_collapse_keys = None
            fake.write_service_account(self.account)
            self.account.chmod(0o600)
            self.server.settings = {
                "federation.policy": "off", "push.authorities": self.authority.file,
                "push.allow_private_targets": "true", "push.rate": 1000,
                "push.apps": f"[{{name: app, provider: fcm, default: true, "
                             f"service_account_file: {self.account}, url: '{fake.url}', "
                             f"token_url: '{fake.url}/token'}}]"}
            yield fake

    # Registrations: one by the protocol, and the same row for all others.

    def register(self):
        with self.server.running():
            with Client.bound(self.server.port, "u0", self.tools.password) as client:
                fields = {"token": "token-0", "device-id": "device"}
                form = "".join(
                    f"<field var='{name}'><value>{value}</value></field>"
                    for name, value in fields.items())
                client.send(
                    f"<iq type='set' id='r' to='push.{servers.DOMAIN}'><command xmlns='{COMMANDS}' "
                    "node='register-push-fcm' action='execute'><x xmlns='jabber:x:data' "
                    f"type='submit'>{form}</x></command></iq>")
                answer = client.read_through("</iq>")
                values = [part.split("</value>")[0] for part in answer.split("<value>")[1:]]
                jid, node, secret = values
                options = (
                    "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
                    "http://jabber.org/protocol/pubsub#publish-options</value></field>"
                    f"<field var='secret'><value>{secret}</value></field></x>")
                client.send(
                    f"<iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='{jid}' "
                    f"node='{node}'>{options}</enable></iq>")
                answer = client.read_through("id='e'")
                if "type='result'" not in answer:
                    raise BenchError(f"not enabled: {answer}")

    def multiply(self, count, queued=False):
        """Registrations of u1 and so on like that of u0."""
        with contextlib.closing(sqlite3.connect(self.server.database)) as base, base:
            base.execute("DELETE FROM push_queue")
            base.execute("DELETE FROM push_targets WHERE id > 2")
            columns = [row[1] for row in base.execute("PRAGMA table_info(push_targets)")]
            rows = [
                dict(zip(columns, row))
                for row in base.execute("SELECT * FROM push_targets ORDER BY account IS NULL")]
            account, device = rows[0], rows[1]
            insert = (f"INSERT INTO push_targets ({', '.join(columns)}) "
                      f"VALUES ({', '.join(':' + name for name in columns)})")
            for number in range(1, count + 1):
                node = f"node-{number}"
                base.execute(insert, device | {
                    "id": 2 * number + 1, "node": node, "fingerprint": os.urandom(32)})
                base.execute(insert, account | {
                    "id": 2 * number + 2, "node": node, "fingerprint": os.urandom(32),
                    "account": f"u{number}@{servers.DOMAIN}"})
                if queued:
                    now = int(time.time() * 1000)
                    base.execute(
                        "INSERT INTO push_queue (target, circuit, provider, due, kind, unread, "
                        "message, version, added, expires, tries, sent, suppressed, details) "
                        "VALUES (?, 'fcm:app', 'fcm', ?, 0, 1, 0, 1, ?, ?, 0, 0, 0, x'')",
                        (2 * number + 2, now, now, now + 86_400_000))
                    base.execute(
                        "INSERT INTO push_books (provider, requested) VALUES ('fcm', 1) "
                        "ON CONFLICT DO UPDATE SET requested = requested + 1")

    # A push

    def sending(self):
        with self.fake() as fake:
            self.register()
            runs = {True: [], False: []}
            # The first one makes what the others find: it does not count.
            for number, is_sent in enumerate([True] + [False, True] * self.plan.rounds):
                self.server.settings["push.enabled"] = "true" if is_sent else "false"
                # Nobody has been woken yet: a second push within the window would wait.
                self.multiply(self.receivers)
                cost = self.load(fake, is_sent)
                if number:
                    runs[is_sent].append(cost)
            without, with_pushes = (median(runs[is_sent]) for is_sent in (False, True))
            self.note("CPU of a message whose push is noted", without, "us")
            self.note("CPU of one whose push is sent", with_pushes, "us")
            self.note("CPU of a push, from the commit on", with_pushes - without, "us", CPU_US)
            fake.check()
            self.note("CPU of a request by a bare libcurl program at that rate",
                      self.floor(fake), "us")

    def floor(self, fake):
        """The fake takes it as it takes ours, and refuses it."""
        program = self.tools.floor.with_name("request")
        run([os.environ.get("CC", "cc"), "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", program,
             Path(__file__).with_name("request.c"), "-lcurl"])
        return float(run(
            [program, f"{fake.url}/v1/projects/bench/messages:send", self.authority.file, RATE,
             RATE * 5]))

    def load(self, fake, is_sent):
        seconds = self.plan.seconds
        with self.server.running():
            with Client.bound(
                    self.server.port, f"u{self.receivers + 1}", self.tools.password) as sender:
                self.send(sender, 1, RATE)
                time.sleep(2)
                before = fake.delivered["token-0"]
                used = cpu_seconds(self.server.pid)
                self.send(sender, RATE + 1, RATE * seconds)
                time.sleep(1)
                used = cpu_seconds(self.server.pid) - used
                arrived = fake.delivered["token-0"] - before
                if is_sent and arrived < RATE * seconds:
                    self.missed.append(f"{arrived} of {RATE * seconds} pushes arrived")
                if is_sent:
                    self.latencies()
        cost = 1e6 * used / (RATE * seconds)
        say(f"pushes {'sent' if is_sent else 'noted'}: {cost:.0f} us")
        return cost

    def send(self, sender, first, count):
        start = time.monotonic()
        for number in range(count):
            if (wait := start + number / RATE - time.monotonic()) > 0:
                time.sleep(wait)
            sender.send(f"<message to='u{first + number}@{servers.DOMAIN}' type='chat' "
                        f"id='{time.time_ns()}'><body>Are you there?</body></message>")

    def latencies(self):
        """From the commit to the request on its way, by the server's own histogram."""
        status = json.loads(run(
            [self.server.binary, "status", "--json", "--config",
             self.server.configuration]))
        port = next(one["port"] for one in status["listeners"] if one["name"] == "metrics")
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
        buckets = []
        for line in page.splitlines():
            if line.startswith("kinglet_push_dispatch_seconds_bucket"):
                bound = line.split('le="')[1].split('"')[0]
                buckets.append((float(bound.replace("+Inf", "inf")), float(line.split()[-1])))
        total = buckets[-1][1]
        for share in (0.5, 0.95, 0.99):
            bound = next(bound for bound, count in buckets if count >= share * total)
            limit = {"limit": MEDIAN_MS} if share == 0.5 else {}
            self.note(f"From the commit to the socket, p{100 * share:g}, at most",
                      1000 * bound, "ms", **limit)

    # A hundred thousand

    def many(self):
        with self.fake() as fake:
            if not self.server.database.exists() or not self.has_registration():
                self.register()
            figures = {}
            for kind, count in {"none": 0, "many": MANY}.items():
                self.multiply(count, queued=True)
                # The provider is down: everything waits.
                fake.go_down()
                starts, sizes = [], []
                for _ in range(max(3, self.plan.rounds)):
                    begun = time.monotonic()
                    with self.server.running():
                        starts.append(1000 * (time.monotonic() - begun))
                        time.sleep(12)
                        sizes.append(memory(self.server.pid).anonymous / 1024)
                figures[kind] = (median(starts), median(sizes))
                say(f"{count} registrations: ready in {figures[kind][0]:.0f} ms, "
                    f"{figures[kind][1]:.1f} MB anonymous")
                fake.come_back()
            self.note("Memory of 100,000 registrations and pushes",
                      figures["many"][1] - figures["none"][1], "MB", MEMORY_MB)
            self.note("Start with them, later by", figures["many"][0] - figures["none"][0], "ms",
                      START_MS)
            with self.server.running():
                begun = time.monotonic()
                used = cpu_seconds(self.server.pid)
                fake.wait_for_deliveries(self.plan.drained, "token-0", timeout=600)
                used = cpu_seconds(self.server.pid) - used
                say(f"{self.plan.drained} of those that waited sent in "
                    f"{time.monotonic() - begun:.1f} s, {1e6 * used / self.plan.drained:.0f} us each")

    def has_registration(self):
        with contextlib.closing(sqlite3.connect(self.server.database)) as base:
            return base.execute("SELECT count(*) FROM push_targets").fetchone()[0] > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinglet", type=Path, default=Path(".build/release/kinglet"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="of each load")
    parser.add_argument("--drained", type=int, default=5000, help="pushes after an outage")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated (%(default)s)")
    plan = parser.parse_args()
    servers.Kinglet.binary = plan.kinglet.resolve()
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="kinglet-push-") as directory:
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
