"""The chat server itself: who is connected, what passes through, and how long it takes."""

from grafana import dashboard, graph, quantile, quantiles, rate, stat, total
from limits import (
    CERTIFICATE, COMMIT_TIME, DELIVERY_TIME, DESCRIPTORS, FAILED_LOGINS, FULL, LOOP_LAG,
    LOOPS_STUCK, OWN_MEMORY, REFUSALS, RESTARTS, SCRAPE_REFUSALS, SERVER_ANSWERS, SESSIONS_LEFT,
)


GLANCE = [
    stat("Answers", "Whether the last scrape of the metrics endpoint succeeded. When it does not, "
         "the program or its machine is down, or the network between it and Prometheus.",
         "bool_yes_no", "server", {"answers": "up"}, limits=SERVER_ANSWERS),
    stat("Version", "What runs. Two versions are an update within the time range.",
         "string", "server", {"{{version}}": "kinglet_build_info"}, names=True),
    stat("Started", "When the program started. A start that nobody asked for has its reason in the "
         "log: journalctl -u kinglet.", "dateTimeFromNow", "server",
         {"started": "1000 * kinglet_process_start_time_seconds"}),
    stat("Clients", "Clients that are logged in. One person often has several.",
         "short", "server", {"clients": "sum(kinglet_sessions)"}),
    stat("Messages", "Messages that clients sent, for each second of the last minutes.",
         "cps", "server", {"messages": total(
             'kinglet_stanzas_total{kind="message", direction="in"}')}, decimals=2),
    stat("Certificate", "Time until the first certificate expires; no client connects after that. "
         "The server renews those of its own authority in their last 30 days.",
         "dtdurations", "certificates",
         {"left": "min(kinglet_certificate_expiry_timestamp_seconds) - time()"},
         limits=CERTIFICATE),
]

CLIENTS = [
    graph("Connections", "Open connections by kind and encryption. Most clients choose c2s with "
          "TLSv1.3; connections without TLS are in the midst of their first steps.",
          "short", "server",
          {"{{type}}, {{tls}}": "sum by (type, tls) (kinglet_connections)"}),
    graph("Logins", "Logins by mechanism and result, a second. Some not_authorized are people who "
          "mistype; a steady stream is somebody who guesses, or a client with an old password.",
          "cps", "server", {"{{mechanism}}, {{result}}":
                            total("kinglet_logins_total", "mechanism, result") + " > 0"},
          absent="Nobody logged in, or tried to, in this time"),
    graph("Failed logins", "Logins that failed, a second, of all mechanisms. An alert fires when "
          "it is also more than a fifth of all logins.",
          "cps", "server",
          {"failed": total('kinglet_logins_total{result!="success"}')},
          limits=FAILED_LOGINS),
    graph("Sessions", "Clients that are bound, those whose connection broke and that may come back "
          "within minutes (hibernating), and those that say that nobody looks at them (inactive). "
          "Many phones hibernate all the time.", "short", "server", {
              "all": "sum(kinglet_sessions)",
              "hibernating": "sum(kinglet_sessions_hibernating)",
              "inactive": "sum(kinglet_sessions_inactive)"}),
    graph("Resumptions", "Sessions that went on where they were (resumed), that could not (failed) "
          "and that were given up (expired); how many began to wait; and how many a restart of the "
          "server kept. Many that fail or expire mean clients on a bad network.",
          "cps", "server", {
              "{{result}}": total("kinglet_resumptions_total", "result"),
              "began to wait": total("kinglet_hibernations_total"),
              "restart: {{result}}": total("kinglet_suspensions_total", "result")}),
    graph("Unacknowledged stanzas", "What clients have not acknowledged yet. It grows while phones "
          "are out of reach, up to a limit for each session, and falls when they come back.",
          "short", "server", {"stanzas": "sum(kinglet_unacknowledged_stanzas)"}, width=12),
    graph("Clients, of those an hour ago", "Below a half: the network is gone for many, or they "
          "cannot log in again.", "percentunit", "server",
          {"clients": "kinglet_sessions / (kinglet_sessions offset 1h >= 20)"}, width=12,
          limits=SESSIONS_LEFT, absent="There were fewer than 20 clients an hour before"),
]

