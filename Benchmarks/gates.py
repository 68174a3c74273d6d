"""What Kinglet has promised: each gate with its figure and its limit."""

from dataclasses import dataclass

from report import number

DEFAULTS = ("ejabberd", "prosody")
# At low load a server's own busy waiting counts: the best that its operator can have.
TUNED = ("ejabberd", "ejabberd-tuned", "prosody", "prosody-tuned")
# What is promised of that many connections says nothing about fewer.
CONNECTIONS = 10_000


@dataclass
class Gate:
    text: str
    figure: float | None
    limit: float | None
    decimals: int = 1
    # Of how many idle connections the figure was taken, where that matters.
    connections: int = CONNECTIONS

    @property
    def verdict(self):
        if self.figure is None or self.limit is None:
            return "not measured"
        if self.connections < CONNECTIONS:
            return f"not judged with {self.connections:,} connections"
        return "ok" if self.figure <= self.limit else "missed"


def gates(results, connections=CONNECTIONS):
    """All gates, from the medians of the rounds, in which so many connections were idle."""

    def ours(measurement, figure):
        return results.median("kinglet", measurement, figure)

    def against(text, part, rivals, measurement, figure, decimals=1, count=CONNECTIONS):
        best = results.least(rivals, measurement, figure)
        limit = None if best is None else part * best
        return Gate(text, ours(measurement, figure), limit, decimals, count)

    def added(text, figure, limit, decimals=1):
        few, many = ours("start few", figure), ours("start many", figure)
        more = None if few is None or many is None else many - few
        return Gate(text, more, limit, decimals)

    for link in ("plain", "TLS"):
        for rival, parts in (("ejabberd", 4), ("prosody", 8)):
            yield against(
                f"CPU per message, saturated, {link}, µs: 1/{parts} of {rival}'s",
                1 / parts, (rival,), f"chat {link}", "cpu_us_per_msg")
    for link in ("plain", "TLS"):
        yield against(
            f"CPU per message, 500 a second, {link}, µs: half of the best rival's, tuned",
            1 / 2, TUNED, f"rate {link}", "cpu_us_per_msg")
    yield Gate(
        "Memory per idle connection, plain, KB", ours("idle plain", "rss_kb_per_conn"), 8,
        connections=connections)
    yield against(
        "Memory per idle connection, TLS, KB: half of the better rival's",
        1 / 2, DEFAULTS, "idle TLS", "rss_kb_per_conn", count=connections)
    yield against(
        "CPU per login, TLS, µs: half of the better rival's",
        1 / 2, DEFAULTS, "login TLS", "login_cpu_us", 0)
    yield Gate("Right after the start: anonymous memory, MB", ours("start", "anonymous_mb"), 12)
    yield Gate("Right after the start: resident memory, MB", ours("start", "resident_mb"), 45)
    yield added("Many accounts add: anonymous memory, MB", "anonymous_mb", 2)
    yield added("Many accounts add: resident memory, MB", "resident_mb", 2)
    yield added("Many accounts add: ms until a stream is answered", "answer_ms", 100, 0)
    for way in ("killed", "orderly"):
        slowest = f"stall {way}", "latency_max_ms"
        worst = number(results.worst("kinglet", *slowest))
        yield Gate(
            f"All connections close at once ({way}): slowest ping, ms (worst try {worst})",
            ours(*slowest), 250, 0, connections)


def table(results, connections):
    rows = [(gate.text, number(gate.figure, gate.decimals), number(gate.limit, gate.decimals),
             gate.verdict) for gate in gates(results, connections)]
    width = max(len(row[0]) for row in rows) + 1
    lines = ["Gate".ljust(width) + f"{'figure':>10}{'limit':>10}"]
    lines += [f"{text:<{width}}{figure:>10}{limit:>10}  {verdict}"
              for text, figure, limit, verdict in rows]
    return "\n".join(lines)
