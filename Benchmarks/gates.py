"""What Kinglet has promised: each gate with its figure and its limit."""

from dataclasses import dataclass

from report import number

DEFAULTS = ("ejabberd", "prosody")
# At low load a server's own busy waiting counts: the best that its operator can have.
TUNED = ("ejabberd", "ejabberd-tuned", "prosody", "prosody-tuned")
# What is promised of that many connections, or rows, says nothing about fewer.
CONNECTIONS = 10_000
ROWS = 10_000_000
# Of an archived message: the sender's and the receiver's.
COPIES = 2
# Memory that two processes may differ by, in MB.
NOISE = 2


@dataclass
class Gate:
    text: str
    figure: float | None
    limit: float | None
    decimals: int = 1
    # Whether more is better.
    at_least: bool = False
    # What the figure was taken with, where the promise is about more.
    lacking: str = ""

    @property
    def verdict(self):
        if self.figure is None or self.limit is None:
            return "not measured"
        if self.lacking:
            return f"not judged with {self.lacking}"
        met = self.figure >= self.limit if self.at_least else self.figure <= self.limit
        return "ok" if met else "missed"

    @property
    def bound(self):
        """The limit, and on which side of it the figure has to be."""
        if self.limit is None:
            return "-"
        return ("≥ " if self.at_least else "≤ ") + number(self.limit, self.decimals)


def gates(results, connections=CONNECTIONS, parts=("base", "archive", "scrape")):
    """The gates of what was measured, from the medians of the rounds, in which so many
    connections were idle."""
    judge = Judge(results, connections)
    subjects = {
        "base": (judge.messages, judge.idle_and_logins, judge.starts, judge.stalls),
        "archive": (judge.durable, judge.disk, judge.hibernated, judge.large_archive),
        "scrape": (judge.scrapes,)}
    for part in parts:
        for promises in subjects[part]:
            yield from promises()


