"""The pushes that wake phones: do they arrive, what waits, who is registered."""

from grafana import dashboard, graph, hourly, quantile, quantiles, stat
from limits import (
    PUSH_ACCESS, PUSH_CIRCUITS, PUSH_CREDENTIALS, PUSH_FAILURES, PUSH_GIVEN_UP, PUSH_INVALID,
    PUSH_PROGRAMS, PUSH_QUEUE_AGE, PUSH_REFUSALS,
)

OF = "kinglet_push_"
ENDS = f"{OF}credential_expiry_timestamp_seconds"
ALL = hourly(f"{OF}requests_total", "provider")
# A token that nobody has any more is an answer, and no failure of ours.
FAILED = hourly(f'{OF}requests_total{{outcome!~"accepted|invalid_token"}}', "provider")
ACCEPTED = hourly(f'{OF}requests_total{{outcome="accepted"}}', "provider")
# What is closed is as it should be.
NOT_CLOSED = f'{OF}circuit_state{{state!="closed"}}'
NO_PUSH = "No push in this time"
NO_WAY = "Nothing was sent since the start"
NOTHING = "Nothing in this time"
NOBODY = "Nobody is registered"

NOW = [
    stat("Pushes that fail", "Of the pushes within an hour, those that were not taken, at the "
         "provider with most. Tokens that are gone do not count.", "percentunit", "push",
         {"failed": f"max({FAILED} / {ALL})"}, limits=PUSH_FAILURES, absent=NO_PUSH),
    stat("Waiting", "Pushes that wait to be sent, or sent again. Some seconds' worth is normal.",
         "short", "push", {"waiting": f"{OF}queue_depth"}),
    stat("Waits longest", "Since when the oldest of them waits. After push.lifetime, by default "
         "three days, it is given up.", "s", "push", {"oldest": f"{OF}queue_oldest_age_seconds"},
         limits=PUSH_QUEUE_AGE),
    stat("Ways that are closed", "Circuits, each a provider with a credential or a server, on which "
         "nothing is sent for the time being, for it failed. An alert fires when something waits "
         "at the same time.", "short", "push", {"closed": f"sum({NOT_CLOSED})"},
         limits=PUSH_CIRCUITS, absent=NO_WAY),
    stat("Devices and targets", "Those that can be woken: app servers that clients have named, "
         "users' own targets, and devices that are registered at our app server.", "short", "push",
         {"enabled": f'sum({OF}registrations{{state="enabled"}})'}, absent=NOBODY),
    stat("Time to a push", "95 % of the pushes lately were with their provider in this time, from "
         "the commit of the message.", "s", "push",
         {"95 %": quantile(0.95, f"{OF}end_to_end_delay_seconds")}, absent=NO_PUSH),
]

DELIVERY = [
    graph("Pushes that arrive", "Of the pushes within an hour, those that a provider took. What "
          "the phone then does, nobody tells us.", "percentunit", "push",
          {"{{provider}}": f"{ACCEPTED} / {ALL}"}, bounds=(0, 1), absent=NO_PUSH),
    graph("Answers", "What providers answered within an hour. retry: later again. invalid_token: "
          "the device is gone. authorization_expired and rejected: ours to mend.", "short", "push",
          {"{{provider}}, {{outcome}}":
           hourly(f"{OF}requests_total", "provider, outcome") + " > 0"}, absent=NO_PUSH),
    graph("Pushes that do not arrive", "Tries within an hour that did not succeed, by why. The page "
          "tells what each reason means; kinglet push test JID shows the steps.", "short", "push",
          {"{{reason}}": hourly(f"{OF}failures_total", "reason") + " > 0"}, absent=NOTHING),
    graph("Ways that are not open", "Circuits by state: open circuits let nothing through for a "
          "time, half_open ones a single push, which decides.", "short", "push",
          {"{{provider}}, {{state}}": f"sum by (provider, state) ({NOT_CLOSED})"},
          limits=PUSH_CIRCUITS, absent=NO_WAY),
    graph("Under way", "Pushes that providers have not answered yet.", "short", "push",
          {"{{provider}}": f"sum by (provider) ({OF}in_flight)"}, absent=NO_WAY),
    graph("Retries", "Pushes within an hour that are tried again later, each up to eight times.",
          "short", "push", {"{{provider}}": hourly(f"{OF}retries_total", "provider") + " > 0"},
          absent=NOTHING),
]

TIME = [
    graph("From message to request", "From the commit of a message until the first request is on "
          "its way. Without a fault it is some milliseconds; push.window adds to it, for a device "
          "is woken once in that time.", "s", "push", quantiles(f"{OF}dispatch_seconds"),
          absent=NO_PUSH),
    graph("From message to provider", "From the commit of a message until a provider took the "
          "push. What had to be tried again later, or waited over a restart, is not in it: see Age of "
          "the oldest.", "s", "push",
          quantiles(f"{OF}end_to_end_delay_seconds"), absent=NO_PUSH),
    graph("Answer time", "From a request to its answer, for 95 % of them. Half a second is normal "
          "across the internet.", "s", "push",
          {"{{provider}}": quantile(0.95, f"{OF}request_duration_seconds", "le, provider")},
          absent=NO_PUSH),
]

