"""The wire to other servers, which phones are woken through, and to components."""

from grafana import dashboard, graph, hourly, quantiles, stat, total
from limits import (
    COMPONENTS_GONE, PUSH_DOMAINS, SERVER_FAILURES, SERVER_QUEUE_AGE, SERVER_QUEUE_FULL,
    SERVER_REFUSED,
)

OF = "kinglet_server_"
COMPONENT = "kinglet_component_"
OUTGOING = 'direction="out"'
FAILED = f'sum(increase({OF}stream_failures_total{{reason!~"policy|shutdown"}}[1h]))'
OPENED = f"sum(increase({OF}authentications_total{{{OUTGOING}}}[1h]))"
RATIO = f"{FAILED} / ({FAILED} + {OPENED})"
NO_ATTEMPT = "No other server was needed in this time"
NOTHING_WAITS = "Nothing waits"


NOW = [
    stat("Push domains out of reach", "App servers, through which phones are woken, that the last "
         "attempt did not reach. Normal is 0; otherwise phones learn of messages only when "
         "somebody looks at them.", "short", "federation",
         {"out of reach": "kinglet_push_domains_unreachable"}, limits=PUSH_DOMAINS),
    stat("Open streams", "Streams with other servers that stand, in both directions. One that is "
         "not used for a quarter of an hour is closed.", "short", "federation",
         {"open": f'sum({OF}streams{{state="open"}})'}),
    stat("Attempts that fail", "Of the attempts to reach another server within an hour, those "
         "that failed. One domain that is gone is theirs to mend; nearly all of many is ours.",
         "percentunit", "federation", {"failed": RATIO}, limits=SERVER_FAILURES,
         absent=NO_ATTEMPT),
    stat("Waiting", "Stanzas that wait for other servers. Some seconds' worth is normal.",
         "short", "federation", {"waiting": f"{OF}queue_stanzas"}),
    stat("Waits longest", "The age of the oldest of them. A message goes back to its sender after "
         "federation.queue_age, by default a day.", "s", "federation",
         {"oldest": f"{OF}queue_oldest_seconds"}, limits=SERVER_QUEUE_AGE, absent=NOTHING_WAITS),
    stat("Components attached", "Bridges and other programs that speak for a domain of their own "
         "(XEP-0114).", "short", "federation", {"attached": f"{COMPONENT}connections"}),
]

STREAMS = [
    graph("Streams", "Streams by who opened them and how far they are. Many that negotiate for "
          "long: somebody connects and does not prove who he is.", "short", "federation",
          {"{{direction}}, {{state}}": f"sum by (direction, state) ({OF}streams)"}),
    graph("Failures", "Attempts to reach others that failed and streams that were lost, within an "
          "hour, by why. The page tells what each reason means; kinglet federation test DOMAIN "
          "shows the steps.", "short", "federation",
          {"{{reason}}": hourly(f"{OF}stream_failures_total", "reason") + " > 0"},
          absent="Nothing failed in this time"),
    graph("Others that fail here", "Streams of other servers within an hour that were refused, or "
          "failed, by why. The log has the domain and the details; strangers who knock are normal "
          "on an open port.", "short", "federation",
          {"{{reason}}": hourly(f"{OF}refused_streams_total", "reason") + " > 0"},
          absent="Nobody failed in this time"),
    graph("Attempts from here that fail", "Those that failed within an hour, as a part of all. An "
          "alert fires when they are also more than 20.", "percentunit", "federation",
          {"failed": RATIO}, limits=SERVER_FAILURES, bounds=(0, 1), absent=NO_ATTEMPT),
    graph("Time to connect", "From the first question to DNS until a stream is authenticated. Half "
          "a second is normal; more than a few are a slow DNS, or addresses that do not answer.",
          "s", "federation", quantiles(f"{OF}connect_seconds"), absent=NO_ATTEMPT),
    graph("Authentications", "Streams that were authenticated within an hour: by certificate "
          "(EXTERNAL), or by DNS (dialback), which is weaker and off unless allowed.", "short",
          "federation", {"{{direction}}, {{mechanism}}":
                         hourly(f"{OF}authentications_total", "direction, mechanism")}),
    graph("Certificates", "What the certificates of others proved within an hour. Anything but "
          "valid is refused, unless dialback is allowed. All untrusted: the authorities of this "
          "machine (package ca-certificates) or its clock.", "short", "federation",
          {"{{verdict}}": hourly(f"{OF}certificates_total", "verdict") + " > 0"},
          absent="No certificate was seen in this time"),
    graph("We are refused", "Attempts within an hour at which the other server did not take our "
          "certificate, or offered no way to show it.", "short", "certificates",
          {"{{reason}}": f"sum by (reason) (increase({OF}stream_failures_total{{"
           'reason=~"authentication_refused|no_authentication"}[1h]))'}, limits=SERVER_REFUSED),
    graph("Push domains", "App servers that the last attempt did not reach.", "short",
          "federation", {"out of reach": "kinglet_push_domains_unreachable"},
          limits=PUSH_DOMAINS),
]

