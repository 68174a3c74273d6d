"""From many runs to one table."""

from dataclasses import dataclass
from statistics import median


class Results:
    """Figures by server and measurement, over all rounds."""

    def __init__(self):
        self.runs = []

    def add(self, server, measurement, figures):
        self.runs.append({"server": server, "measurement": measurement, "figures": figures})

    def values(self, server, measurement, figure):
        return [
            run["figures"][figure] for run in self.runs
            if (run["server"], run["measurement"]) == (server, measurement)
            and figure in run["figures"]]

    def median(self, server, measurement, figure):
        """None when it was not measured."""
        values = self.values(server, measurement, figure)
        return median(values) if values else None

    def best(self, servers, measurement, figure, more_is_better=False):
        """The best of these servers' medians; None when none was measured."""
        medians = [self.median(server, measurement, figure) for server in servers]
        pick = max if more_is_better else min
        return pick((value for value in medians if value is not None), default=None)

    def worst(self, server, measurement, figure):
        return max(self.values(server, measurement, figure), default=None)

    def faults(self, server, measurements, _figure):
        """Messages that did not arrive once and in order, over all runs of measurements that
        begin so."""
        counts = [
            run["figures"].get(name, 0) for run in self.runs
            if run["server"] == server and run["measurement"].startswith(measurements)
            for name in ("lost", "duplicated", "reordered", "message_errors")
            if "lost" in run["figures"]]
        return sum(counts) if counts else None


@dataclass
class Row:
    text: str
    measurement: str = ""
    figure: str = ""
    decimals: int = 0
    of: object = Results.median