MESSAGES = [
    graph("Stanzas", "What came from clients (in) and went to them (out), by kind. Presence leads "
          "on most servers: each sign of life goes to all contacts.",
          "cps", "server", {"{{kind}} {{direction}}": total(
              "kinglet_stanzas_total", "kind, direction")}),
    graph("Delivery time", "From the arrival of a message to its hand-over to the receiver's "
          "socket, the commit of the archive included. A few milliseconds are normal; see the "
          "commit time when it is more.", "s", "server",
          quantiles("kinglet_message_delivery_seconds"), limits=DELIVERY_TIME,
          absent="No message in this time"),
    graph("Copies", "Messages that further clients of the receiver and of the sender got as well "
          "(carbons).", "cps", "server",
          {"{{direction}}": total("kinglet_carbons_total", "direction")}),
    graph("Offline messages", "Messages that wait for receivers who are not there.", "short",
          "server", {"waiting": "sum(kinglet_offline_messages)"}),
    graph("Offline traffic", "Messages stored for people who are away and handed over when they "
          "come, and messages that a client sent twice and that were stored once.",
          "cps", "server", {
              "stored": total("kinglet_offline_messages_stored_total"),
              "delivered": total("kinglet_offline_messages_delivered_total"),
              "sent again": total("kinglet_resent_messages_total")}),
]

ARCHIVE = [
    graph("Archive", "Bytes of the messages in all archives. It grows until the age or the size "
          "that archive.* sets.", "bytes", "storage", {"bytes": "sum(kinglet_archive_bytes)"}),
    graph("Archive queries", "The time that 95 % of the queries take at most, by kind. A page "
          "takes a few milliseconds, a search of all words more.", "s", "server",
          {"{{kind}}": quantile(0.95, "kinglet_archive_query_seconds", by="le, kind")},
          absent="No query in this time"),
    graph("Archive queries per second", "By kind, and those that were refused because they took "
          "too long or came too many at a time.", "cps", "server", {
              "{{kind}}": total("kinglet_archive_query_seconds_count", "kind"),
              "refused": total("kinglet_archive_queries_refused_total")}),
    graph("Held for inactive clients", "Stanzas that wait until an inactive client wants them, by "
          "kind. This is what saves the batteries of phones.", "cps", "server",
          {"{{kind}}": total("kinglet_csi_held_total", "kind")}),
    graph("Superseded for inactive clients", "Stanzas of these that were never sent, because a "
          "later one made them superfluous, by kind.", "cps", "server",
          {"{{kind}}": total("kinglet_csi_superseded_total", "kind")}),
    graph("Released to inactive clients", "Stanzas of these that were sent after all, by what made "
          "it necessary. Often full: limits that are too low for these clients.", "cps", "server",
          {"{{reason}}": total("kinglet_csi_flushed_total", "reason")}),
]

REFUSALS = [
    graph("Refusals", "Connections, streams and requests that limits and policies refused, by "
          "reason. A few are normal on a public address.", "cps", "server",
          {"{{reason}}": total("kinglet_refusals_total", "reason") + " > 0"}, limits=REFUSALS,
          absent="Nothing was refused in this time"),
    graph("Refused for want of room", "In ten minutes: connections above the limit, connections "
          "above the memory that the program may take, and stanzas that could not be stored.",
          "short", "server", {"{{reason}}": "sum by (reason) (increase(kinglet_refusals_total"
                              '{reason=~"connections|memory|storage"}[10m]))'}, limits=FULL),
    graph("Refused scrapes", "Requests to the metrics endpoint that were refused, by reason: an "
          "address that is not allowed, a wrong password, or too much of something, in 15 "
          "minutes.", "short", "monitoring", {"{{reason}}": "sum by (reason) "
          "(increase(kinglet_scrape_refusals_total[15m]))"}, limits=SCRAPE_REFUSALS),
]