STANZAS = [
    graph("Stanzas", "What came from other servers (in) and went to them (out), by kind.", "cps",
          "federation", {"{{kind}} {{direction}}": total(
              f"{OF}stanzas_total", "kind, direction")}),
    graph("Sent back", "Stanzas that went back to their senders within an hour because their "
          "domain was out of reach. The sender's client shows why; Failures counts it.", "short",
          "federation", {"sent back": f"increase({OF}bounced_stanzas_total[1h])"}),
    graph("Refused strangers", "Stanzas within an hour of senders in nobody's contacts, more than "
          "federation.stranger_rate allows. Many: somebody sends spam.", "short", "federation",
          {"refused": f"increase({OF}refused_strangers_total[1h])"}),
]

QUEUE = [
    graph("Stanzas that wait", "For all other servers together. It grows while one is out of "
          "reach and falls when it is back.", "short", "federation",
          {"waiting": f"{OF}queue_stanzas"}, width=6),
    graph("Bytes that wait", "federation.queue_bytes is the most for one domain, "
          "federation.queue_total for all.", "bytes", "federation",
          {"waiting": f"{OF}queue_bytes"}, width=6),
    graph("Age of the oldest", "How long the oldest stanza has waited.", "s", "federation",
          {"oldest": f"{OF}queue_oldest_seconds"}, limits=SERVER_QUEUE_AGE, absent=NOTHING_WAITS,
          width=6),
    graph("Refused, for too much waits", "Stanzas within ten minutes that were refused because "
          "too much waited already.", "short", "federation",
          {"refused": f"increase({OF}queue_refusals_total[10m])"}, limits=SERVER_QUEUE_FULL,
          width=6),
]

COMPONENTS = [
    graph("Components", "Those that are attached.", "short", "federation",
          {"attached": f"{COMPONENT}connections"}, width=6),
    graph("Components that are gone", "How many fewer are attached than at the best time of the "
          "last 24 hours.", "short", "federation",
          {"gone": f"max_over_time({COMPONENT}connections[1d]) - {COMPONENT}connections"},
          limits=COMPONENTS_GONE, width=6),
    graph("Stanzas of components", "What came from components (in) and went to them (out), by "
          "kind.", "cps", "federation", {"{{kind}} {{direction}}": total(
              f"{COMPONENT}stanzas_total", "kind, direction")}, width=6),
    graph("Wait for components", "Stanzas that a component has not read yet. For long: it hangs.",
          "short", "federation", {"waiting": f"{COMPONENT}queue_stanzas"}, width=6),
    graph("Refused of components", "Connections and stanzas within an hour, by reason. "
          "wrong_secret: component and configuration differ. not_connected: somebody writes to a "
          "component that is not there.", "short", "federation",
          {"{{reason}}": hourly(f"{COMPONENT}refusals_total", "reason")}),
]

FEDERATION = dashboard(
    "kinglet-federation", "Kinglet: federation and components",
    "Other servers: are phones woken, who is out of reach and why, and what waits?", {
        "": NOW,
        "Streams": STREAMS,
        "Stanzas": STANZAS,
        "Queue": QUEUE,
        "Components": COMPONENTS,
    }, start="now-24h")