QUEUE = [
    graph("Pushes that wait", "One at most for each target, whatever comes.", "short", "push",
          {"waiting": f"{OF}queue_depth"}, width=6),
    graph("Age of the oldest", "How long the oldest push has waited.", "s", "push",
          {"oldest": f"{OF}queue_oldest_age_seconds"}, limits=PUSH_QUEUE_AGE, width=6),
    graph("Asked for", "Pushes within an hour that were written into the queue.", "short", "push",
          {"{{provider}}": hourly(f"{OF}noted_total", "provider") + " > 0"}, absent=NOTHING,
          width=6),
    graph("Given up", "Pushes within an hour that are not tried any more, by why; kinglet push dead "
          "lists the last. A call is given up after a minute.", "short", "push",
          {"{{reason}}": hourly(f"{OF}deadletter_total", "reason") + " > 0"},
          limits=PUSH_GIVEN_UP, absent=NOTHING, width=6),
    graph("Collapsed", "Pushes within an hour whose place a later one took before they were sent: a "
          "lively conversation wakes a phone once.", "short", "push",
          {"{{provider}}": hourly(f"{OF}collapsed_total", "provider") + " > 0"}, absent=NOTHING),
    graph("Not needed", "Times within an hour that a device came into use (active), or somebody "
          "read on another one (read), before it was woken.", "short", "push",
          {"{{reason}}": hourly(f"{OF}suppressed_total", "reason") + " > 0"}, absent=NOTHING),
]

DEVICES = [
    graph("Registrations", "Targets and devices by provider; xmpp are app servers that clients have "
          "named. Disabled ones failed for good; a client that registers again enables them.",
          "short", "push", {"{{provider}}, {{state}}":
                            f"sum by (provider, state) ({OF}registrations)"}, absent=NOBODY),
    graph("Devices that are gone", "Targets within an hour that were disabled, for their provider "
          "knows them no more. Some are normal; many at once are a wrong credential.", "short",
          "push", {"{{provider}}": hourly(f"{OF}tokens_invalidated_total", "provider") + " > 0"},
          limits=PUSH_INVALID, absent=NOTHING),
    graph("Publications of other servers", "Notifications within an hour from other servers to the "
          "app server here, for users of theirs with an app of ours.", "short", "push",
          {"published": f"increase({OF}published_total[1h])"}),
    graph("Registrations and publications refused", "Within an hour, by why. unknown_node: a server "
          "still knows a device that is gone here. secret, publisher: somebody wakes devices that "
          "are not theirs.", "short", "push",
          {"{{reason}}": hourly(f"{OF}refusals_total", "reason") + " > 0"},
          limits=PUSH_REFUSALS, absent=NOTHING),
    graph("Access tokens end", "Time until what is renewed by itself ends. Below zero is normal "
          "while nothing is sent with it; the alert fires when requests fail meanwhile.", "s",
          "push", {"{{provider}}, {{kind}}": f'{ENDS}{{kind=~"access_token|jwt"}} - time()'},
          limits=PUSH_ACCESS, absent="None is in use"),
    graph("Keys and certificates end", "Time until somebody has to replace them. Keys of APNs and "
          "accounts of FCM have no end.", "s", "push",
          {"{{provider}}, {{kind}}": f'{ENDS}{{kind=~"key|certificate"}} - time()'},
          limits=PUSH_CREDENTIALS, absent="None has an end"),
]

ENDPOINTS = [
    graph("Posted to endpoints", "Messages of other services within an hour for apps that get them "
          "through a chat app here (UnifiedPush), by what became of them. unknown and expired: "
          "somebody posts to an old endpoint. offline: no client of the user is there.", "short",
          "push", {"{{outcome}}": hourly(f"{OF}endpoint_requests_total", "outcome") + " > 0"},
          absent=NOTHING, width=12),
    graph("Endpoints given", "Endpoints within an hour that clients asked for, new or to renew one. "
          "forbidden: somebody who may have none (push.unified_push).", "short", "push",
          {"{{result}}": hourly(f"{OF}endpoint_registrations_total", "result") + " > 0"},
          absent=NOTHING, width=12),
]

PROGRAMS = [
    graph("Requests of programs and apps", "To /api/ within an hour, by what they got. unauthorized: "
          "no token or password, or one that is over, revoked or wrong. rate: more than its token "
          "may.", "short", "push",
          {"{{result}}": hourly(f"{OF}api_requests_total", "result") + " > 0"},
          limits=PUSH_PROGRAMS, absent=NOTHING, width=6),
    graph("Told by programs", "Notifications within an hour that programs wanted to be sent; "
          "repeated ones were asked for before.", "short", "push",
          {"{{result}}": hourly(f"{OF}api_tasks_total", "result") + " > 0"}, absent=NOTHING,
          width=6),
    graph("Next tokens", "Pushes within an hour that a device's next token was tried for, by the "
          "provider that could not.", "short", "push",
          {"{{provider}}": hourly(f"{OF}passed_on_total", "provider") + " > 0"}, absent=NOTHING,
          width=6),
    graph("Receipts", "What makers of telephones said within an hour: delivered, or gone. unknown: "
          "about nothing that was told, or said before.", "short", "push",
          {"{{result}}": hourly(f"{OF}receipts_total", "result") + " > 0"}, absent=NOTHING,
          width=6),
]

PUSH = dashboard(
    "kinglet-push", "Kinglet: push",
    "Are phones woken: which pushes fail and why, what waits, and who is registered?", {
        "": NOW,
        "Delivery": DELIVERY,
        "Time": TIME,
        "Queue": QUEUE,
        "Devices": DEVICES,
        "Endpoints of UnifiedPush": ENDPOINTS,
        "Programs": PROGRAMS,
    }, start="now-24h")