PROCESS = [
    graph("Event loop lag", "How late the event loops run what is due; every client feels it. More "
          "than a few milliseconds mean a CPU that is overloaded or throttled.", "s", "server",
          quantiles("kinglet_event_loop_lag_seconds"), limits=LOOP_LAG),
    graph("Stuck event loops", "Loops that do not turn at all: their clients wait. /healthz says "
          "which. Always 0 on a server that is well.", "short", "server",
          {"stuck": "kinglet_event_loops_stuck"}, limits=LOOPS_STUCK),
    graph("CPU", "Processor time of the program: 100 % is one core. A quiet server needs well "
          "below 1 %.", "percentunit", "server",
          {"CPU": rate("kinglet_process_cpu_seconds_total")}),
    graph("Memory", "Resident memory, the part of it that the program really needs (anonymous), "
          "and the limit above which no new connection is taken.", "bytes", "memory", {
              "resident": "kinglet_process_resident_memory_bytes",
              "anonymous": "kinglet_process_anonymous_memory_bytes",
              "limit": "kinglet_memory_limit_bytes"}),
    graph("Memory in use", "The anonymous memory as a part of that limit.", "percentunit", "server",
          {"in use": "kinglet_process_anonymous_memory_bytes / kinglet_memory_limit_bytes"},
          limits=OWN_MEMORY, bounds=(0, 1)),
    graph("Descriptors in use", "Open files and sockets as a part of what the program may open. "
          "Each connection needs one.", "percentunit", "server",
          {"in use": "kinglet_process_open_descriptors / kinglet_process_max_descriptors"},
          limits=DESCRIPTORS, bounds=(0, 1)),
    graph("Threads", "Threads of the program. Some more than there are cores is normal.", "short",
          "server", {"threads": "kinglet_process_threads"}, width=6),
    graph("Restarts", "How often the program started within 15 minutes. Each one that nobody asked "
          "for has its reason in the log.", "short", "server",
          {"starts": "changes(kinglet_process_start_time_seconds[15m])"}, limits=RESTARTS,
          width=6),
    graph("Commit time", "Time from the start of a transaction to its commit on the disk. Messages "
          "wait for it. The dashboard Storage has more.", "s", "storage",
          quantiles("kinglet_commit_duration_seconds"), limits=COMMIT_TIME, width=6,
          absent="Nothing was committed in this time"),
    graph("Certificates", "Time until each certificate expires. It jumps up when one is renewed.",
          "dtdurations", "certificates",
          {"{{domain}}": "kinglet_certificate_expiry_timestamp_seconds - time()"},
          limits=CERTIFICATE, width=6),
]

SCRAPES = [
    graph("Scrapes", "Scrapes of the metrics endpoint by format. Prometheus at an interval of 15 s "
          "makes 0.067 a second.", "cps", "server",
          {"{{format}}": total("kinglet_scrapes_total", "format")}, width=12),
    graph("Scrape time", "Time to read and write all metrics. About a millisecond is normal.", "s",
          "server", quantiles("kinglet_scrape_duration_seconds"), width=12),
]

WEB = [
    graph("HTTPS connections", "Open connections of push servers and browsers. They stay for a "
          "minute after the last request, up to limits.web_connections.", "short", "server",
          {"connections": "kinglet_web_connections"}, width=6),
    graph("HTTPS requests", "Answered requests by class of the status, a second. 4xx on a public "
          "address are mostly strangers who look around.", "cps", "server",
          {"{{code}}": total("kinglet_web_requests_total", "code")}, width=6),
    graph("HTTPS request time", "From a request's first byte until its answer was sent.", "s",
          "server", quantiles("kinglet_web_request_seconds"), width=6,
          absent="No request in this time"),
    graph("Refused over HTTPS", "Connections and requests that limits refused, by reason, a "
          "second. tls and malformed are strangers who try other protocols.", "cps", "server",
          {"{{reason}}": total("kinglet_web_refusals_total", "reason") + " > 0"}, width=6,
          absent="Nothing was refused in this time"),
]

ENGINE = dashboard(
    "kinglet-engine", "Kinglet: engine",
    "The chat server: connections, logins, messages, sessions, archive, and the process.", {
        "At a glance": GLANCE,
        "Clients": CLIENTS,
        "Messages": MESSAGES,
        "Archive and inactive clients": ARCHIVE,
        "Refusals": REFUSALS,
        "Process": PROCESS,
        "Scrapes": SCRAPES,
        "HTTPS": WEB,
    })