class Judge:
    """Yields the gates, subject by subject."""

    def __init__(self, results, connections):
        self.results = results
        self.lacking = (
            f"{connections:,} connections" if connections < CONNECTIONS else "")
        # What keeps no archive is durable at no cost.
        copies = self.ours("archive slow plain", "archived_per_msg") or 0
        self.without_archive = "an incomplete archive" if copies < COPIES else ""

    def ours(self, measurement, figure):
        return self.results.median("kinglet", measurement, figure)

    def against(self, text, part, rivals, measurement, figure, at_least=False, **options):
        """At most this part of the best rival's figure; or at least, where more is better."""
        best = self.results.best(rivals, measurement, figure, more_is_better=at_least)
        limit = None if best is None else part * best
        return Gate(text, self.ours(measurement, figure), limit, at_least=at_least, **options)

    def added(self, text, without, with_it, figure, limit, **options):
        few, many = self.ours(without, figure), self.ours(with_it, figure)
        more = None if few is None or many is None else many - few
        return Gate(text, more, limit, **options)

    def messages(self):
        for link in ("plain", "TLS"):
            for rival, parts in (("ejabberd", 4), ("prosody", 8)):
                yield self.against(
                    f"CPU per message, saturated, {link}, µs: 1/{parts} of {rival}'s",
                    1 / parts, (rival,), f"chat {link}", "cpu_us_per_msg")
        for link in ("plain", "TLS"):
            yield self.against(
                f"CPU per message, 500 a second, {link}, µs: half of the best rival's, tuned",
                1 / 2, TUNED, f"rate {link}", "cpu_us_per_msg")

    def idle_and_logins(self):
        yield Gate(
            "Memory per idle connection, plain, KB",
            self.ours("idle plain", "rss_kb_per_conn"), 8, lacking=self.lacking)
        yield self.against(
            "Memory per idle connection, TLS, KB: half of the better rival's",
            1 / 2, DEFAULTS, "idle TLS", "rss_kb_per_conn", lacking=self.lacking)
        yield self.against(
            "CPU per login, TLS, µs: half of the better rival's",
            1 / 2, DEFAULTS, "login TLS", "login_cpu_us", decimals=0)

    def starts(self):
        for kind, limit in (("anonymous", 12), ("resident", 45)):
            yield Gate(
                f"Right after the start: {kind} memory, MB", self.ours("start", f"{kind}_mb"),
                limit)
        for text, figure, limit, decimals in (
                ("anonymous memory, MB", "anonymous_mb", NOISE, 1),
                ("resident memory, MB", "resident_mb", NOISE, 1),
                ("ms until a stream is answered", "answer_ms", 100, 0)):
            yield self.added(
                f"Many accounts add: {text}", "start few", "start many", figure, limit,
                decimals=decimals)

    def stalls(self):
        for way in ("killed", "orderly"):
            slowest = f"stall {way}", "latency_max_ms"
            worst = number(self.results.worst("kinglet", *slowest))
            yield Gate(
                f"All connections close at once ({way}): slowest ping, ms (worst try {worst})",
                self.ours(*slowest), 250, decimals=0, lacking=self.lacking)

    def durable(self):
        """Archived, and synced before the acknowledgement. CPU of later work on it included."""
        yield Gate(
            "Archived: copies per message, the sender's and the receiver's",
            self.ours("archive slow plain", "archived_per_msg"), COPIES, at_least=True)
        for link in ("plain", "TLS"):
            for rival, parts in (("ejabberd", 15), ("prosody", 10)):
                yield self.against(
                    f"Archived: CPU per message, saturated, {link}, µs: 1/{parts} of {rival}'s",
                    1 / parts, (rival,), f"archive chat {link}", "cpu_us_per_msg_settled",
                    lacking=self.without_archive)
        for link in ("plain", "TLS"):
            for rival in DEFAULTS:
                yield self.against(
                    f"Archived: messages a second, saturated, {link}: 20 x {rival}'s",
                    20, (rival,), f"archive chat {link}", "completed_per_s", decimals=0,
                    at_least=True, lacking=self.without_archive)

    def disk(self):
        for text, measurement, limit in (
                ("saturated", "chat plain", 12), ("20 a second", "slow plain", 32)):
            yield Gate(
                f"Archived: KB written to the disk per message, {text}",
                self.ours(f"archive {measurement}", "disk_kb_per_msg_settled"), limit,
                lacking=self.without_archive)
        sync = self.results.median("floor", "disk sync", "sync_ms")
        limit = None if sync is None else sync + 2
        for text, figure in (("receipt", "latency"), ("acknowledgement", "ack")):
            yield Gate(
                f"Archived: ms until {text} at 500 a second, TLS, median: a disk sync and 2",
                self.ours("archive rate TLS", f"{figure}_p50_ms"), limit, decimals=2,
                lacking=self.without_archive)
        yield Gate(
            "Archived: messages lost, doubled, out of order",
            self.results.faults("kinglet", "archive", ""), 0, decimals=0,
            lacking=self.without_archive)

    def hibernated(self):
        yield Gate(
            "Memory per hibernated session, KB", self.ours("hibernated", "kb_per_session"), 4)

    def large_archive(self):
        rows = self.ours("archive full", "rows")
        lacking = f"{rows:,.0f} rows" if rows is not None and rows < ROWS else ""
        worst = number(self.results.worst("kinglet", "archive full", "page_max_ms"), 1)
        yield Gate(
            f"Large archive: ms for the last page of a conversation (slowest {worst})",
            self.ours("archive full", "page_ms"), 20, lacking=lacking)
        yield self.added(
            "Large archive adds: anonymous memory, MB", "archive empty", "archive full",
            "anonymous_mb", NOISE, lacking=lacking)

    def scrapes(self):
        def dearest(figure):
            figures = [self.ours(f"scrape sessions {name}", figure)
                       for name in ("text", "OpenMetrics")]
            return max((one for one in figures if one is not None), default=None)

        yield Gate(
            "A scrape with 10,000 sessions, CPU, ms", dearest("cpu_ms_per_scrape"), 3, decimals=2,
            lacking=self.lacking)
        yield Gate("The page with everything on, KB", dearest("page_kb"), 60)


def table(results, connections, parts):
    rows = [(gate.text, number(gate.figure, gate.decimals), gate.bound, gate.verdict)
            for gate in gates(results, connections, parts)]
    width = max(len(row[0]) for row in rows) + 1
    lines = ["Gate".ljust(width) + f"{'figure':>10}{'limit':>12}"]
    lines += [f"{text:<{width}}{figure:>10}{limit:>12}  {verdict}"
              for text, figure, limit, verdict in rows]
    return "\n".join(lines)