ROWS = [
    Row("Memory per idle connection, KB"),
    Row("  plain", "idle plain", "rss_kb_per_conn", 1),
    Row("  TLS", "idle TLS", "rss_kb_per_conn", 1),
    Row("Right after the start"),
    Row("  resident, MB", "start", "resident_mb", 1),
    Row("  anonymous, MB", "start", "anonymous_mb", 1),
    Row("  ms until a stream is answered", "start", "answer_ms"),
    Row("CPU per login, SCRAM-SHA-256, µs"),
    Row("  plain", "login plain", "login_cpu_us"),
    Row("  TLS", "login TLS", "login_cpu_us"),
    Row("CPU per message, saturated, µs"),
    Row("  plain", "chat plain", "cpu_us_per_msg", 1),
    Row("  TLS", "chat TLS", "cpu_us_per_msg", 1),
    Row("CPU per message, 500 a second, µs"),
    Row("  plain", "rate plain", "cpu_us_per_msg", 1),
    Row("  TLS", "rate TLS", "cpu_us_per_msg", 1),
    Row("Latency at 500 a second, ms"),
    Row("  plain, median", "rate plain", "latency_p50_ms", 2),
    Row("  plain, 99 %", "rate plain", "latency_p99_ms", 2),
    Row("  plain, 99.9 %", "rate plain", "latency_p999_ms", 2),
    Row("  TLS, median", "rate TLS", "latency_p50_ms", 2),
    Row("  TLS, 99 %", "rate TLS", "latency_p99_ms", 2),
    Row("  TLS, 99.9 %", "rate TLS", "latency_p999_ms", 2),
    Row("Messages a second, saturated"),
    Row("  plain", "chat plain", "deliveries_per_s"),
    Row("  TLS", "chat TLS", "deliveries_per_s"),
    Row("Messages lost, doubled, out of order", ("chat", "rate"), "", of=Results.faults),
    Row("Cores that other jobs took, at worst"),
    Row("  saturated, plain", "chat plain", "host_other_cores", 1, Results.worst),
    Row("  saturated, TLS", "chat TLS", "host_other_cores", 1, Results.worst),
]
ARCHIVE_ROWS = [
    Row("Archived: CPU per message, saturated, µs"),
    Row("  plain", "archive chat plain", "cpu_us_per_msg", 1),
    Row("  plain, later work included", "archive chat plain", "cpu_us_per_msg_settled", 1),
    Row("  TLS", "archive chat TLS", "cpu_us_per_msg", 1),
    Row("  TLS, later work included", "archive chat TLS", "cpu_us_per_msg_settled", 1),
    Row("Archived: messages a second, saturated"),
    Row("  plain", "archive chat plain", "completed_per_s"),
    Row("  TLS", "archive chat TLS", "completed_per_s"),
    Row("Archived: KB written to the disk per message"),
    Row("  saturated, plain", "archive chat plain", "disk_kb_per_msg_settled", 1),
    Row("  saturated, TLS", "archive chat TLS", "disk_kb_per_msg_settled", 1),
    Row("  20 a second, plain", "archive slow plain", "disk_kb_per_msg_settled", 1),
    Row("Archived: 500 a second offered, TLS"),
    Row("  completed a second", "archive rate TLS", "completed_per_s"),
    Row("  CPU per message, µs", "archive rate TLS", "cpu_us_per_msg"),
    Row("  ms until receipt, median", "archive rate TLS", "latency_p50_ms", 2),
    Row("  ms until receipt, 90 %", "archive rate TLS", "latency_p90_ms", 2),
    Row("  ms until receipt, 99 %", "archive rate TLS", "latency_p99_ms", 2),
    Row("  ms until acknowledgement, median", "archive rate TLS", "ack_p50_ms", 2),
    Row("  ms until acknowledgement, 90 %", "archive rate TLS", "ack_p90_ms", 2),
    Row("  ms until acknowledgement, 99 %", "archive rate TLS", "ack_p99_ms", 2),
    Row("One disk sync, ms", "disk sync", "sync_ms", 2),
    Row("Archived: copies per message", "archive slow plain", "archived_per_msg", 2),
    Row("Archived: lost, doubled, out of order", "archive", "", of=Results.faults),
    Row("Archived: cores that other jobs took, at worst"),
    Row("  saturated, plain", "archive chat plain", "host_other_cores", 1, Results.worst),
    Row("  saturated, TLS", "archive chat TLS", "host_other_cores", 1, Results.worst),
    Row("Hibernated session, KB", "hibernated", "kb_per_session", 1),
    Row("Large archive: last page of a conversation, ms", "archive full", "page_ms", 1),
    Row("  the first time, from the disk", "archive full", "page_from_disk_ms", 1),
]
SCRAPE_ROWS = [
    Row("CPU per scrape, everything on, ms"),
    Row("  nobody connected, text", "scrape nobody text", "cpu_ms_per_scrape", 2),
    Row("  nobody connected, OpenMetrics", "scrape nobody OpenMetrics", "cpu_ms_per_scrape", 2),
    Row("  idle sessions, text", "scrape sessions text", "cpu_ms_per_scrape", 2),
    Row("  idle sessions, OpenMetrics", "scrape sessions OpenMetrics", "cpu_ms_per_scrape", 2),
    Row("The page with everything on, KB"),
    Row("  text", "scrape sessions text", "page_kb", 1),
    Row("  OpenMetrics", "scrape sessions OpenMetrics", "page_kb", 1),
]


def number(value, decimals=0):
    return "-" if value is None else f"{value:,.{decimals}f}"


def table(results, columns, rows):
    """`columns`: pairs of a server's name and the title to show."""
    width = max(len(row.text) for row in rows) + 1
    lines = [" " * width + "".join(f"{title:>14}" for _, title in columns)]
    for row in rows:
        line = row.text.ljust(width)
        if row.measurement:
            line += "".join(
                f"{number(row.of(results, name, row.measurement, row.figure), row.decimals):>14}"
                for name, _ in columns)
        lines.append(line.rstrip())
    return "\n".join(lines)


def brief(figures):
    """What somebody who watches wants to see at once."""
    shown = ("cpu_us_per_msg", "login_cpu_us", "rss_kb_per_conn", "resident_mb", "anonymous_mb",
             "answer_ms", "deliveries_per_s", "completed_per_s", "disk_kb_per_msg_settled",
             "ack_p50_ms", "latency_max_ms", "archived_per_msg", "sync_ms", "kb_per_session",
             "page_ms", "page_from_disk_ms", "cpu_ms_per_scrape", "page_kb", "host_other_cores")
    return ", ".join(f"{name} {figures[name]:g}" for name in shown if name in figures)
